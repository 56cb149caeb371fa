use super::people::label;
use crate::PortalState;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use axum::Json;
use axum::extract::State;
use doorward_control::{Group, GroupEdit};
use doorward_core::names::Label;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Serialize)]
pub(crate) struct GroupBody {
    name: Label,
    title: String,
    people: Vec<Label>,
    version: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    name: String,
    title: Option<String>,
    #[serde(default)]
    people: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditBody {
    title: Option<String>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<GroupBody>> {
    let snapshot = state.control.snapshot();
    let mut members: HashMap<&Label, Vec<Label>> = HashMap::new();
    for person in snapshot.people() {
        for group in &person.groups {
            members.entry(group).or_default().push(person.name.clone());
        }
    }
    let mut groups: Vec<_> =
        snapshot.groups().map(|group| body(group, members.remove(&group.name).unwrap_or_default())).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Json(groups)
}

pub(crate) async fn add(
    State(state): State<PortalState>,
    Body(new): Body<NewBody>,
) -> Result<(StatusCode, Versioned<GroupBody>), Problem> {
    let group = state.control.add_group(label(&new.name)?, new.title, labels(&new.people)?, (state.clock)()).await?;
    Ok((StatusCode::CREATED, shown(&state, &group)))
}

pub(crate) async fn edit(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<GroupBody>, Problem> {
    let edit = GroupEdit { title: edit.title, add: labels(&edit.add)?, remove: labels(&edit.remove)? };
    let group = state.control.edit_group(label(&name)?, edit, version, (state.clock)()).await?;
    Ok(shown(&state, &group))
}

pub(crate) async fn remove(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
) -> Result<StatusCode, Problem> {
    state.control.remove_group(label(&name)?, version, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn labels(names: &[String]) -> Result<Vec<Label>, Problem> {
    names.iter().map(|name| label(name)).collect()
}

fn shown(state: &PortalState, group: &Group) -> Versioned<GroupBody> {
    let snapshot = state.control.snapshot();
    let people = snapshot.people().filter(|person| person.is_in(&group.name)).map(|person| person.name.clone());
    Versioned(group.version, body(group, people.collect()))
}

fn body(group: &Group, mut people: Vec<Label>) -> GroupBody {
    people.sort();
    GroupBody { name: group.name.clone(), title: group.title.clone(), people, version: group.version }
}
