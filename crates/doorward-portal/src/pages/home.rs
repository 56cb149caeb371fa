//! The dashboard: what a person may use, and what stands open for them.

use super::frame::{Frame, onward, page};
use super::opening::{self, Length};
use crate::PortalState;
use crate::answer::{At, Problem};
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use doorward_control::{LinkState, Reach, ServiceRecord, SessionError, SessionRequest};
use doorward_core::access::{Denied, Facts, How, Proof, preview};
use doorward_core::service::ServiceKind;
use doorward_core::session::Session;
use doorward_core::web::LocalPath;
use doorward_core::{ServiceId, SessionId};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    tiles: Vec<Tile>,
}

/// One service.
struct Tile {
    id: ServiceId,
    title: String,
    /// As `device/service`.
    path: String,
    is_online: bool,
    standing: TileStanding,
    /// Where browsers go.
    links: Vec<String>,
    /// What other programs want to know.
    places: Vec<String>,
}

enum TileStanding {
    /// It may be used as it is; until then, if there is an end.
    Free(Option<Timestamp>),
    /// A session must be opened, for so many minutes.
    Shut(Vec<i64>),
    /// By a session that ends then.
    Open { session: SessionId, until: Timestamp },
    /// Outside its hours.
    Closed(Option<Timestamp>),
}

#[derive(Deserialize)]
pub(super) struct Press {
    #[serde(flatten)]
    length: Length,
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn show(State(state): State<PortalState>, frame: Frame, signed_in: SignedIn) -> Response {
    let snapshot = state.control.snapshot();
    let theirs = snapshot.services_naming(&signed_in.person);
    let mut tiles: Vec<_> = theirs.filter_map(|record| tile(&state, &signed_in, &record)).collect();
    tiles.sort_by(|one, other| one.path.cmp(&other.path));
    page(&Home { frame, tiles })
}

/// `None`: it is not for them.
fn tile(state: &PortalState, signed_in: &SignedIn, record: &Arc<ServiceRecord>) -> Option<Tile> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let service = &record.service;
    let session = snapshot.session_for(signed_in.person.id, service.id).filter(|session| now < session.until);
    let mut proofs = vec![Proof::Login(signed_in.login.id)];
    proofs.extend(session.map(|session| Proof::Session(session.id)));
    let standing = match (preview(service, &proofs, &*snapshot, now), session, service.policy.how) {
        (Ok(until), Some(session), How::OnRequest { .. }) => {
            let until = until.unwrap_or(session.until).min(session.until);
            TileStanding::Open { session: session.id, until }
        }
        (Ok(until), _, _) => TileStanding::Free(until.filter(|until| *until != signed_in.login.until)),
        (Err(Denied::SessionNeeded | Denied::SessionOver), _, _) => TileStanding::Shut(opening::choices(service)),
        (Err(Denied::Closed { opens }), _, _) => TileStanding::Closed(opens),
        (
            Err(
                Denied::NotOffered
                | Denied::DeviceRevoked
                | Denied::Nobody
                | Denied::SourceNetwork
                | Denied::PasswordNeeded
                | Denied::NotOneOfThem
                | Denied::NotASender
                | Denied::LoginOver
                | Denied::AccountDisabled
                | Denied::AccountEnded,
            ),
            _,
            _,
        ) => return None,
    };
    let (mut links, mut places) = (Vec::new(), Vec::new());
    for reach in state.control.reach(record) {
        match reach {
            Reach::Web { .. } | Reach::Tls { .. } => links.push(reach.to_string()),
            Reach::Port { .. } => places.push(reach.to_string()),
        }
    }
    let by_ssh = record.virtual_port.zip(snapshot.site().ssh_port).filter(|_| service.kind == ServiceKind::Tcp);
    places.extend(by_ssh.map(|(port, ssh)| {
        let gateway = snapshot.site().port_host();
        format!("ssh -p {ssh} -W {}:{port} {gateway}", service.device_name)
    }));
    Some(Tile {
        id: service.id,
        title: service.title.clone(),
        path: service.path(),
        is_online: matches!(state.control.presence().device(service.device).link, LinkState::Online { .. }),
        standing,
        links,
        places,
    })
}

/// Opens a session, or makes the one that is open longer.
pub(super) async fn open(
    State(state): State<PortalState>,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(service): At<i64>,
    Sent(press): Sent<Press>,
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let request = SessionRequest {
        account: signed_in.person.id,
        service: ServiceId(service),
        length: press.length.read(now)?,
        source: source.0,
        id: None,
    };
    match state.control.open_session(request, now).await {
        Ok(_) => Ok(onward(frame, LocalPath::root())),
        // What there is, and what is not for them, looks the same.
        Err(SessionError::Refused(_) | SessionError::Unknown(_)) => Ok(super::door::nothing(frame)),
        Err(error) => Err(error.into()),
    }
}

/// One's own.
pub(super) async fn end(
    State(state): State<PortalState>,
    signed_in: SignedIn,
    At(session): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let id = SessionId(session);
    let snapshot = state.control.snapshot();
    let is_theirs = |session: &&Session| session.account == signed_in.person.id;
    if snapshot.session(id).filter(is_theirs).is_some() {
        state.control.end_session(id, None, (state.clock)()).await?;
    }
    Ok(Redirect::to("/").into_response())
}
