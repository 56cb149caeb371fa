use crate::PortalState;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use axum::Json;
use axum::extract::State;
use doorward_control::{NewPerson, PersonEdit, Snapshot};
use doorward_core::names::Label;
use doorward_core::person::{Person, PersonStanding, Role};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PersonBody {
    name: Label,
    title: String,
    role: Role,
    standing: &'static str,
    created_at: Timestamp,
    /// `null`: for ever.
    ends_at: Option<Timestamp>,
    groups: Vec<Label>,
    ssh_keys: usize,
    open_sessions: usize,
    version: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NewBody {
    name: String,
    title: Option<String>,
    role: Option<Role>,
    ends_at: Option<Timestamp>,
}

/// What is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EditBody {
    title: Option<String>,
    role: Option<Role>,
    /// `null`: for ever.
    #[serde(default, deserialize_with = "even_null")]
    ends_at: Option<Option<Timestamp>>,
    disabled: Option<bool>,
}

fn even_null<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::<Timestamp>::deserialize(given).map(Some)
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<PersonBody>> {
    let snapshot = state.control.snapshot();
    let mut people: Vec<_> = snapshot.people().cloned().collect();
    people.sort_by(|a, b| a.name.cmp(&b.name));
    Json(people.iter().map(|person| body(&state, person)).collect())
}

pub(crate) async fn add(
    State(state): State<PortalState>,
    Body(new): Body<NewBody>,
) -> Result<(StatusCode, Versioned<PersonBody>), Problem> {
    let name = label(&new.name)?;
    let new = NewPerson { name, title: new.title, role: new.role.unwrap_or(Role::Member), ends_at: new.ends_at };
    let person = state.control.add_person(new, (state.clock)()).await?;
    Ok((StatusCode::CREATED, Versioned(person.version, body(&state, &person))))
}

pub(crate) async fn edit(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<PersonBody>, Problem> {
    let id = person_named(&state.control.snapshot(), &name)?.id;
    let EditBody { title, role, ends_at, disabled } = edit;
    let edit = PersonEdit { title, role, ends_at, is_disabled: disabled };
    let person = state.control.edit_person(id, edit, version, (state.clock)()).await?;
    Ok(Versioned(person.version, body(&state, &person)))
}

pub(crate) async fn remove(
    State(state): State<PortalState>,
    At(name): At<String>,
    Seen(version): Seen,
) -> Result<StatusCode, Problem> {
    let id = person_named(&state.control.snapshot(), &name)?.id;
    state.control.remove_person(id, version, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn person_named(snapshot: &Snapshot, name: &str) -> Result<Arc<Person>, Problem> {
    let found = Label::parse(name).ok().and_then(|label| snapshot.person_by_name(&label).cloned());
    found.ok_or_else(|| Problem::unknown(format!("there is no person \"{name}\"")))
}

pub(super) fn label(name: &str) -> Result<Label, Problem> {
    Label::parse(name).map_err(|error| Problem::invalid(error.to_string()))
}

pub(super) fn standing(person: &Person, now: Timestamp) -> &'static str {
    match person.standing(now) {
        PersonStanding::Good => "good",
        PersonStanding::Disabled => "disabled",
        PersonStanding::Ended => "ended",
    }
}

fn body(state: &PortalState, person: &Person) -> PersonBody {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    PersonBody {
        name: person.name.clone(),
        title: person.title.clone(),
        role: person.role,
        standing: standing(person, now),
        created_at: person.created_at,
        ends_at: person.ends_at,
        groups: person.groups.clone(),
        ssh_keys: snapshot.ssh_keys_of(person.id).count(),
        open_sessions: snapshot.sessions_of(person.id).filter(|session| now < session.until).count(),
        version: person.version,
    }
}
