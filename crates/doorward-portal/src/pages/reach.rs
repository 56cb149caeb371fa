//! How foreign software comes in by a session: at a port of its own, from the addresses that its person was seen at. Whoever
//! looks from another address may say that they come from there, too.

use super::door::nothing;
use super::frame::Frame;
use super::sessions::{Press, back, theirs};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use axum::Router;
use axum::response::Response;
use axum::routing::post;
use doorward_control::{FirstComer, PinholeStanding, SessionError, SessionPlace, SessionReach};
use doorward_core::SessionId;
use doorward_core::authority::Action;
use doorward_core::session::Session;
use jiff::Timestamp;
use std::net::IpAddr;

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/sessions/{id}/here", post(from_here))
        .route("/sessions/{id}/first-comer", post(await_first_comer))
}

/// As it is shown.
pub(super) struct OwnReach {
    pub(super) session: SessionId,
    /// To be copied: host and port, and what one types where that is more.
    pub(super) lines: Vec<String>,
    /// Why there is none.
    pub(super) problem: Option<&'static str>,
    pub(super) from: Vec<String>,
    /// Why it does not lead straight to the home, where it is meant to.
    pub(super) detour: Option<String>,
    /// Whether its person is at home: the router lets them in by its public address, masked.
    pub(super) is_at_home: bool,
    /// Whether its person, who looks, could come from here as well.
    pub(super) is_elsewhere: bool,
    /// Whether its person, who looks, may ask to wait for whoever comes first.
    pub(super) may_await: bool,
    pub(super) awaited_until: Option<Timestamp>,
    /// The page to go back to.
    pub(super) back: &'static str,
}

impl OwnReach {
    /// `None`: foreign software does not come to it by a port.
    pub(super) fn of(
        state: &PortalState,
        signed_in: &SignedIn,
        session: &Session,
        source: Source,
        back: &'static str,
    ) -> Option<Self> {
        let reach = state.control.session_reach(session, (state.clock)())?;
        let SessionReach { place, straight, sources, first_comer, .. } = reach;
        let is_own = session.account == signed_in.person.id;
        let is_new = |ip| !sources.iter().any(|known| known.covers(ip));
        let detour = straight.as_ref().and_then(|straight| match &straight.standing {
            PinholeStanding::Closed { why } => Some(why.clone()),
            PinholeStanding::Ready | PinholeStanding::Passed => None,
        });
        let public = straight.as_ref().and_then(|straight| straight.place.as_ref()?.host.parse::<IpAddr>().ok());
        let is_at_home =
            public.is_some_and(|public| public.is_ipv4() && sources.iter().any(|known| known.covers(public)));
        // The straight way first: the gateway's port is what remains without it.
        let straight = straight.and_then(|straight| straight.place).map(|place| lines_of(&place));
        let (lines, problem) = match place {
            Ok(place) => (lines_of(&place), None),
            Err(_) if straight.is_some() => (Vec::new(), None),
            Err(why) => (Vec::new(), Some(why.why())),
        };
        let lines = straight.into_iter().flatten().chain(lines).collect();
        let is_elsewhere = is_own && problem.is_none() && source.0.is_some_and(is_new);
        let from = sources.iter().map(ToString::to_string).collect();
        let (may_await, awaited_until) = match first_comer {
            FirstComer::Never => (false, None),
            FirstComer::Possible => (is_own && problem.is_none(), None),
            FirstComer::AwaitedUntil(until) => (false, Some(until)),
        };
        Some(Self {
            session: session.id,
            lines,
            problem,
            from,
            detour,
            is_at_home,
            is_elsewhere,
            may_await,
            awaited_until,
            back,
        })
    }
}

fn lines_of(place: &SessionPlace) -> Vec<String> {
    let mut lines = vec![format!("{}:{}", place.host, place.port), place.line.clone()];
    lines.dedup();
    lines
}

/// Of one's own sessions alone: where others are is theirs to say.
async fn from_here(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(id): At<i64>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let Some(session) = own(&state, &signed_in, id) else { return Ok(nothing(frame)) };
    if let Some(source) = source.0 {
        match state.control.note_session_source(session.id, source, (state.clock)()).await {
            Ok(()) => {}
            Err(SessionError::Unknown(_)) => return Ok(nothing(frame)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(back(press.back.as_deref()))
}

/// The same, for a device without a browser, or one that comes by another kind of address.
async fn await_first_comer(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let Some(session) = own(&state, &signed_in, id) else { return Ok(nothing(frame)) };
    match state.control.await_first_comer(session.id, (state.clock)()) {
        Ok(_) => Ok(back(press.back.as_deref())),
        Err(SessionError::Unknown(_)) => Ok(nothing(frame)),
        Err(error) => Err(error.into()),
    }
}

fn own(state: &PortalState, signed_in: &SignedIn, id: i64) -> Option<Session> {
    let found = theirs(state, signed_in, SessionId(id), Action::NoteSource);
    found.filter(|session| session.account == signed_in.person.id)
}
