//! Where foreign software comes in by a session, and from where its person comes.

use super::sessions::{SessionBody, shown};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Versioned};
use crate::asker::Asker;
use crate::caller::Source;
use doorward_control::{FirstComer, PinholeStanding, Protocol, SessionReach, Straight};
use doorward_core::SessionId;
use doorward_core::access::Facts;
use doorward_core::schema::Instant;
use doorward_core::session::Session;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A public port of the session's own.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ReachBody {
    protocol: Protocol,
    /// `null`, as the port: it has none.
    host: Option<String>,
    port: Option<u16>,
    /// To be copied.
    line: Option<String>,
    /// Past the gateway, through the router of the device's home. `null`: the service has none, or nobody knows yet.
    straight: Option<StraightBody>,
    /// IPv4 addresses and IPv6 networks from which whoever comes is let in.
    from: Vec<String>,
    /// Until when whoever comes first is let in, and is its person from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    first_comer_until: Option<Timestamp>,
    /// Why it has no port.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StraightBody {
    /// `ready`, `passed` once somebody came, or `closed`.
    state: &'static str,
    host: Option<String>,
    port: Option<u16>,
    /// To be copied.
    line: Option<String>,
    /// Why it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SourceBody {
    /// For owners to name; whoever else asks says that they come from where they ask.
    from: Option<IpAddr>,
    /// Instead: whoever comes to its port within a minute, once, where the policy allows that.
    #[serde(default)]
    first_comer: bool,
}

/// Its person comes from there, too.
pub(crate) async fn from_here(
    Acting(state): Acting,
    asker: Asker,
    Source(source): Source,
    At(id): At<i64>,
    Body(asked): Body<SourceBody>,
) -> Result<Versioned<SessionBody>, Problem> {
    asker.session(&state, SessionId(id)).await?;
    let open = state.control.snapshot().session(SessionId(id)).cloned();
    let session = open.ok_or_else(|| Problem::unknown(format!("there is no session {id} that is open")))?;
    if asked.first_comer {
        if asked.from.is_some() {
            return Err(Problem::invalid("from: it means nothing with first-comer"));
        }
        state.control.await_first_comer(session.id, (state.clock)())?;
        return shown(&state, session).await;
    }
    let named = asker.names_addresses(asked.from.into_iter().collect())?;
    let own = source.filter(|_| named.is_empty() && session.account == asker.account);
    let sources: Vec<_> = named.into_iter().chain(own).collect();
    if sources.is_empty() {
        return Err(Problem::invalid("from: name an address, since it is not known from where its person comes"));
    }
    note_sources(&state, session.id, sources).await?;
    shown(&state, session).await
}

pub(super) async fn note_sources(state: &PortalState, session: SessionId, from: Vec<IpAddr>) -> Result<(), Problem> {
    for source in from {
        state.control.note_session_source(session, source, (state.clock)()).await?;
    }
    Ok(())
}

pub(crate) fn reach_body(state: &PortalState, session: &Session) -> Option<ReachBody> {
    let reach = state.control.session_reach(session, (state.clock)())?;
    let SessionReach { protocol, place, straight, sources, first_comer } = reach;
    let (place, why_not) = match place {
        Ok(place) => (Some(place), None),
        Err(why) => (None, Some(why.why())),
    };
    let (port, line) = (place.as_ref().map(|place| place.port), place.as_ref().map(|place| place.line.clone()));
    let from = sources.iter().map(ToString::to_string).collect();
    let straight = straight.map(StraightBody::from);
    let first_comer_until = match first_comer {
        FirstComer::AwaitedUntil(until) => Some(until),
        FirstComer::Never | FirstComer::Possible => None,
    };
    let host = place.map(|place| place.host);
    Some(ReachBody { protocol, host, port, line, straight, from, first_comer_until, why_not })
}

impl From<Straight> for StraightBody {
    fn from(Straight { place, standing }: Straight) -> Self {
        let (state, why_not) = match standing {
            PinholeStanding::Ready => ("ready", None),
            PinholeStanding::Passed => ("passed", None),
            PinholeStanding::Closed { why } => ("closed", Some(why)),
        };
        let (port, line) = (place.as_ref().map(|place| place.port), place.as_ref().map(|place| place.line.clone()));
        Self { state, host: place.map(|place| place.host), port, line, why_not }
    }
}

impl ReachBody {
    /// As people write it.
    pub(crate) fn place(&self) -> Option<String> {
        self.host.as_ref().zip(self.port).map(|(host, port)| format!("{host}:{port}"))
    }
}
