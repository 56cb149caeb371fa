//! On the way to a service: whoever is signed in or used a share link, and may come in, gets a code for it; whoever may open a session is asked
//! to; everybody else is told that there is nothing for them, whatever the reason.

use super::frame::{Frame, page, page_with};
use super::opening::{self, Lapse, OpeningPage};
use super::share;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, Problem};
use crate::caller::{SignedIn, Source};
use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use doorward_control::{Bearer, Challenge, Handover};
use doorward_core::access::{Denied, Need, Proof, Visitor, preview_visit};
use doorward_core::names::HostName;
use doorward_core::service::{Entrance, Service};
use doorward_core::share::ShareUse;
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
        service.kind.has_web_address().then_some(Found { host, challenge, to, service })
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
    Acting(state): Acting,
    frame: Frame,
    signed_in: Result<SignedIn, Response>,
    source: Source,
    headers: HeaderMap,
    Asked(way): Asked<Way>,
) -> Result<Response, Problem> {
    let found = way.find(&state);
    let shared = found.as_ref().map(|found| share::used_for(&state, &headers, &found.service)).unwrap_or_default();
    let signed_in = match signed_in {
        Ok(signed_in) => Some(signed_in),
        Err(_) if !shared.is_empty() => None,
        Err(sign_in_first) => return Ok(sign_in_first),
    };
    let Some(found) = found else { return Ok(nothing(frame)) };
    let by_themselves = signed_in.as_ref().map(|signed_in| would_be(&state, signed_in, source, &found.service));
    // A link lets in whoever cannot come in otherwise; it may be for looking alone.
    if !matches!(by_themselves, Some(Ok(()))) {
        let counts = |used: &ShareUse| would_be_by(&state, *used, source, &found.service).is_ok();
        if let Some(used) = shared.into_iter().find(counts) {
            return Ok(back(&state, Bearer::Share(used), &headers, found));
        }
    }
    let (Some(signed_in), Some(by_themselves)) = (signed_in, by_themselves) else { return Ok(nothing(frame)) };
    match by_themselves {
        Ok(()) => Ok(back(&state, Bearer::Login(signed_in.login.id), &headers, found)),
        Err(Denied::SessionNeeded | Denied::SessionOver | Denied::ApprovalNeeded | Denied::InUse) => {
            let lapse = Lapse::of(&state, &signed_in, &found.service).await?;
            Ok(page(&OpeningPage::new(frame, &found.service, way, lapse)))
        }
        Err(Denied::NeedsMore(need)) => Err(needs_more(need)),
        Err(
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::ShareOver
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::BudgetSpent { .. }
            | Denied::ReadOnly
            | Denied::Full,
        ) => Ok(nothing(frame)),
    }
}

fn needs_more(need: Need) -> Problem {
    let remedy = match need {
        Need::Totp => "sign out, and sign in with a code of your app or with a passkey",
        Need::Passkey => "sign out, and sign in with a passkey",
    };
    Problem::new(StatusCode::FORBIDDEN, Denied::NeedsMore(need).to_string(), remedy)
}

/// Whether this person would be let in now, from here.
fn would_be(state: &PortalState, signed_in: &SignedIn, source: Source, service: &Service) -> Result<(), Denied> {
    let snapshot = state.control.snapshot();
    let session = snapshot.session_for(signed_in.person.id, service.id);
    let mut proofs = vec![Proof::Login(signed_in.login.id)];
    proofs.extend(session.map(|session| Proof::Session(session.id)));
    would_be_with(state, proofs, source, service)
}

/// The same of whoever used a share link.
fn would_be_by(state: &PortalState, used: ShareUse, source: Source, service: &Service) -> Result<(), Denied> {
    would_be_with(state, vec![Proof::Share(used)], source, service)
}

fn would_be_with(state: &PortalState, proofs: Vec<Proof>, source: Source, service: &Service) -> Result<(), Denied> {
    let mut visitor = Visitor::new(source.0.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), Entrance::Web);
    visitor.proofs = proofs;
    preview_visit(service, &visitor, &*state.control.snapshot(), (state.clock)()).map(|_| ())
}

fn back(state: &PortalState, bearer: Bearer, headers: &HeaderMap, found: Found) -> Response {
    let Found { host, challenge, to, service } = found;
    let handover = Handover { bearer, service: service.id, host: host.clone(), challenge };
    let code = state.control.hand_over(handover, (state.clock)());
    let scheme = if state.control.site().web.is_https { "https" } else { "http" };
    let query = [("code", code.expose().as_str()), ("to", to.as_str())];
    let query = serde_urlencoded::to_string(query).expect("text is always encodable");
    let url = format!("{scheme}://{host}{}/.well-known/doorward/enter?{query}", port_of(headers));
    Redirect::to(&url).into_response()
}

/// Services are at the same port as the portal.
pub(super) fn port_of(headers: &HeaderMap) -> String {
    let own: Option<Authority> = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    own.and_then(|own| own.port_u16()).map(|port| format!(":{port}")).unwrap_or_default()
}

pub(super) fn nothing(frame: Frame) -> Response {
    page_with(StatusCode::NOT_FOUND, &NothingPage { frame })
}

/// For the page that asks for a session.
pub(super) async fn open(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    sent: crate::forms::Sent<opening::Opening>,
) -> Result<Response, Problem> {
    opening::open(state, frame, signed_in, source, sent.0).await
}
