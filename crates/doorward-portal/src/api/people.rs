use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Seen, Versioned};
use crate::asker::Asker;
use crate::describe::{Created, Done};
use crate::paging::{Listed, Paging};
use doorward_control::{NewPerson, PersonEdit};
use doorward_core::names::Label;
use doorward_core::person::{Person, PersonStanding, Role};
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PersonBody {
    name: Label,
    title: String,
    role: Role,
    standing: &'static str,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    /// `null`: for ever.
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
    groups: Vec<Label>,
    ssh_keys: usize,
    open_sessions: usize,
    version: i64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NewBody {
    name: String,
    title: Option<String>,
    role: Option<Role>,
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
}

/// What is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EditBody {
    title: Option<String>,
    role: Option<Role>,
    /// `null`: for ever.
    #[serde(default, deserialize_with = "even_null")]
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Option<Timestamp>>,
    disabled: Option<bool>,
}

fn even_null<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::<Timestamp>::deserialize(given).map(Some)
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<PersonBody>, Problem> {
    let snapshot = state.control.snapshot();
    let after = paging.after::<String>()?;
    let people: Vec<_> = if asker.sees_everything() {
        snapshot.people_after(after.as_deref()).take(paging.most()?).cloned().collect()
    } else {
        let own = snapshot.shared_person(asker.account).into_iter();
        own.filter(|person| after.as_deref().is_none_or(|after| person.name.as_str() > after)).collect()
    };
    let listed = paging.piece(people, |person: &Arc<Person>| person.name.to_string())?;
    Ok(listed.map(|person| body(&state, &person)))
}

pub(crate) async fn add(
    Acting(state): Acting,
    Body(new): Body<NewBody>,
) -> Result<Created<Versioned<PersonBody>>, Problem> {
    let name = label(&new.name)?;
    let new = NewPerson { name, title: new.title, role: new.role.unwrap_or(Role::Member), ends_at: new.ends_at };
    let person = state.control.add_person(new, (state.clock)()).await?;
    Ok(Created(Versioned(person.version, body(&state, &person))))
}

pub(crate) async fn edit(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Seen(version): Seen,
    Body(edit): Body<EditBody>,
) -> Result<Versioned<PersonBody>, Problem> {
    let id = asker.person(&state.control.snapshot(), &name)?.id;
    let EditBody { title, role, ends_at, disabled } = edit;
    let edit = PersonEdit { title, role, ends_at, is_disabled: disabled };
    let person = state.control.edit_person(id, edit, version, (state.clock)()).await?;
    Ok(Versioned(person.version, body(&state, &person)))
}

pub(crate) async fn remove(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Seen(version): Seen,
) -> Result<Done, Problem> {
    let id = asker.person(&state.control.snapshot(), &name)?.id;
    state.control.remove_person(id, version, (state.clock)()).await?;
    Ok(Done)
}

pub(super) fn label(name: &str) -> Result<Label, Problem> {
    Label::parse(name).map_err(|error| Problem::invalid(error.to_string()))
}

pub(crate) fn standing(person: &Person, now: Timestamp) -> &'static str {
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
