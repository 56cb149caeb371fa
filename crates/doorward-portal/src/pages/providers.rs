//! Signing in at an identity provider, and linking one's account with one. A browser leaves with a sealed cookie that says what it
//! asked; whatever comes back without it is somebody else's.

use super::account::AccountPage;
use super::frame::{Frame, page};
use super::sign_in::{self, code_page, local};
use super::telling::place_of;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use crate::cookies;
use crate::entering::enter;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{CredentialError, IdentityError, Step};
use doorward_core::web::LocalPath;
use doorward_core::{IdentityId, LoginId, Secret};
use doorward_oidc::{Back, Journey, Provider, ProviderError};
use http::header::{HOST, HeaderMap, SET_COOKIE};
use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

/// What a browser takes along. Sealed: it sees nothing of it.
#[derive(Serialize, Deserialize)]
struct Away {
    journey: Journey,
    then: String,
    /// By which login somebody links their account; `None`: they sign in.
    linking: Option<LoginId>,
}

#[derive(Template)]
#[template(path = "away.html")]
struct AwayPage {
    frame: Frame,
    title: String,
    url: String,
}

/// One that stands on a page.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) title: String,
}

/// Where somebody can sign in besides here.
pub(super) struct Linked {
    pub(super) id: i64,
    pub(super) title: String,
    pub(super) since: String,
}

#[derive(Deserialize)]
struct Going {
    #[serde(default)]
    then: String,
}

#[derive(Deserialize)]
struct Confirmed {
    #[serde(default)]
    password: String,
}

#[cfg(test)]
pub(crate) const SENTENCES: [&str; 8] = [UNREACHABLE, REFUSED, NOT_OURS, UNTRUSTWORTHY, UNKNOWN, OVER, TAKEN, LAST_WAY];
const UNREACHABLE: &str =
    "The provider does not answer as it should. Try again in a moment, or sign in in another way.";
const REFUSED: &str = "The provider let nobody in. Try again there, or sign in in another way.";
const NOT_OURS: &str = "That took too long, or was begun in another browser. Begin again.";
const UNTRUSTWORTHY: &str =
    "What the provider answered cannot be believed. Whoever runs the gateway finds the reason in its log.";
const UNKNOWN: &str = "Nobody here is linked with this account of the provider. Sign in in another way and link it on the page about your account, or ask whoever runs the gateway.";
const OVER: &str = "Your account here has ended or is disabled.";
const TAKEN: &str = "This account of the provider is linked with somebody else here.";
const LAST_WAY: &str =
    "It is the only way by which you sign in. Ask whoever runs the gateway for a link that sets a password first.";

/// A cookie has 4 KiB at most; whoever was further on their way begins at the start.
const LONGEST_WAY: usize = 512;
const BACK: &str = "/sign-in/back";

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/sign-in/with/{provider}", post(leave))
        .route(BACK, get(come_back))
        .route("/account/providers/{provider}", post(leave_to_link))
        .route("/account/identities/{id}/remove", post(unlink))
}

pub(super) fn shown(state: &PortalState) -> Vec<Shown> {
    let all = state.providers.all();
    let one = |provider: &std::sync::Arc<Provider>| Shown {
        name: provider.settings().name.to_string(),
        title: provider.settings().title.clone(),
    };
    all.iter().map(one).collect()
}

pub(super) async fn linked(state: &PortalState, signed_in: &SignedIn) -> Result<Vec<Linked>, Problem> {
    let identities = state.control.identities_of(signed_in.person.id).await?;
    let title = |issuer: &str| state.providers.of_issuer(issuer).map(|provider| provider.settings().title.clone());
    let one = |identity: doorward_control::Identity| Linked {
        id: identity.id.0,
        title: title(&identity.issuer).unwrap_or(identity.issuer),
        since: identity.since.to_string(),
    };
    Ok(identities.into_iter().map(one).collect())
}

async fn leave(
    State(state): State<PortalState>,
    frame: Frame,
    headers: HeaderMap,
    At(provider): At<String>,
    Sent(going): Sent<Going>,
) -> Result<Response, Problem> {
    let then = local(&going.then);
    match go_away(&state, &headers, &provider, then.clone(), None).await {
        Ok((url, title, cookie)) => Ok(away(AwayPage { frame, title, url }, cookie)),
        Err(error) => refuse(&state, frame, then, error).await,
    }
}

