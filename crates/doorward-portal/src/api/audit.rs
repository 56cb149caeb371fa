//! What was done and refused, as a list and as parts of its chain.

use crate::PortalState;
use crate::answer::{Asked, Problem};
use axum::Json;
use axum::extract::State;
use doorward_control::{Anchor, AuditChoice, ChainedLine, Soundness};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    limit: Option<u32>,
    #[serde(default)]
    person: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    deed: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Lines with a smaller number than this: the next page.
    before: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The number of the first line.
    from: Option<i64>,
    /// Instead of it, a time.
    since: Option<Timestamp>,
    limit: Option<u32>,
}

/// Lines that follow each other, and the one that they rest on.
#[derive(Serialize)]
pub(crate) struct PartBody {
    after: Anchor,
    lines: Vec<ChainedLine>,
}

#[derive(Serialize)]
pub(crate) struct SoundnessBody {
    sound: bool,
    lines: u64,
    after: Anchor,
    head: Anchor,
    broken: Option<String>,
}

const USUAL: u32 = 100;
const MOST: u32 = 10_000;

/// The newest first.
pub(crate) async fn list(
    State(state): State<PortalState>,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<ChainedLine>>, Problem> {
    // What happened a second ago is looked for most.
    state.control.flush_audit().await?;
    let Page { limit, person, service, device, deed, since, until, before } = page;
    for name in [&person, &service, &device, &deed] {
        if name.contains(['%', '_']) {
            return Err(Problem::invalid(format!("{name:?} is no name")));
        }
    }
    let choice = AuditChoice { person, service, device, deed, since, until, before };
    Ok(Json(state.control.audit_of(&choice, limit.unwrap_or(USUAL).min(MOST)).await?))
}

/// The oldest first. For copies and for those who follow it: nothing is written down before its time because of them.
pub(crate) async fn part(
    State(state): State<PortalState>,
    Asked(part): Asked<Part>,
) -> Result<Json<PartBody>, Problem> {
    let from = match (part.from, part.since) {
        (Some(from), None) => from,
        (None, Some(since)) => state.control.first_audited_since(since).await?,
        (None, None) => 0,
        (Some(_), Some(_)) => return Err(Problem::invalid("say from or since, not both")),
    };
    let (after, lines) = state.control.audit_part(from, part.limit.unwrap_or(USUAL).min(MOST)).await?;
    Ok(Json(PartBody { after, lines }))
}

pub(crate) async fn verify(State(state): State<PortalState>) -> Result<Json<SoundnessBody>, Problem> {
    let Soundness { anchor, head, lines, broken } = state.control.verify_audit().await?;
    let broken = broken.map(|broken| broken.to_string());
    Ok(Json(SoundnessBody { sound: broken.is_none(), lines, after: anchor, head, broken }))
}
