use super::people::label;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use crate::asker::Asker;
use crate::describe::{Created, Done};
use crate::paging::{Listed, Paging};
use doorward_control::{Group, GroupEdit};
use doorward_core::names::Label;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, JsonSchema)]
pub(crate) struct GroupBody {
    name: Label,
    title: String,
    people: Vec<Label>,
    version: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    name: String,
    title: Option<String>,
    #[serde(default)]
    people: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditBody {
    title: Option<String>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

/// Whoever does not see all of them sees their own, and nobody else in them.
pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<GroupBody>, Problem> {
    let snapshot = state.control.snapshot();
    let own = snapshot.shared_person(asker.account);
    let is_in = |group: &Group| own.as_ref().is_some_and(|person| person.is_in(&group.name));
    let groups = snapshot.groups().filter(|group| asker.sees_everything() || is_in(group));
    let listed = paging.of(groups.collect(), |group| group.name.to_string())?;
    let shown = |group: &Group| match (&own, asker.sees_everything()) {
        (_, true) => snapshot.members_of(group).cloned().collect(),
        (own, false) => own.iter().map(|person| person.name.clone()).collect(),
    };
    Ok(listed.map(|group| body(group, shown(group))))
}

pub(crate) async fn add(
    Acting(state): Acting,
    Body(new): Body<NewBody>,
) -> Result<Created<Versioned<GroupBody>>, Problem> {
    let group = state.control.add_group(label(&new.name)?, new.title, labels(&new.people)?, (state.clock)()).await?;
    Ok(Created(shown(&state, &group)))
}

pub(crate) async fn edit(
    Acting(state): Acting,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<GroupBody>, Problem> {
    let edit = GroupEdit { title: edit.title, add: labels(&edit.add)?, remove: labels(&edit.remove)? };
    let group = state.control.edit_group(label(&name)?, edit, version, (state.clock)()).await?;
    Ok(shown(&state, &group))
}

pub(crate) async fn remove(Acting(state): Acting, At(name): At<String>, Seen(version): Seen) -> Result<Done, Problem> {
    state.control.remove_group(label(&name)?, version, (state.clock)()).await?;
    Ok(Done)
}

fn labels(names: &[String]) -> Result<Vec<Label>, Problem> {
    names.iter().map(|name| label(name)).collect()
}

fn shown(state: &PortalState, group: &Group) -> Versioned<GroupBody> {
    let snapshot = state.control.snapshot();
    Versioned(group.version, body(group, snapshot.members_of(group).cloned().collect()))
}

fn body(group: &Group, people: Vec<Label>) -> GroupBody {
    GroupBody { name: group.name.clone(), title: group.title.clone(), people, version: group.version }
}
