//! Who has a service that one person has at a time, and who waits for it.

use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::{Asker, no_person};
use crate::describe::Done;
use axum::Json;
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::{AccountId, SessionId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(crate) struct LineBody {
    /// `null`: nobody has it.
    holder: Option<HolderBody>,
    waiting: Vec<WaitingBody>,
}

#[derive(Serialize, JsonSchema)]
struct HolderBody {
    session: SessionId,
    person: Option<Label>,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct WaitingBody {
    person: Option<Label>,
    /// `null`: it is not their turn yet.
    #[schemars(with = "Option<Instant>")]
    offered_until: Option<Timestamp>,
}

pub(crate) async fn show(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Json<LineBody>, Problem> {
    let record = asker.service(&state, (&device, &service))?;
    let line = state.control.line(record.service.id, (state.clock)()).await?;
    let snapshot = state.control.snapshot();
    let name = |id: AccountId| snapshot.person(id).map(|person| person.name.clone());
    let holder = line.holder.map(|session| HolderBody {
        session: session.id,
        person: name(session.account),
        until: session.until,
    });
    let waiting =
        line.waiting.iter().map(|w| WaitingBody { person: name(w.account), offered_until: w.offered_until }).collect();
    Ok(Json(LineBody { holder, waiting }))
}

pub(crate) async fn leave(
    Acting(state): Acting,
    asker: Asker,
    At((device, service, person)): At<(String, String, String)>,
) -> Result<Done, Problem> {
    let record = asker.known_service(&state, (&device, &service))?;
    let snapshot = state.control.snapshot();
    let found = Label::parse(&person).ok().and_then(|label| snapshot.person_by_name(&label).cloned());
    let found = found.filter(|person| asker.opens_for(&snapshot, &record, person));
    let who = found.ok_or_else(|| no_person(&person))?.id;
    state.control.leave_line(record.service.id, who, (state.clock)()).await?;
    Ok(Done)
}
