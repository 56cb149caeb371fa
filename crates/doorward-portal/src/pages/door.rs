//! On the way to a service: whoever is signed in, and may come in, gets a code for it; whoever may open a session is asked
//! to; everybody else is told that there is nothing for them, whatever the reason.

use super::frame::{Frame, page, page_with};
use super::opening::{self, Lapse, OpeningPage};
use crate::PortalState;
use crate::answer::{Asked, Problem};
use crate::caller::{SignedIn, Source};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use doorward_control::{Challenge, Handover};
use doorward_core::access::{Denied, Proof, Visitor, preview_visit};
use doorward_core::names::HostName;
use doorward_core::service::{Entrance, Service, ServiceKind};
use doorward_core::web::LocalPath;
use http::StatusCode;
use http::header::{HOST, HeaderMap};
use http::uri::Authority;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// As a service's host asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Way {
    host: String,
    challenge: String,
    to: String,
}

/// A way that makes sense, to a service that there is.
struct Found {
    host: HostName,
    challenge: Challenge,
    to: LocalPath,
    service: Arc<Service>,
}

#[derive(Template)]
#[template(path = "nothing.html")]
struct NothingPage {
    frame: Frame,
}

impl Way {
    fn find(&self, state: &PortalState) -> Option<Found> {
        let host = HostName::parse(&self.host).ok()?;
        let challenge = Challenge::parse(&self.challenge)?;
        let to = LocalPath::parse(&self.to).ok()?;
        let (service, _) = state.control.snapshot().web(&host, to.path())?;
        (service.kind == ServiceKind::Http).then_some(Found { host, challenge, to, service })
    }

    /// Back to this page, once what was missing is there.
    pub(super) fn here(&self) -> LocalPath {
        let query = serde_urlencoded::to_string(self).expect("text is always encodable");
        LocalPath::parse(&format!("/door?{query}")).unwrap_or_else(|_| LocalPath::root())
    }

    /// What a session would be opened for, if this person may.
    pub(super) fn service(&self, state: &PortalState) -> Option<Arc<Service>> {
        self.find(state).map(|found| found.service)
    }
}

pub(super) async fn show(
    State(state): State<PortalState>,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    headers: HeaderMap,
    Asked(way): Asked<Way>,
) -> Result<Response, Problem> {
    let Some(found) = way.find(&state) else { return Ok(nothing(frame)) };
    match would_be(&state, &signed_in, source, &found.service) {
        Ok(()) => Ok(back(&state, &signed_in, &headers, found)),
        Err(Denied::SessionNeeded | Denied::SessionOver) => {
            let lapse = Lapse::of(&state, &signed_in, &found.service).await?;
            Ok(page(&OpeningPage::new(frame, &found.service, way, lapse)))
        }
        Err(
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::AccountDisabled
            | Denied::AccountEnded,
        ) => Ok(nothing(frame)),
    }
}

/// Whether this person would be let in now, from here.
fn would_be(state: &PortalState, signed_in: &SignedIn, source: Source, service: &Service) -> Result<(), Denied> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let mut visitor = Visitor::new(source.0.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), Entrance::Web);
    visitor.proofs.push(Proof::Login(signed_in.login.id));
    let session = snapshot.session_for(signed_in.person.id, service.id);
    visitor.proofs.extend(session.map(|session| Proof::Session(session.id)));
    preview_visit(service, &visitor, &*snapshot, now).map(|_| ())
}

fn back(state: &PortalState, signed_in: &SignedIn, headers: &HeaderMap, found: Found) -> Response {
    let Found { host, challenge, to, service } = found;
    let handover = Handover { login: signed_in.login.id, service: service.id, host: host.clone(), challenge };
    let code = state.control.hand_over(handover, (state.clock)());
    let scheme = if state.control.site().web.is_https { "https" } else { "http" };
    let query = [("code", code.expose().as_str()), ("to", to.as_str())];
    let query = serde_urlencoded::to_string(query).expect("text is always encodable");
    let url = format!("{scheme}://{host}{}/.well-known/doorward/enter?{query}", port_of(headers));
    Redirect::to(&url).into_response()
}

/// Services are at the same port as the portal.
fn port_of(headers: &HeaderMap) -> String {
    let own: Option<Authority> = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    own.and_then(|own| own.port_u16()).map(|port| format!(":{port}")).unwrap_or_default()
}

pub(super) fn nothing(frame: Frame) -> Response {
    page_with(StatusCode::NOT_FOUND, &NothingPage { frame })
}

/// For the page that asks for a session.
pub(super) async fn open(
    State(state): State<PortalState>,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    sent: crate::forms::Sent<opening::Opening>,
) -> Result<Response, Problem> {
    opening::open(state, frame, signed_in, source, sent.0).await
}
