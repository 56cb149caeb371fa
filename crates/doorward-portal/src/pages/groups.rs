//! Groups and who is in them.

use super::fields::{Fields, label};
use super::frame::{Frame, page, page_with};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{EditError, Group, GroupEdit};
use doorward_core::authority::Action;
use doorward_core::names::Label;
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage {
    frame: Frame,
    groups: Vec<Listed>,
    error: Option<String>,
}

struct Listed {
    name: String,
    title: String,
    members: usize,
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    frame: Frame,
    name: String,
    title: String,
    members: Vec<Member>,
    /// More are in it than are shown.
    others: usize,
    /// Where it is named.
    services: Vec<String>,
    version: i64,
    /// What was typed, where it was not taken.
    add: String,
    error: Option<String>,
}

struct Member {
    name: String,
    title: String,
}

#[derive(Deserialize)]
struct Certain {
    version: i64,
    certain: Option<String>,
}

const AT_ONCE: usize = 500;
const STALE: &str = "Somebody changed it meanwhile. Look at both, and save again.";
const NOT_CERTAIN: &str = "Tick the box first.";

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/groups", get(list).post(add))
        .route("/groups/{name}", get(show).post(edit))
        .route("/groups/{name}/remove", post(remove))
}

async fn list(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::EditGroup)?;
    Ok(page(&GroupsPage::of(&state, frame, None)))
}

async fn add(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::AddGroup)?;
    let title = Some(fields.text("title").to_owned()).filter(|title| !title.is_empty());
    let name = label(fields.text("name"))?;
    match state.control.add_group(name, title, fields.labels("people")?, (state.clock)()).await {
        Ok(group) => Ok(Redirect::to(&format!("/groups/{}", group.name)).into_response()),
        Err(error) => {
            let shown = GroupsPage::of(&state, frame, Some(told(error)?));
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown))
        }
    }
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let group = found(&state, &signed_in, Action::EditGroup, &name)?;
    Ok(page(&GroupPage::of(&state, frame, &group)))
}

/// Its title, and who comes and goes.
async fn edit(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    let group = found(&state, &signed_in, Action::EditGroup, &name)?;
    let remove = fields.all("remove").map(label).collect::<Result<_, _>>()?;
    let title = Some(fields.text("title").to_owned()).filter(|title| !title.is_empty());
    let edit = GroupEdit { title, add: fields.labels("add")?, remove };
    let (status, error) =
        match state.control.edit_group(group.name.clone(), edit, Some(fields.version()?), (state.clock)()).await {
            Ok(_) => return Ok(Redirect::to(&format!("/groups/{}", group.name)).into_response()),
            Err(EditError::Stale { .. }) => (StatusCode::PRECONDITION_FAILED, frame.say(STALE).to_owned()),
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, told(error)?),
        };
    let group = found(&state, &signed_in, Action::EditGroup, &name)?;
    let mut shown = GroupPage::of(&state, frame, &group);
    (shown.error, shown.add) = (Some(error), fields.text("add").to_owned());
    Ok(page_with(status, &shown))
}

async fn remove(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Certain { version, certain }): Sent<Certain>,
) -> Result<Response, Problem> {
    let group = found(&state, &signed_in, Action::RemoveGroup, &name)?;
    let mut shown = GroupPage::of(&state, frame, &group);
    if certain.is_none() {
        shown.error = Some(shown.frame.say(NOT_CERTAIN).to_owned());
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown));
    }
    match state.control.remove_group(group.name.clone(), Some(version), (state.clock)()).await {
        Ok(()) => Ok(Redirect::to("/groups").into_response()),
        Err(EditError::Stale { .. }) => {
            shown.error = Some(shown.frame.say(STALE).to_owned());
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

fn found(state: &PortalState, signed_in: &SignedIn, action: Action, name: &str) -> Result<Arc<Group>, Problem> {
    Asker::at_page(signed_in, action)?;
    let found = Label::parse(name).ok().and_then(|label| state.control.snapshot().group_by_name(&label).cloned());
    found.ok_or_else(|| Problem::unknown(format!("there is no group \"{name}\"")))
}

/// What another try with the form would cure.
fn told(error: EditError) -> Result<String, Problem> {
    match error {
        EditError::Invalid(_) | EditError::Taken(_) | EditError::Unknown(_) => Ok(error.to_string()),
        EditError::Stale { .. } | EditError::TooEarly(_) | EditError::Store(_) => Err(error.into()),
    }
}

impl GroupsPage {
    fn of(state: &PortalState, frame: Frame, error: Option<String>) -> Self {
        let snapshot = state.control.snapshot();
        let mut members: BTreeMap<&Label, usize> = BTreeMap::new();
        for group in snapshot.people().flat_map(|person| &person.groups) {
            *members.entry(group).or_default() += 1;
        }
        let listed = |group: &Arc<Group>| Listed {
            name: group.name.to_string(),
            title: group.title.clone(),
            members: members.get(&group.name).copied().unwrap_or_default(),
        };
        let mut groups: Vec<_> = snapshot.groups().map(listed).collect();
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Self { frame, groups, error }
    }
}

impl GroupPage {
    fn of(state: &PortalState, frame: Frame, group: &Group) -> Self {
        let snapshot = state.control.snapshot();
        let in_it = snapshot.people().filter(|person| person.is_in(&group.name));
        let member = |person: &Arc<_>| {
            let person: &doorward_core::person::Person = person;
            Member { name: person.name.to_string(), title: person.title.clone() }
        };
        let mut members: Vec<_> = in_it.map(member).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let others = members.len().saturating_sub(AT_ONCE);
        members.truncate(AT_ONCE);
        let named = snapshot.services().filter(|record| record.access.groups.iter().any(|g| *g == group.name.as_str()));
        let mut services: Vec<_> = named.map(|record| record.service.path()).collect();
        services.sort();
        Self {
            frame,
            name: group.name.to_string(),
            title: group.title.clone(),
            members,
            others,
            services,
            version: group.version,
            add: String::new(),
            error: None,
        }
    }
}
