//! Passkeys: signing in by one, as the second step too, and those of one's own account. What asks and answers is `assets/passkey.js`; without it,
//! or in a browser that knows none, nothing of this is shown.

use super::account::AccountPage;
use super::frame::{Frame, page};
use super::sign_in;
use super::telling::place_of;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use crate::entering::{browser, enter};
use crate::forms::Sent;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use doorward_control::{CredentialError, PasskeyQuestion};
use doorward_core::{PasskeyId, Secret};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct QuestionBody<'q> {
    ticket: &'q str,
    options: &'q serde_json::Value,
}

/// For the script.
struct Question(PasskeyQuestion);

#[derive(Deserialize)]
struct Asked {
    /// From the page that asks for a code.
    #[serde(default)]
    half_way: String,
}

#[derive(Deserialize)]
struct Confirmed {
    password: String,
}

#[derive(Deserialize)]
struct Answered {
    ticket: String,
    answer: String,
    #[serde(default)]
    half_way: String,
    #[serde(default)]
    then: String,
}

#[derive(Deserialize)]
struct NewAnswered {
    ticket: String,
    answer: String,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/sign-in/passkey/ask", post(ask))
        .route("/sign-in/passkey", post(take))
        .route("/account/passkeys/ask", post(ask_for_new))
        .route("/account/passkeys", post(add))
        .route("/account/passkeys/{id}/remove", post(remove))
}

impl IntoResponse for Question {
    fn into_response(self) -> Response {
        Json(QuestionBody { ticket: self.0.ticket.expose(), options: &self.0.options }).into_response()
    }
}

async fn ask(State(state): State<PortalState>, Sent(asked): Sent<Asked>) -> Result<Question, Problem> {
    let question = if asked.half_way.is_empty() {
        state.control.ask_for_passkey()
    } else {
        state.control.ask_for_second_passkey(&Secret::new(asked.half_way), (state.clock)()).await
    };
    question.map(Question).map_err(problem)
}

async fn take(
    State(state): State<PortalState>,
    frame: Frame,
    source: Source,
    before: Option<SignedIn>,
    headers: HeaderMap,
    Sent(answered): Sent<Answered>,
) -> Result<Response, Problem> {
    let Answered { ticket, answer, half_way, then } = answered;
    let (ticket, now, then) = (Secret::new(ticket), (state.clock)(), sign_in::local(&then));
    let proven = if half_way.is_empty() {
        state.control.sign_in_by_passkey(&ticket, &answer, place_of(source), now).await
    } else {
        state.control.give_passkey(&Secret::new(half_way), &ticket, &answer, place_of(source), now).await
    };
    match proven {
        Ok(proven) => enter(&state, frame, &headers, source, before, proven, then).await,
        Err(error) => sign_in::again(&state, frame, then, error).await,
    }
}

/// A key of one's own is weighty: the password is asked for once more.
async fn ask_for_new(
    Acting(state): Acting,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<Confirmed>,
) -> Result<Question, Problem> {
    let (account, now) = (signed_in.person.id, (state.clock)());
    let confirmed = state.control.confirm_password(account, &Secret::new(given.password), place_of(source), now).await;
    confirmed.map_err(problem)?;
    state.control.ask_for_new_passkey(account, now).await.map(Question).map_err(problem)
}

async fn add(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    headers: HeaderMap,
    Sent(answered): Sent<NewAnswered>,
) -> Result<Response, Problem> {
    let (account, now, ticket) = (signed_in.person.id, (state.clock)(), Secret::new(answered.ticket));
    let title = browser(&headers);
    let added = state.control.add_passkey(account, &ticket, &answered.answer, &title, place_of(source), now).await;
    match added {
        Ok(Some(codes)) => Ok(AccountPage::codes(frame, codes)),
        Ok(None) => Ok(page(&AccountPage::of(&state, frame, &signed_in).await?)),
        Err(error) => AccountPage::of(&state, frame, &signed_in).await?.refuse(error),
    }
}

async fn remove(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    let (account, now, password) = (signed_in.person.id, (state.clock)(), Secret::new(given.password));
    let removed = match state.control.confirm_password(account, &password, place_of(source), now).await {
        Ok(()) => state.control.remove_passkey(account, PasskeyId(id), place_of(source), now).await,
        Err(error) => Err(error),
    };
    let shown = AccountPage::of(&state, frame, &signed_in).await?;
    match removed {
        Ok(()) => Ok(page(&shown)),
        Err(error) => shown.refuse(error),
    }
}

/// The script shows what is said.
fn problem(error: CredentialError) -> Problem {
    let what = error.to_string();
    let status = match error {
        CredentialError::Wrong | CredentialError::Stale => StatusCode::FORBIDDEN,
        CredentialError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        CredentialError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        CredentialError::Weak(_) | CredentialError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        CredentialError::Store(error) => return error.into(),
    };
    Problem::new(status, what, "try again")
}
