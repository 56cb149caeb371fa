//! A request's way: host → route → admission → stream → target, and the answer's way back.

use super::bodies::{Returning, Sending, Visit};
use super::breaking::VisitorSide;
use super::connection::{Upstream, VisitorConnection, empty};
use super::headers::{join_cookies, source_behind, strip_hop_by_hop};
use super::origin::is_foreign_deed;
use super::passage::Passage;
use super::request::{check_shape, has_one, host_of};
use super::{Body, page, upgrade};
use crate::admit::{Admission, Admitted};
use crate::certificates::resolver::WebCertificates;
use crate::links::agent::Reception;
use crate::live::Way;
use crate::passwords::{Checked, Passwords};
use arc_swap::ArcSwap;
use data_encoding::BASE64;
use doorward_core::Secret;
use doorward_core::access::{Denied, Networks, Visitor, Who};
use doorward_core::audit::Deed;
use doorward_core::service::{Entrance, Service, ServiceKind, WebRoute};
use doorward_core::site::LINK_PATH;
use doorward_tunnel::{Acceptor, OpenError, Reset, Upgraded, answer_link_upgrade};
use http::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// What every request needs.
pub(crate) struct Web {
    pub(crate) admission: Admission,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) reception: Reception,
    pub(crate) passwords: Passwords,
    pub(crate) proxies: ArcSwap<Networks>,
    pub(crate) certificates: Arc<WebCertificates>,
    pub(crate) hsts: Option<HeaderValue>,
}

/// Our own corner of every host; never forwarded.
const OWN_PATHS: &str = "/.well-known/doorward/";
/// Slow printers and long polls take their time; nobody waits longer than this for the first byte of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3600);

impl Web {
    pub(super) async fn answer(
        &self,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Reset> {
        connection.note_request();
        let headers = request.headers();
        let host = match check_shape(&request).and_then(|()| host_of(&request)) {
            Ok(host) => host,
            Err(why) => return Ok(page::malformed(headers, why.0)),
        };
        let path = request.uri().path();
        if path == LINK_PATH && upgrade::is_upgrade(&request) {
            return Ok(self.take_link(&connection, request));
        }
        if path.starts_with(OWN_PATHS) {
            return Ok(page::nothing_here(headers));
        }
        let found = self.admission.control.snapshot().web(&host, path);
        let Some((service, route)) = found.filter(|(service, _)| service.kind == ServiceKind::Http) else {
            return Ok(page::nothing_here(headers));
        };
        let source = source_behind(connection.peer.ip(), headers, &self.proxies.load());
        let visitor = match self.prove(&service, headers, Visitor::new(source, Entrance::Web)).await {
            Ok(visitor) => visitor,
            Err(refusal) => return Ok(*refusal),
        };
        let way = Way::Web { host, prefix: route.prefix.clone() };
        match self.admission.admit(service, &visitor, way) {
            Ok(admitted) => self.forward(connection, request, admitted, &route).await,
            Err(Denied::PasswordNeeded) => Ok(page::password_needed(headers)),
            Err(
                Denied::NotOffered
                | Denied::DeviceRevoked
                | Denied::Nobody
                | Denied::SourceNetwork
                | Denied::Closed { .. },
            ) => Ok(page::nothing_here(headers)),
        }
    }

    /// Checks the credentials that came along, where they are what is missing: a stranger from elsewhere must not
    /// learn that there is something to guess.
    async fn prove(
        &self,
        service: &Service,
        headers: &HeaderMap,
        mut visitor: Visitor,
    ) -> Result<Visitor, Box<Response<Body>>> {
        if !self.admission.wants_password(service, &visitor) {
            return Ok(visitor);
        }
        if !has_one(headers, AUTHORIZATION) {
            return Err(Box::new(page::malformed(headers, "it has two Authorization headers")));
        }
        let Some((user, password)) = headers.get(AUTHORIZATION).and_then(basic) else { return Ok(visitor) };
        match self.passwords.check(service, &user, password, visitor.source()).await {
            Checked::Right(proof) => visitor.proofs.push(proof),
            Checked::Wrong => {
                let (source, now) = (Some(visitor.source()), Timestamp::now());
                let control = &self.admission.control;
                control.refused(Deed::VisitRefused, source, Some(service.id), "wrong-password", now);
            }
            Checked::TooMany => return Err(Box::new(page::too_many(headers))),
        }
        Ok(visitor)
    }

    /// A link that comes inside a WebSocket.
    fn take_link(&self, connection: &Arc<VisitorConnection>, mut request: Request<Incoming>) -> Response<Body> {
        let Some(response) = answer_link_upgrade(&request) else {
            return page::malformed(request.headers(), "it is not a WebSocket");
        };
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (acceptor, reception, peer) = (self.acceptor.clone(), self.reception.clone(), connection.peer);
        connection.spawn(async move {
            let Ok(upgraded) = on_upgrade.await else { return };
            match acceptor.take_websocket(Upgraded(TokioIo::new(upgraded)), peer).await {
                Ok(Some(arrival)) => reception.receive(arrival).await,
                Ok(None) => {}
                Err(error) => debug!(%error, "a link by websocket came to nothing"),
            }
        });
        response.map(|()| empty())
    }

    async fn forward(
        &self,
        connection: Arc<VisitorConnection>,
        mut request: Request<Incoming>,
        admitted: Admitted,
        route: &WebRoute,
    ) -> Result<Response<Body>, Reset> {
        let upgrading = upgrade::is_upgrade(&request);
        let visitor_side = upgrading.then(|| hyper::upgrade::on(&mut request));
        let visitor_headers = request.headers().clone();
        let visitor = VisitorSide::of(request.version(), &connection.breaker);
        let upload_over = CancellationToken::new();
        let Some(passage) = self.passage(&connection, &request, &admitted, route) else {
            return Ok(page::malformed(&visitor_headers, "it names no host"));
        };
        if passage.blinds_target() && is_foreign_deed(request.method(), upgrading, &visitor_headers, passage.public()) {
            return Ok(page::foreign(&visitor_headers));
        }
        let outgoing = match outgoing(request, &admitted, &passage, upgrading, &upload_over) {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(page::malformed(&visitor_headers, why)),
        };
        let started = Instant::now();
        let exchange = timeout(ANSWER_LIMIT, self.exchange(&connection, &admitted, &passage, outgoing));
        let answered = tokio::select! {
            biased;
            () = admitted.presence.cut() => {
                visitor.break_off();
                return Err(Reset::Cut);
            }
            answered = exchange => answered,
        };
        let (mut response, upstream) = match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(failure)) => {
                return Ok(page::hop_failed(&visitor_headers, failure.hop, &admitted.service.title));
            }
            Err(_) => {
                let hop = doorward_core::hop::HopFailure::TargetTimedOut;
                return Ok(page::hop_failed(&visitor_headers, hop, &admitted.service.title));
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(visitor_side) = visitor_side else {
                let hop = doorward_core::hop::HopFailure::TargetUnreachable;
                return Ok(page::hop_failed(&visitor_headers, hop, &admitted.service.title));
            };
            let target_side = hyper::upgrade::on(&mut response);
            upstream.let_go();
            passage.repair(response.headers_mut());
            connection.spawn(upgrade::pass(visitor_side, target_side, connection.clone(), admitted));
            return Ok(response.map(|_| empty()));
        }
        let (mut parts, incoming) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        passage.repair(&mut parts.headers);
        parts.version = Version::default();
        let visit = Visit { admitted, visitor, upstream, upload_over, connection };
        let returning = Returning::new(incoming, visit, parts.status, started);
        Ok(Response::from_parts(parts, returning.boxed_unsync()))
    }

