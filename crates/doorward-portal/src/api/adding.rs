//! Programs for devices, services wished for on them, and what they could offer.

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::builds::{Build, Builds};
use crate::describe::{Created, Done};
use axum::{Extension, Json};
use doorward_control::{Device, Finding, ScanState, Told};
use doorward_core::addition::Addition;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::service::Standing;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// What a device says of what the portal may have it do, and what was wished for.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AdditionsBody {
    /// Whether its agent is there to say so; otherwise the next three are empty.
    pub(crate) is_known: bool,
    /// As in its agent.toml.
    pub(crate) may_offer: Vec<String>,
    pub(crate) may_scan: bool,
    /// What its own settings offer, and where: edited there alone.
    pub(crate) own: Vec<OwnBody>,
    pub(crate) additions: Vec<AdditionBody>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OwnBody {
    pub(crate) name: Label,
    pub(crate) title: String,
    /// As `agent.toml:7`, on the device.
    pub(crate) written_at: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AdditionBody {
    #[serde(flatten)]
    pub(crate) wish: Addition,
    pub(crate) state: AdditionState,
    /// Why the device does not offer it.
    pub(crate) why: Option<String>,
    /// What would have to be written into the device's agent.toml, if that would help.
    pub(crate) write: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AdditionState {
    Offered,
    Refused,
    /// The device has not answered yet.
    Waiting,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "state")]
pub(crate) enum ScanBody {
    Never,
    Running {
        #[schemars(with = "Instant")]
        asked_at: Timestamp,
    },
    Over {
        #[schemars(with = "Instant")]
        asked_at: Timestamp,
        findings: Vec<FindingBody>,
    },
    Failed {
        #[schemars(with = "Instant")]
        asked_at: Timestamp,
        why: String,
    },
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FindingBody {
    pub(crate) kind: String,
    pub(crate) name: Label,
    pub(crate) target: String,
    pub(crate) preset: Option<String>,
}

pub(crate) async fn builds(Acting(state): Acting, Extension(builds): Extension<Builds>) -> Json<Vec<Build>> {
    Json(builds.list(state.control.directory()).await)
}

pub(crate) async fn list(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
) -> Result<Json<AdditionsBody>, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    Ok(Json(body(&state, &device)))
}

pub(crate) async fn add(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Body(wish): Body<Addition>,
) -> Result<Created<Json<AdditionsBody>>, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    state.control.add_service(device.id, wish, (state.clock)()).await?;
    Ok(Created(Json(body(&state, &device))))
}

pub(crate) async fn remove(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Done, Problem> {
    let device = asker.device(&state.control.snapshot(), &device)?;
    let unknown = || Problem::unknown(format!("there is no wish for a service \"{service}\""));
    let service = Label::parse(&service).map_err(|_| unknown())?;
    state.control.remove_addition(device.id, service, (state.clock)()).await?;
    Ok(Done)
}

/// It takes a minute or so; look at the result by `GET`.
pub(crate) async fn ask_for_scan(Acting(state): Acting, asker: Asker, At(name): At<String>) -> Result<Done, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    state.control.ask_for_scan(device.id, (state.clock)()).await?;
    Ok(Done)
}

pub(crate) async fn scan(Acting(state): Acting, asker: Asker, At(name): At<String>) -> Result<Json<ScanBody>, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    Ok(Json(scan_of(&state, &device)))
}

pub(crate) fn body(state: &PortalState, device: &Device) -> AdditionsBody {
    let snapshot = state.control.snapshot();
    let told = state.control.told_of_additions(device.id);
    let wishes = snapshot.additions(device.id);
    let is_refused = |name: &Label| told.as_ref().is_some_and(|told| told.refusals.contains_key(name));
    let is_wished = |name: &Label| wishes.iter().any(|wish| wish.name == *name) && !is_refused(name);
    let offered = snapshot.services_of(device.id).filter(|record| record.service.standing == Standing::Offered);
    let own = offered.filter(|record| !is_wished(&record.service.name)).map(|record| OwnBody {
        name: record.service.name.clone(),
        title: record.service.title.clone(),
        written_at: state.control.presence().written_at(record.service.id),
    });
    AdditionsBody {
        is_known: told.is_some(),
        may_offer: told.as_ref().map(|told| told.may_offer.clone()).unwrap_or_default(),
        may_scan: told.as_ref().is_some_and(|told| told.may_scan),
        own: own.collect(),
        additions: wishes.iter().map(|wish| addition(state, device, wish, told.as_ref())).collect(),
    }
}

fn addition(state: &PortalState, device: &Device, wish: &Addition, told: Option<&Told>) -> AdditionBody {
    let record = state.control.snapshot().record_of(device.id, &wish.name);
    let is_offered = record.is_some_and(|record| record.service.standing == Standing::Offered);
    let refusal = told.and_then(|told| told.refusals.get(&wish.name));
    let state = match refusal {
        Some(_) => AdditionState::Refused,
        None if is_offered => AdditionState::Offered,
        None => AdditionState::Waiting,
    };
    let needs = refusal.and_then(|refusal| refusal.needs.clone());
    let write = needs.zip(told).map(|(needs, told)| allowing(&told.may_offer, &needs));
    AdditionBody { wish: wish.clone(), state, why: refusal.map(|refusal| refusal.why.clone()), write }
}

/// The line of `agent.toml` that would let this be offered, beside what is allowed already.
fn allowing(may_offer: &[String], needs: &str) -> String {
    let all = may_offer.iter().map(String::as_str).chain([needs]);
    let quoted: Vec<_> = all
        .map(|range| format!("\"{}\"", range.replace(|c: char| c.is_control() || matches!(c, '"' | '\\'), "")))
        .collect();
    format!("[portal]\nmay-offer = [{}]\n", quoted.join(", "))
}

pub(crate) fn scan_of(state: &PortalState, device: &Device) -> ScanBody {
    let Some(scan) = state.control.scan_of(device.id) else { return ScanBody::Never };
    let asked_at = scan.asked_at;
    match scan.state {
        ScanState::Running => ScanBody::Running { asked_at },
        ScanState::Over(found) => {
            ScanBody::Over { asked_at, findings: found.into_iter().map(FindingBody::from).collect() }
        }
        ScanState::Failed(why) => ScanBody::Failed { asked_at, why },
    }
}

impl From<Finding> for FindingBody {
    fn from(finding: Finding) -> Self {
        let Finding { kind, target, preset, name } = finding;
        Self { kind, name, target, preset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_write_keeps_what_is_allowed_already() {
        let written = allowing(&["127.0.0.1:*".to_owned()], "192.168.1.5:5000");
        assert_eq!(written, "[portal]\nmay-offer = [\"127.0.0.1:*\", \"192.168.1.5:5000\"]\n");
        assert_eq!(allowing(&[], "x\"]\n#"), "[portal]\nmay-offer = [\"x]#\"]\n");
    }
}
