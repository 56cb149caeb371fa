//! One person: what they are, where they are signed in, and how they go.

use super::fields::{Fields, day_of};
use super::frame::{Frame, page, page_with};
use super::inviting::LinkPage;
use super::people::{joined, standing};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::api::welcomes::{USUAL_LENGTH, portal};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{EditError, LoginSummary, PersonEdit};
use doorward_core::LoginId;
use doorward_core::authority::Action;
use doorward_core::person::Person;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    name: String,
    title: String,
    groups: String,
    standing: Option<&'static str>,
    logins: Vec<LoginSummary>,
    open_sessions: usize,
    ssh_keys: usize,
    is_oneself: bool,
    version: i64,
    form: Form,
    /// What it became meanwhile.
    theirs: Option<Form>,
    done: Option<&'static str>,
    error: Option<String>,
}

struct Form {
    title: String,
    role: &'static str,
    ends: String,
    is_disabled: bool,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Certain {
    version: i64,
    certain: Option<String>,
}

const SAVED: &str = "Saved.";
const NOT_CERTAIN: &str = "Tick the box first.";
const STALE: &str = "Somebody changed it meanwhile. Look at both, and save again.";

/// Each, for the test that asks for them in every language.
#[cfg(test)]
pub(crate) const SENTENCES: &[&str] = &[SAVED, NOT_CERTAIN, STALE];

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/people/{name}", get(show).post(edit))
        .route("/people/{name}/remove", post(remove))
        .route("/people/{name}/link", post(link))
        .route("/people/{name}/logins/end", post(end_logins))
        .route("/people/{name}/logins/{id}/end", post(end_login))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::EditPerson, &name)?;
    Ok(page(&PersonPage::of(&state, frame, &signed_in, &person)))
}

async fn edit(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::EditPerson, &name)?;
    let sent = Form {
        title: fields.text("title").to_owned(),
        role: fields.role()?.word(),
        ends: fields.text("ends").to_owned(),
        is_disabled: fields.has("disabled"),
    };
    // The day is all that the form shows of an end: one that it did not touch keeps its hour.
    let is_same_day = sent.ends == day_of(person.ends_at);
    let edit = PersonEdit {
        title: Some(sent.title.clone()),
        role: Some(fields.role()?),
        ends_at: if is_same_day { None } else { Some(fields.day("ends")?) },
        is_disabled: Some(sent.is_disabled),
    };
    match state.control.edit_person(person.id, edit, Some(fields.version()?), (state.clock)()).await {
        Ok(person) => {
            let mut shown = PersonPage::of(&state, frame, &signed_in, &person);
            shown.done = Some(SAVED);
            Ok(page(&shown))
        }
        Err(EditError::Stale { .. }) => {
            let person = found(&state, &signed_in, Action::EditPerson, &name)?;
            let mut shown = PersonPage::of(&state, frame, &signed_in, &person);
            shown.error = Some(shown.frame.say(STALE).to_owned());
            shown.theirs = Some(std::mem::replace(&mut shown.form, sent));
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &shown))
        }
        Err(error) => {
            let mut shown = PersonPage::of(&state, frame, &signed_in, &person).refuse(error)?;
            shown.form = sent;
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
        }
    }
}

async fn remove(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Certain { version, certain }): Sent<Certain>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::RemovePerson, &name)?;
    let mut shown = PersonPage::of(&state, frame, &signed_in, &person);
    if certain.is_none() {
        shown.error = Some(shown.frame.say(NOT_CERTAIN).to_owned());
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown));
    }
    match state.control.remove_person(person.id, Some(version), (state.clock)()).await {
        Ok(()) => Ok(Redirect::to("/people").into_response()),
        Err(EditError::Stale { .. }) => {
            shown.error = Some(shown.frame.say(STALE).to_owned());
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &shown))
        }
        Err(error) => Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown.refuse(error)?)),
    }
}

/// By which they set a new password. It is shown this once.
async fn link(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::LinkPerson, &name)?;
    let portal = portal(&state)?;
    let made = state.control.make_own_welcome(person.id, USUAL_LENGTH, (state.clock)()).await?;
    Ok(page(&LinkPage::of_person(frame, person.title.clone(), portal.link(made))))
}

async fn end_logins(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::EditPerson, &name)?;
    // Whoever does this to themselves wants to stay to see it.
    let own = Some(signed_in.login.id).filter(|_| person.id == signed_in.person.id);
    state.control.end_logins_of(person.id, own, (state.clock)()).await?;
    Ok(Redirect::to(&format!("/people/{}", person.name)).into_response())
}

/// One that ended meanwhile is fine.
async fn end_login(
    Acting(state): Acting,
    signed_in: SignedIn,
    At((name, id)): At<(String, i64)>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let person = found(&state, &signed_in, Action::EditPerson, &name)?;
    match state.control.end_login(Some(person.id), LoginId(id), (state.clock)()).await {
        Ok(()) | Err(EditError::Unknown(_)) => Ok(Redirect::to(&format!("/people/{}", person.name)).into_response()),
        Err(error) => Err(error.into()),
    }
}

fn found(state: &PortalState, signed_in: &SignedIn, action: Action, name: &str) -> Result<Arc<Person>, Problem> {
    Asker::at_page(signed_in, action)?.person(&state.control.snapshot(), name)
}

impl PersonPage {
    fn of(state: &PortalState, frame: Frame, signed_in: &SignedIn, person: &Person) -> Self {
        let (snapshot, now) = (state.control.snapshot(), (state.clock)());
        Self {
            frame,
            name: person.name.to_string(),
            title: person.title.clone(),
            groups: joined(&person.groups),
            standing: standing(person, now),
            logins: state.control.logins_of(person.id, now),
            open_sessions: snapshot.sessions_of(person.id).filter(|session| now < session.until).count(),
            ssh_keys: snapshot.ssh_keys_of(person.id).count(),
            is_oneself: person.id == signed_in.person.id,
            version: person.version,
            form: Form {
                title: person.title.clone(),
                role: person.role.word(),
                ends: day_of(person.ends_at),
                is_disabled: person.disabled_at.is_some(),
            },
            theirs: None,
            done: None,
            error: None,
        }
    }

    fn refuse(mut self, error: EditError) -> Result<Self, Problem> {
        self.error = Some(match error {
            EditError::Invalid(why) | EditError::Taken(why) | EditError::TooEarly(why) => {
                self.frame.say(&why).to_owned()
            }
            EditError::Unknown(_) | EditError::Stale { .. } | EditError::Store(_) => return Err(error.into()),
        });
        Ok(self)
    }
}