/// Whoever signs in as somebody from then on: the password is asked for once more, where there is one.
async fn leave_to_link(
    Acting(state): Acting,
    frame: Frame,
    headers: HeaderMap,
    source: Source,
    signed_in: SignedIn,
    At(provider): At<String>,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    if let Err(error) = confirm(&state, &signed_in, source, given).await? {
        return AccountPage::of(&state, frame, &signed_in).await?.refuse(error);
    }
    let linking = Some(signed_in.login.id);
    match go_away(&state, &headers, &provider, LocalPath::root(), linking).await {
        Ok((url, title, cookie)) => Ok(away(AwayPage { frame, title, url }, cookie)),
        Err(error) => {
            let (status, told) = tell(&frame, error);
            Ok(AccountPage::of(&state, frame, &signed_in).await?.told(status, told))
        }
    }
}

async fn go_away(
    state: &PortalState,
    headers: &HeaderMap,
    provider: &str,
    then: LocalPath,
    linking: Option<LoginId>,
) -> Result<(String, String, HeaderValue), ProviderError> {
    let provider = state.providers.named(provider).ok_or(ProviderError::NotOurs)?;
    let now = (state.clock)();
    let leaving =
        provider.leave(&way_back(state, headers)?, now).await.inspect_err(|error| complain(&provider, error))?;
    let then = if then.as_str().len() > LONGEST_WAY { LocalPath::root() } else { then };
    let away = Away { journey: leaving.journey, then: then.to_string(), linking };
    let cookie = cookies::set(cookies::JOURNEY, &state.control.seal_journey(&away, now), None);
    Ok((leaving.url, provider.settings().title.clone(), cookie))
}

/// A navigation of its own: a redirect after a form may lead to our own pages alone (CSP, form-action).
fn away(shown: AwayPage, cookie: HeaderValue) -> Response {
    let mut response = page(&shown);
    response.headers_mut().append(SET_COOKIE, cookie);
    response
}

/// As it is registered at the provider: the portal's own name, at the port where it is seen.
fn way_back(state: &PortalState, headers: &HeaderMap) -> Result<String, ProviderError> {
    let site = state.control.site();
    let host = site.portal.as_ref().ok_or(ProviderError::NotOurs)?;
    let own: Option<Authority> = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    let port = own.and_then(|own| own.port_u16()).map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = if site.web.is_https { "https" } else { "http" };
    Ok(format!("{scheme}://{host}{port}{BACK}"))
}

async fn come_back(
    State(state): State<PortalState>,
    Acting(acting): Acting,
    frame: Frame,
    headers: HeaderMap,
    source: Source,
    before: Option<SignedIn>,
    Query(back): Query<Back>,
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let sealed = cookies::read(&headers, cookies::JOURNEY);
    let away: Option<Away> = sealed.and_then(|sealed| state.control.open_journey(&sealed, now));
    let mut response = match away {
        None => refuse(&state, frame, LocalPath::root(), ProviderError::NotOurs).await?,
        Some(Away { journey, then, linking: None }) => {
            let then = local(&then);
            take(&state, frame, &headers, source, before, (journey, back, then)).await?
        }
        Some(Away { journey, linking: Some(login), .. }) => match before.filter(|before| before.login.id == login) {
            None => refuse(&state, frame, LocalPath::root(), ProviderError::NotOurs).await?,
            Some(signed_in) => link(&acting, frame, source, signed_in, (journey, back)).await?,
        },
    };
    // Good once, whatever came of it.
    response.headers_mut().append(SET_COOKIE, cookies::take_back(cookies::JOURNEY));
    Ok(response)
}

async fn take(
    state: &PortalState,
    frame: Frame,
    headers: &HeaderMap,
    source: Source,
    before: Option<SignedIn>,
    (journey, back, then): (Journey, Back, LocalPath),
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let Some(provider) = state.providers.named(&journey.provider) else {
        return refuse(state, frame, then, ProviderError::NotOurs).await;
    };
    let provided = match provider.come_back(journey, back, now).await {
        Ok(provided) => provided,
        Err(error) => {
            complain(&provider, &error);
            return refuse(state, frame, then, error).await;
        }
    };
    let rules = provider.settings().rules.clone();
    match state.control.sign_in_as_provided(provided, rules, place_of(source), now).await {
        Ok(Step::Done(proven)) => enter(state, frame, headers, source, before, proven, then).await,
        Ok(Step::CodeWanted(ticket)) => code_page(state, frame, then, ticket, None).await,
        Err(error) => {
            let (status, sentence) = tell_of_identity(error)?;
            let told = frame.say(sentence).to_owned();
            sign_in::told(state, frame, then, status, told).await
        }
    }
}

