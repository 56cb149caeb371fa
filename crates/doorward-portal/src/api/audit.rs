//! What was done and refused, as a list and as parts of its chain.

use crate::acting::Acting;
use crate::answer::{Asked, Problem};
use crate::paging::{Listed, MOST, Paging};
use axum::Json;
use doorward_control::{Anchor, AuditChoice, ChainedLine, Soundness};
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Which lines. What is left out leaves the choice open.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    /// As the last answer's Link header has it: lines with a smaller number.
    after: Option<String>,
    /// Who did it, or to whom it was done.
    #[serde(default)]
    person: String,
    /// As `device/service`, or a service's name on any device.
    #[serde(default)]
    service: String,
    /// And its services.
    #[serde(default)]
    device: String,
    /// A word, or its first part: `visit` is all visits.
    #[serde(default)]
    deed: String,
    #[schemars(with = "Option<Instant>")]
    since: Option<Timestamp>,
    #[schemars(with = "Option<Instant>")]
    until: Option<Timestamp>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The number of the first line.
    from: Option<i64>,
    /// Instead of it, a time.
    #[schemars(with = "Option<Instant>")]
    since: Option<Timestamp>,
    limit: Option<usize>,
}

/// Lines that follow each other, and the one that they rest on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PartBody {
    after: Anchor,
    lines: Vec<ChainedLine>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct SoundnessBody {
    sound: bool,
    lines: u64,
    after: Anchor,
    head: Anchor,
    broken: Option<String>,
}

const USUAL: usize = 100;

/// The newest first.
pub(crate) async fn list(
    Acting(state): Acting,
    Asked(query): Asked<ListQuery>,
) -> Result<Listed<ChainedLine>, Problem> {
    let limit = limited(query.limit);
    let besides = query.besides();
    let choice = query.choice()?;
    // What happened a second ago is looked for most.
    state.control.flush_audit().await?;
    let lines = state.control.audit_of(&choice, limit).await?;
    if lines.len() < limit as usize {
        return Ok(Listed::whole(lines));
    }
    let besides: Vec<_> = besides.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Ok(Listed::piece(lines, limit as usize, &besides, |chained| Reverse(chained.line.id)))
}

impl ListQuery {
    /// All but the piece, for the one that follows.
    fn besides(&self) -> Vec<(&'static str, String)> {
        let Self { limit: _, after: _, person, service, device, deed, since, until } = self;
        let names = [("person", person), ("service", service), ("device", device), ("deed", deed)];
        let names = names.into_iter().map(|(key, name)| (key, name.clone())).filter(|(_, name)| !name.is_empty());
        let times = [("since", since), ("until", until)];
        let times = times.into_iter().filter_map(|(key, at)| at.map(|at| (key, at.to_string())));
        names.chain(times).collect()
    }

    fn choice(self) -> Result<AuditChoice, Problem> {
        let Self { limit: _, after, person, service, device, deed, since, until } = self;
        let before = Paging::new(None, after).after::<Reverse<i64>>()?.map(|Reverse(id)| id);
        for name in [&person, &service, &device, &deed] {
            if name.contains(['%', '_']) {
                return Err(Problem::invalid(format!("{name:?} is no name")));
            }
        }
        Ok(AuditChoice { person, service, device, deed, since, until, before })
    }
}

/// The oldest first. For copies and for those who follow it: nothing is written down before its time because of them.
pub(crate) async fn part(Acting(state): Acting, Asked(part): Asked<Part>) -> Result<Json<PartBody>, Problem> {
    let from = match (part.from, part.since) {
        (Some(from), None) => from,
        (None, Some(since)) => state.control.first_audited_since(since).await?,
        (None, None) => 0,
        (Some(_), Some(_)) => return Err(Problem::invalid("say from or since, not both")),
    };
    let (after, lines) = state.control.audit_part(from, limited(part.limit)).await?;
    Ok(Json(PartBody { after, lines }))
}

pub(crate) async fn verify(Acting(state): Acting) -> Result<Json<SoundnessBody>, Problem> {
    let Soundness { anchor, head, lines, broken } = state.control.verify_audit().await?;
    let broken = broken.map(|broken| broken.to_string());
    Ok(Json(SoundnessBody { sound: broken.is_none(), lines, after: anchor, head, broken }))
}

fn limited(limit: Option<usize>) -> u32 {
    limit.unwrap_or(USUAL).clamp(1, MOST) as u32
}
