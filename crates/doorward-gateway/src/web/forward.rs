//! A request's way: host → route → admission → stream → target, and the answer's way back.

use super::bodies::{Returning, Sending, Visit};
use super::breaking::VisitorSide;
use super::connection::{Upstream, VisitorConnection, empty};
use super::credentials::{check_cookies, take_out_cookies, take_out_set_cookies};
use super::guarded::refused;
use super::headers::{Told, join_cookies, source_behind, strip_hop_by_hop, tell};
use super::malformed::{Broken, is_malformed};
use super::rates::Rates;
use super::request::{check_shape, has_one, host_of};
use super::turns::InTurn;
use super::websocket::{answer_as_http2, ask_as_http1};
use super::{Body, page, upgrade};
use crate::admit::{Admission, Admitted};
use crate::links::agent::Reception;
use crate::listen::strangers::source_of;
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
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
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
    /// Proxies that speak the PROXY protocol; they must.
    pub(crate) proxy_protocol_from: ArcSwap<Networks>,
    pub(crate) rates: Rates,
}

/// Our own corner of every host; never forwarded.
const OWN_PATHS: &str = "/.well-known/doorward/";
/// Slow printers and long polls take their time; nobody waits longer than this for the first byte of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3600);

impl Web {
    /// Takes one request from hyper, to the end of its answer.
    pub(crate) async fn take_turn(
        &self,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<InTurn>, Broken> {
        let turn = connection.begin_turn();
        if is_malformed(&request) {
            return Err(Broken::malformed());
        }
        let response = match refused(&request) {
            Some(refusal) => page::refused(request.headers(), refusal),
            None => self.answer(connection, request).await?,
        };
        turn.answered(response.status() == StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.map(|body| InTurn::new(body, turn)))
    }

    /// Answers one request. An error tells hyper to break the exchange (HTTP/2: that stream alone).
    async fn answer(
        &self,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Reset> {
        let headers = request.headers();
        let host = match check_shape(&request).and_then(|()| check_cookies(headers)).and_then(|()| host_of(&request)) {
            Ok(host) => host,
            Err(why) => return Ok(page::malformed(headers, why.0)),
        };
        let path = request.uri().path();
        if path == LINK_PATH && upgrade::is_upgrade(&request) {
            return Ok(self.take_link(&connection, request));
        }
        // Agents know the gateway by its key, and ask for whatever name it is reached by.
        if !connection.speaks_for(&host) {
            return Ok(page::misdirected(headers));
        }
        let source = source_behind(connection.peer.ip(), headers, &self.proxies.load());
        if !self.rates.by_source.admit(source_of(source), Instant::now()) {
            return Ok(page::too_often(headers, StatusCode::TOO_MANY_REQUESTS));
        }
        if path.starts_with(OWN_PATHS) {
            return Ok(page::nothing_here(headers));
        }
        let found = self.admission.control.snapshot().web(&host, path);
        let Some((service, route)) = found.filter(|(service, _)| service.kind == ServiceKind::Http) else {
            return Ok(page::nothing_here(headers));
        };
        let visitor = match self.prove(&service, headers, Visitor::new(source, Entrance::Web)).await {
            Ok(visitor) => visitor,
            Err(refusal) => return Ok(*refusal),
        };
        let way = Way::Web { host, prefix: route.prefix.clone() };
        match self.admission.admit(service, &visitor, way) {
            Ok(admitted) if !self.rates.by_service.admit(admitted.service.id, Instant::now()) => {
                Ok(page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE))
            }
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
        let is_http2 = request.version() == Version::HTTP_2;
        let visitor_side = upgrading.then(|| hyper::upgrade::on(&mut request));
        let visitor_headers = request.headers().clone();
        let visitor = VisitorSide::of(request.version(), &connection.breaker);
        let upload_over = CancellationToken::new();
        let upload = Upload { visitor: visitor.clone(), over: upload_over.clone() };
        let outgoing = match self.outgoing(&connection, request, &admitted, route, upgrading, upload) {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(page::malformed(&visitor_headers, why)),
        };
        let started = Instant::now();
        let exchange = timeout(ANSWER_LIMIT, self.exchange(&connection, &admitted, outgoing));
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
            Ok(Err(_)) if visitor.is_broken() => return Err(Reset::VisitorGone),
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
            connection.spawn(upgrade::pass(visitor_side, target_side, visitor, connection.clone(), admitted));
            take_out_set_cookies(response.headers_mut());
            if is_http2 {
                answer_as_http2(&mut response);
            }
            return Ok(response.map(|_| empty()));
        }
        if upgrading && is_http2 && response.status().is_success() {
            // Inside HTTP/2 this would open what the target has not opened.
            let hop = doorward_core::hop::HopFailure::TargetUnreachable;
            return Ok(page::hop_failed(&visitor_headers, hop, &admitted.service.title));
        }
        let (mut parts, incoming) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        take_out_set_cookies(&mut parts.headers);
        parts.version = Version::default();
        let visit = Visit { admitted, visitor, upstream, upload_over, connection };
        let returning = Returning::new(incoming, visit, parts.status, started);
        Ok(Response::from_parts(parts, returning.boxed_unsync()))
    }

    /// The request as the target gets it.
    fn outgoing(
        &self,
        connection: &VisitorConnection,
        request: Request<Incoming>,
        admitted: &Admitted,
        route: &WebRoute,
        upgrading: bool,
        upload: Upload,
    ) -> Result<Request<Body>, &'static str> {
        let (mut parts, incoming) = request.into_parts();
        let mut upgrade_to = parts.headers.get(UPGRADE).cloned().filter(|_| upgrading);
        if upgrading && parts.method == Method::CONNECT {
            upgrade_to = Some(HeaderValue::from_static("websocket"));
            ask_as_http1(&mut parts);
        }
        let from_header = parts.headers.get(HOST).cloned();
        let from_target = || parts.uri.authority().and_then(|a| HeaderValue::try_from(a.as_str()).ok());
        let host = from_header.or_else(from_target).ok_or("it names no host")?;
        let is_https = self.is_https(connection, &parts.headers);
        strip_hop_by_hop(&mut parts.headers);
        join_cookies(&mut parts.headers);
        take_out_cookies(&mut parts.headers);
        let stripped = route.prefix.as_ref().filter(|_| route.strip);
        let told = Told {
            source: admitted.permit.visitor().source(),
            is_https,
            host: &host,
            port: port_of(&host, is_https),
            stripped,
        };
        tell(&mut parts.headers, &told);
        if matches!(admitted.service.policy.who, Who::Password(_)) {
            // It was for us.
            parts.headers.remove(AUTHORIZATION);
        }
        parts.headers.insert(HOST, host);
        if let Some(upgrade_to) = upgrade_to {
            parts.headers.insert(UPGRADE, upgrade_to);
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        parts.uri = target_of(&parts.uri, route)?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(Request::from_parts(parts, Sending::new(incoming, upload.visitor, &upload.over).boxed_unsync()))
    }

    fn is_https(&self, connection: &VisitorConnection, headers: &HeaderMap) -> bool {
        let vouched = self.proxies.load().contain(connection.peer.ip());
        let claimed = headers.get(&super::headers::X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        connection.is_https() || (vouched && claimed == Some(b"https"))
    }

    /// Sends the request over a kept connection or a fresh stream. A kept one may have been closed by the target
    /// meanwhile: then the request, not sent yet, goes over a fresh one.
    async fn exchange(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Upstream), OpenError> {
        let until = admitted.permit.until();
        while let Some(mut upstream) = connection.take(admitted.service.id, until) {
            match upstream.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, upstream)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(failed.error())),
                },
            }
        }
        let stream = self.admission.open(admitted).await?;
        let spoken = connection.speak(stream, admitted.service.id, until).await;
        let mut upstream = spoken.map_err(|error| broken(&error))?;
        match upstream.sender.send_request(request).await {
            Ok(response) => Ok((response, upstream)),
            Err(error) => Err(broken(&error)),
        }
    }
}

/// Where the body of a request comes from, and who hears of its end.
struct Upload {
    visitor: VisitorSide,
    over: CancellationToken,
}

fn broken(error: &hyper::Error) -> OpenError {
    let mut failure = OpenError::new(doorward_core::hop::HopFailure::TargetUnreachable);
    failure.detail = format!("it closed the connection without an answer: {error}");
    debug!(%error, "a target broke off");
    failure
}

fn port_of(host: &HeaderValue, is_https: bool) -> u16 {
    let named = host.to_str().ok().and_then(|host| host.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
    named.unwrap_or(if is_https { 443 } else { 80 })
}

/// The path and query for the target, in origin form.
fn target_of(uri: &Uri, route: &WebRoute) -> Result<Uri, &'static str> {
    let path = uri.path();
    let rest = match &route.prefix {
        Some(prefix) if route.strip => prefix.remainder(path).map(|rest| format!("/{rest}")),
        Some(_) | None => None,
    };
    let path = rest.as_deref().unwrap_or(path);
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    target.parse::<PathAndQuery>().map(Uri::from).map_err(|_| "its path cannot be passed on")
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
