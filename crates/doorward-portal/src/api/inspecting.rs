//! Requests that the owner of a service looks at.

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::caller::Source;
use crate::describe::Done;
use axum::Json;
use doorward_control::{Ending, InspectionWish, ReplayError, Seen, Taken};
use doorward_core::ServiceId;
use doorward_core::schema::Instant;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WishBody {
    /// For so many minutes, a day at most.
    pub(crate) minutes: i64,
    /// Whether the first 64 KiB of bodies are kept, too. They are kept as they are.
    #[serde(default)]
    pub(crate) with_bodies: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InspectionBody {
    pub(crate) is_on: bool,
    #[schemars(with = "Option<Instant>")]
    pub(crate) until: Option<Timestamp>,
    pub(crate) with_bodies: bool,
    /// The newest first.
    pub(crate) requests: Vec<SeenBody>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SeenBody {
    pub(crate) number: u64,
    #[schemars(with = "Instant")]
    pub(crate) at: Timestamp,
    pub(crate) source: IpAddr,
    pub(crate) person: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) target_path: String,
    pub(crate) request: TakenBody,
    pub(crate) status: Option<u16>,
    pub(crate) answer: TakenBody,
    /// Milliseconds to the head of the answer.
    pub(crate) waited_ms: Option<f64>,
    pub(crate) took_ms: Option<f64>,
    /// `under-way`, `finished`, `upgraded`, `broken`, or the hop that failed.
    pub(crate) ending: String,
    pub(crate) replay_of: Option<u64>,
    /// Why it cannot be sent again; `null`: it can.
    pub(crate) not_again: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TakenBody {
    pub(crate) headers: Vec<HeaderBody>,
    pub(crate) bytes: u64,
    /// The beginning of the body as text; `null`: it was not kept, or is no text.
    pub(crate) text: Option<String>,
    pub(crate) is_whole: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct HeaderBody {
    pub(crate) name: String,
    /// Without credentials.
    pub(crate) value: String,
}

pub(crate) async fn show(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Json<InspectionBody>, Problem> {
    let record = asker.service(&state, (&device, &service))?;
    Ok(Json(body(&state, record.service.id)))
}

pub(crate) async fn begin(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
    Body(wish): Body<WishBody>,
) -> Result<Json<InspectionBody>, Problem> {
    let id = asker.service(&state, (&device, &service))?.service.id;
    let wish = InspectionWish {
        length: SignedDuration::from_mins(wish.minutes.clamp(0, 100_000)),
        with_bodies: wish.with_bodies,
    };
    state.control.inspect(id, wish, (state.clock)()).await?;
    Ok(Json(body(&state, id)))
}

pub(crate) async fn stop(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
) -> Result<Done, Problem> {
    let id = asker.service(&state, (&device, &service))?.service.id;
    state.control.stop_inspecting(id, (state.clock)()).await?;
    Ok(Done)
}

pub(crate) async fn replay(
    Acting(state): Acting,
    asker: Asker,
    source: Source,
    At((device, service, number)): At<(String, String, u64)>,
) -> Result<Done, Problem> {
    let id = asker.service(&state, (&device, &service))?.service.id;
    again(&state, id, number, &asker, source).await?;
    Ok(Done)
}

pub(crate) async fn again(
    state: &PortalState,
    service: ServiceId,
    number: u64,
    asker: &Asker,
    source: Source,
) -> Result<(), Problem> {
    let by = (asker.account, source.0.unwrap_or(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    match state.control.replay(service, number, by, (state.clock)()).await? {
        Ok(()) => Ok(()),
        Err(error) => {
            let (status, remedy) = match &error {
                ReplayError::Gone => (StatusCode::CONFLICT, "look at the list anew"),
                ReplayError::Partial(_) => (StatusCode::CONFLICT, "send it by hand"),
                ReplayError::NotLetIn(_) => (StatusCode::CONFLICT, "open a session, or change who may use the service"),
                ReplayError::Failed(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, "see that the device and its target are there")
                }
                ReplayError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
            };
            Err(Problem::new(status, error.to_string(), remedy))
        }
    }
}

pub(crate) fn body(state: &PortalState, service: ServiceId) -> InspectionBody {
    let Some(found) = state.control.inspections().of(service, (state.clock)()) else {
        return InspectionBody { is_on: false, until: None, with_bodies: false, requests: Vec::new() };
    };
    let requests = found.seen.into_iter().map(SeenBody::from).collect();
    InspectionBody { is_on: true, until: Some(found.until), with_bodies: found.with_bodies, requests }
}

impl From<Seen> for SeenBody {
    fn from(seen: Seen) -> Self {
        let milliseconds = |length: Duration| (length.as_secs_f64() * 10_000.0).round() / 10.0;
        let not_again = seen.replayable().err().map(str::to_owned);
        Self {
            number: seen.number,
            at: seen.at,
            source: seen.source,
            person: seen.person,
            method: seen.method,
            path: seen.path,
            target_path: seen.target_path,
            request: seen.request.into(),
            status: seen.status,
            answer: seen.answer.into(),
            waited_ms: seen.waited.map(milliseconds),
            took_ms: seen.took.map(milliseconds),
            ending: match seen.ending {
                Ending::None => "under-way".to_owned(),
                Ending::Finished => "finished".to_owned(),
                Ending::Upgraded => "upgraded".to_owned(),
                Ending::Broken => "broken".to_owned(),
                Ending::Failed(hop) => hop,
            },
            replay_of: seen.replay_of,
            not_again,
        }
    }
}

impl From<Taken> for TakenBody {
    fn from(taken: Taken) -> Self {
        let headers = taken.headers.into_iter().map(|(name, value, _)| HeaderBody { name, value });
        let is_whole = taken.body.as_ref().is_some_and(|body| body.is_whole);
        let text = taken.body.and_then(|body| readable(body.bytes)).filter(|text| !text.is_empty());
        Self { headers: headers.collect(), bytes: taken.bytes, text, is_whole }
    }
}

/// A cut may have gone through a character.
fn readable(mut bytes: Vec<u8>) -> Option<String> {
    if let Err(error) = std::str::from_utf8(&bytes)
        && bytes.len() - error.valid_up_to() < 4
    {
        bytes.truncate(error.valid_up_to());
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(|c| c.is_control() && !c.is_whitespace())).then_some(text)
}
