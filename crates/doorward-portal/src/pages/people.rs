//! Everybody who has an account, and the links by which others may come to have one.

use super::fields::day_of;
use super::frame::{Frame, page};
use super::policies::frame_query;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use crate::paging::Paging;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{Welcome, WelcomeKind};
use doorward_core::WelcomeId;
use doorward_core::authority::Action;
use doorward_core::person::{Person, PersonStanding};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    find: String,
    people: Vec<Listed>,
    next: Option<String>,
    invitations: Vec<Invited>,
}

struct Listed {
    name: String,
    title: String,
    role: &'static str,
    groups: String,
    /// What is out of the ordinary.
    standing: Option<&'static str>,
    ends: String,
}

struct Invited {
    id: WelcomeId,
    title: String,
    role: &'static str,
    groups: String,
    uses: u32,
    uses_left: u32,
    expires_at: Timestamp,
    is_usable: bool,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    find: String,
    after: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

const AT_ONCE: usize = 50;
const INVITATIONS: usize = 50;

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/people", get(show)).route("/invitations/{id}/revoke", post(revoke))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Asked(search): Asked<Search>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::EditPerson)?;
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let find = search.find.trim().to_lowercase();
    let is_meant = |person: &&Arc<Person>| {
        let in_group = person.groups.iter().any(|group| group.as_str() == find);
        in_group || person.name.as_str().contains(&find) || person.title.to_lowercase().contains(&find)
    };
    let all: Vec<_> = snapshot.people().filter(is_meant).cloned().collect();
    let listed = Paging::new(Some(AT_ONCE), search.after).of(all, |person| person.name.to_string())?;
    let (people, next) = listed.map(|person| Listed::of(&person, now)).into_parts();
    let next = next.map(|after| frame_query(&search.find, &after));
    let invitations = state.control.invitations().await?;
    let invitations = invitations.into_iter().filter(|welcome| welcome.kind == WelcomeKind::Invitation);
    let invitations = invitations.take(INVITATIONS).map(|welcome| Invited::of(welcome, now)).collect();
    Ok(page(&PeoplePage { frame, find: search.find, people, next, invitations }))
}

impl Listed {
    fn of(person: &Person, now: Timestamp) -> Self {
        Self {
            name: person.name.to_string(),
            title: person.title.clone(),
            role: person.role.word(),
            groups: joined(&person.groups),
            standing: standing(person, now),
            ends: day_of(person.ends_at),
        }
    }
}

impl Invited {
    fn of(welcome: Welcome, now: Timestamp) -> Self {
        Self {
            is_usable: welcome.is_usable(now),
            id: welcome.id,
            title: welcome.title,
            role: welcome.role.word(),
            groups: joined(&welcome.groups),
            uses: welcome.uses,
            uses_left: welcome.uses_left,
            expires_at: welcome.expires_at,
        }
    }
}

pub(super) fn joined(names: &[doorward_core::names::Label]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn standing(person: &Person, now: Timestamp) -> Option<&'static str> {
    match person.standing(now) {
        PersonStanding::Good => None,
        PersonStanding::Disabled => Some("disabled"),
        PersonStanding::Ended => Some("ended"),
    }
}

/// One that was taken back meanwhile is fine.
async fn revoke(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::RevokeInvitation)?;
    state.control.revoke_invitation(WelcomeId(id), None, (state.clock)()).await?;
    Ok(Redirect::to("/people").into_response())
}
