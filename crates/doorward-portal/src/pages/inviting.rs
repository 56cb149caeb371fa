//! Ways in for people: a link for one or for a class, an account made by hand, a list. What is secret in them is shown once.

use super::fields::{Fields, label};
use super::frame::{Frame, page, page_with};
use super::qr::picture;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{MAX_LIST, Problem};
use crate::api::welcomes::{NewLink, USUAL_LENGTH, portal};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{EditError, ImportError, InvitationRequest, LineError, NewPerson, Usual, read_list};
use doorward_core::authority::Action;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

#[derive(Template)]
#[template(path = "invite.html")]
struct InvitePage {
    frame: Frame,
    groups: Vec<String>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "invite_link.html")]
pub(super) struct LinkPage {
    frame: Frame,
    heading: String,
    is_of_person: bool,
    link: NewLink,
    /// Markup of our own making.
    picture: String,
}

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    frame: Frame,
    groups: Vec<String>,
    list: String,
    errors: Vec<LineError>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "imported.html")]
struct ImportedPage {
    frame: Frame,
    links: Vec<Imported>,
    expires_at: Option<Timestamp>,
}

struct Imported {
    name: String,
    title: String,
    link: NewLink,
}

/// Whoever mends so many sends the list again anyway.
const ERRORS_AT_ONCE: usize = 100;

pub(super) fn routes() -> Router<PortalState> {
    let import = get(ask_list).post(import).layer(DefaultBodyLimit::max(MAX_LIST));
    Router::new()
        .route("/people/new", get(ask).post(add))
        .route("/invitations/new", post(invite))
        .route("/import", import)
}

impl LinkPage {
    pub(super) fn of_person(frame: Frame, heading: String, link: NewLink) -> Self {
        Self { picture: picture(link.url.expose()).unwrap_or_default(), frame, heading, is_of_person: true, link }
    }
}

async fn ask(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::InvitePeople)?;
    Ok(page(&InvitePage { frame, groups: groups(&state), error: None }))
}

async fn invite(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::InvitePeople)?;
    let portal = portal(&state)?;
    let request = InvitationRequest {
        title: fields.text("title").to_owned(),
        uses: fields.number("uses")?,
        expires_in: SignedDuration::from_hours(fields.number::<u32>("days").map(i64::from)? * 24),
        role: fields.role()?,
        groups: fields.labels("groups")?,
        account_ends_at: fields.day("ends")?,
    };
    let title = request.title.clone();
    match state.control.invite_people(request, (state.clock)()).await {
        Ok(made) => {
            let (heading, link) = (title, portal.link(made));
            Ok(page(&LinkPage {
                picture: picture(link.url.expose()).unwrap_or_default(),
                frame,
                heading,
                is_of_person: false,
                link,
            }))
        }
        Err(error) => refuse(&state, frame, error),
    }
}

/// An account without a way in; its page makes one.
async fn add(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::AddPerson)?;
    let title = Some(fields.text("title").to_owned()).filter(|title| !title.is_empty());
    let new =
        NewPerson { name: label(fields.text("name"))?, title, role: fields.role()?, ends_at: fields.day("ends")? };
    match state.control.add_person(new, (state.clock)()).await {
        Ok(person) => Ok(Redirect::to(&format!("/people/{}", person.name)).into_response()),
        Err(error) => refuse(&state, frame, error),
    }
}

fn refuse(state: &PortalState, frame: Frame, error: EditError) -> Result<Response, Problem> {
    let error = match error {
        EditError::Invalid(_) | EditError::Taken(_) | EditError::Unknown(_) => error.to_string(),
        EditError::Stale { .. } | EditError::TooEarly(_) | EditError::Store(_) => {
            return Err(error.into());
        }
    };
    let shown = InvitePage { frame, groups: groups(state), error: Some(error) };
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
}

async fn ask_list(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::ImportPeople)?;
    Ok(page(&ImportPage { frame, groups: groups(&state), list: String::new(), errors: Vec::new(), error: None }))
}

/// Everybody of a list, or nobody.
async fn import(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::ImportPeople)?;
    let portal = portal(&state)?;
    let usual = Usual { role: fields.role()?, groups: fields.labels("groups")?, ends_at: fields.day("ends")? };
    let list = fields.text("csv").to_owned();
    let imported = match read_list(&list, &usual) {
        Ok(newcomers) => state.control.import_people(newcomers, USUAL_LENGTH, (state.clock)()).await,
        Err(errors) => Err(ImportError::Lines(errors)),
    };
    let (errors, error) = match imported {
        Ok(made) => {
            let link = |(newcomer, made): (doorward_control::Newcomer, _)| Imported {
                title: newcomer.title.unwrap_or_else(|| newcomer.name.to_string()),
                name: newcomer.name.to_string(),
                link: portal.link(made),
            };
            let links: Vec<_> = made.into_iter().map(link).collect();
            let expires_at = links.first().map(|imported| imported.link.expires_at);
            return Ok(page(&ImportedPage { frame, links, expires_at }));
        }
        Err(ImportError::Lines(mut errors)) => {
            errors.truncate(ERRORS_AT_ONCE);
            (errors, None)
        }
        Err(ImportError::Edit(error @ (EditError::Invalid(_) | EditError::Unknown(_) | EditError::Taken(_)))) => {
            (Vec::new(), Some(error.to_string()))
        }
        Err(ImportError::Edit(error)) => return Err(error.into()),
    };
    let shown = ImportPage { frame, groups: groups(&state), list, errors, error };
    Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
}

fn groups(state: &PortalState) -> Vec<String> {
    let mut names: Vec<_> = state.control.snapshot().groups().map(|group| group.name.to_string()).collect();
    names.sort();
    names.truncate(200);
    names
}