    /// How the request passes; `None` if it names no host.
    fn passage(
        &self,
        connection: &VisitorConnection,
        request: &Request<Incoming>,
        admitted: &Admitted,
        route: &WebRoute,
    ) -> Option<Passage> {
        let from_header = request.headers().get(HOST).cloned();
        let from_target = || request.uri().authority().and_then(|a| HeaderValue::try_from(a.as_str()).ok());
        let host = from_header.or_else(from_target)?;
        let is_https = self.is_https(connection, request.headers());
        Some(Passage::find(&admitted.service.web, route, host, is_https, request.uri().path()))
    }

    fn is_https(&self, connection: &VisitorConnection, headers: &HeaderMap) -> bool {
        let vouched = self.proxies.load().contain(connection.peer.ip());
        let claimed = headers.get(&super::headers::X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        connection.is_https || (vouched && claimed == Some(b"https"))
    }

    /// Sends the request over a kept connection or a fresh stream. A kept one may have been closed by the target
    /// meanwhile: then the request, not sent yet, goes over a fresh one.
    async fn exchange(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        passage: &Passage,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Upstream), OpenError> {
        let until = admitted.permit.until();
        let place = (admitted.service.id, passage.mount.clone());
        while let Some(mut upstream) = connection.take(&place, until) {
            match upstream.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, upstream)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(failed.error())),
                },
            }
        }
        let stream = self.admission.open(admitted, passage.mount.clone()).await?;
        let spoken = connection.speak(stream, place, until).await;
        let mut upstream = spoken.map_err(|error| broken(&error))?;
        match upstream.sender.send_request(request).await {
            Ok(response) => Ok((response, upstream)),
            Err(error) => Err(broken(&error)),
        }
    }
}

fn broken(error: &hyper::Error) -> OpenError {
    let mut failure = OpenError::new(doorward_core::hop::HopFailure::TargetUnreachable);
    failure.detail = format!("it closed the connection without an answer: {error}");
    debug!(%error, "a target broke off");
    failure
}

/// The request as the target gets it.
fn outgoing(
    request: Request<Incoming>,
    admitted: &Admitted,
    passage: &Passage,
    upgrading: bool,
    upload_over: &CancellationToken,
) -> Result<Request<Body>, &'static str> {
    let (mut parts, incoming) = request.into_parts();
    let upgrade_to = parts.headers.get(UPGRADE).cloned().filter(|_| upgrading);
    strip_hop_by_hop(&mut parts.headers);
    join_cookies(&mut parts.headers);
    passage.prepare(&mut parts.headers, admitted.permit.visitor().source());
    if matches!(admitted.service.policy.who, Who::Password(_)) {
        // It was for us.
        parts.headers.remove(AUTHORIZATION);
    }
    if let Some(upgrade_to) = upgrade_to {
        parts.headers.insert(UPGRADE, upgrade_to);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    parts.uri = passage.target_of(&parts.uri)?;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(Request::from_parts(parts, Sending::new(incoming, upload_over).boxed_unsync()))
}

/// User and password of an HTTP Basic header (RFC 7617, UTF-8).
fn basic(value: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::new(password.to_owned())))
}