async fn link(
    state: &PortalState,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    (journey, back): (Journey, Back),
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let linked = match state.providers.named(&journey.provider) {
        None => Err(ProviderError::NotOurs),
        Some(provider) => provider.come_back(journey, back, now).await.inspect_err(|error| complain(&provider, error)),
    };
    let (status, told) = match linked {
        Err(error) => tell(&frame, error),
        Ok(provided) => match state.control.link_identity(signed_in.person.id, provided, place_of(source), now).await {
            Ok(()) => return Ok(Redirect::to("/account").into_response()),
            Err(error) => {
                let (status, sentence) = tell_of_identity(error)?;
                (status, frame.say(sentence).to_owned())
            }
        },
    };
    Ok(AccountPage::of(state, frame, &signed_in).await?.told(status, told))
}

async fn unlink(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    if let Err(error) = confirm(&state, &signed_in, source, given).await? {
        return AccountPage::of(&state, frame, &signed_in).await?.refuse(error);
    }
    let (account, now) = (signed_in.person.id, (state.clock)());
    match state.control.unlink_identity(account, IdentityId(id), place_of(source), now).await {
        Ok(()) => Ok(page(&AccountPage::of(&state, frame, &signed_in).await?)),
        Err(error) => {
            let (status, sentence) = tell_of_identity(error)?;
            let told = frame.say(sentence).to_owned();
            Ok(AccountPage::of(&state, frame, &signed_in).await?.told(status, told))
        }
    }
}

/// Whoever came by a provider alone has no password to say.
async fn confirm(
    state: &PortalState,
    signed_in: &SignedIn,
    source: Source,
    given: Confirmed,
) -> Result<Result<(), CredentialError>, Problem> {
    let (account, now) = (signed_in.person.id, (state.clock)());
    if !state.control.has_password(account).await? {
        return Ok(Ok(()));
    }
    Ok(state.control.confirm_password(account, &Secret::new(given.password), place_of(source), now).await)
}

async fn refuse(state: &PortalState, frame: Frame, then: LocalPath, error: ProviderError) -> Result<Response, Problem> {
    let (status, told) = tell(&frame, error);
    sign_in::told(state, frame, then, status, told).await
}

fn tell(frame: &Frame, error: ProviderError) -> (StatusCode, String) {
    let (status, sentence) = match error {
        ProviderError::Unreachable(_) => (StatusCode::BAD_GATEWAY, UNREACHABLE),
        ProviderError::Refused(_) => (StatusCode::FORBIDDEN, REFUSED),
        ProviderError::NotOurs => (StatusCode::FORBIDDEN, NOT_OURS),
        ProviderError::Untrustworthy(_) => (StatusCode::BAD_GATEWAY, UNTRUSTWORTHY),
    };
    (status, frame.say(sentence).to_owned())
}

fn tell_of_identity(error: IdentityError) -> Result<(StatusCode, &'static str), Problem> {
    match error {
        IdentityError::Unknown => Ok((StatusCode::FORBIDDEN, UNKNOWN)),
        IdentityError::Over => Ok((StatusCode::FORBIDDEN, OVER)),
        IdentityError::Taken => Ok((StatusCode::CONFLICT, TAKEN)),
        IdentityError::LastWay => Ok((StatusCode::CONFLICT, LAST_WAY)),
        IdentityError::Edit(error) => Err(error.into()),
    }
}

/// For the owner: what browsers are told says less.
fn complain(provider: &Provider, error: &ProviderError) {
    let issuer = &provider.settings().issuer;
    match error {
        ProviderError::Unreachable(why) | ProviderError::Untrustworthy(why) => {
            tracing::warn!(%issuer, "nobody signs in by this provider: {why}");
        }
        ProviderError::Refused(why) => tracing::info!(%issuer, "the provider let nobody in: {why}"),
        ProviderError::NotOurs => {}
    }
}
