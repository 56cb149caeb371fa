//! A request's way: host → route → admission → stream → target, and the answer's way back.

use super::answer::Answer;
use super::arriving::Arriving;
use super::bodies::Visit;
use super::breaking::VisitorSide;
use super::carrying::CARRY_PATH;
use super::connection::VisitorConnection;
use super::credentials::check_cookies;
use super::door::{ENTER_PATH, START_PATH};
use super::expected::Expected;
use super::guarded::refused;
use super::headers::{X_FORWARDED_PROTO, source_behind};
use super::inspect::Look;
use super::looking::only_looks;
use super::malformed::{Broken, is_malformed};
use super::origin::is_foreign_deed;
use super::outgoing::{Upload, outgoing};
use super::passage::Passage;
use super::portal::Portal;
use super::rates::Rates;
use super::request::{check_shape, host_of};
use super::root::InUse;
use super::tokens::{DOORWARD_TOKEN, Guesses};
use super::turns::InTurn;
use super::{Body, empty, open_path, page, tunnelled, upgrade};
use crate::admit::{Admission, Admitted};
use crate::certificates::resolver::WebCertificates;
use crate::frames::Frames;
use crate::frames::asked::camera_at;
use crate::links::agent::Reception;
use crate::listen::strangers::source_of;
use crate::live::Way;
use crate::passwords::Passwords;
use arc_swap::ArcSwap;
use doorward_control::SiteSettings;
use doorward_core::access::{Denied, Networks, Visitor};
use doorward_core::hop::HopFailure;
use doorward_core::names::HostName;
use doorward_core::service::WebRoute;
use doorward_core::site::LINK_PATH;
use doorward_core::web::WebProtocol;
use doorward_tunnel::{Acceptor, Reset, Upgraded, answer_link_upgrade};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr};
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
    pub(crate) guesses: Guesses,
    pub(crate) proxies: ArcSwap<Networks>,
    /// Proxies that speak the PROXY protocol; they must.
    pub(crate) proxy_protocol_from: ArcSwap<Networks>,
    pub(crate) rates: Rates,
    pub(crate) certificates: Arc<WebCertificates>,
    pub(crate) own_authority: InUse,
    /// What answers on the portal's host; `None`: nobody signs in here.
    pub(crate) portal: Option<Portal>,
    pub(crate) hsts: ArcSwap<Option<HeaderValue>>,
    pub(crate) frames: Frames,
}

/// Our own corner of every host; never forwarded.
const OWN_PATHS: &str = "/.well-known/doorward/";
/// Slow printers and long polls take their time; nobody waits longer than this for the first byte of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3600);

impl Web {
    /// Takes one request from hyper, to the end of its answer.
    pub(crate) async fn take_turn(
        self: &Arc<Self>,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<InTurn>, Broken> {
        let turn = connection.begin_turn();
        if is_malformed(&request) {
            return Err(Broken::malformed());
        }
        let passing = connection.pass_turnstile().await;
        let response = match refused(&request) {
            Some(refusal) => page::refused(request.headers(), refusal),
            None => self.respond(connection, request).await?,
        };
        turn.answered(response.status() == StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.map(|body| InTurn::new(body, turn, passing)))
    }

    pub(super) async fn answer(
        self: &Arc<Self>,
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
        if !connection.speaks_for(&host) || self.admission.control.snapshot().passes_through(&host) {
            return Ok(page::misdirected(headers));
        }
        let source = source_behind(connection.peer.ip(), headers, &self.proxies.load());
        if !self.rates.by_source.admit(source_of(source), Instant::now()) {
            return Ok(page::too_often(headers, StatusCode::TOO_MANY_REQUESTS));
        }
        if path == ENTER_PATH {
            return Ok(self.enter(&request, &host));
        }
        if path == START_PATH {
            return Ok(self.start(&request, &host, source));
        }
        let snapshot = self.admission.control.snapshot();
        if let Some(named) =
            path.strip_prefix(CARRY_PATH).filter(|_| self.portal_at(&host, source, &snapshot).is_some())
        {
            let named = named.to_owned();
            return Ok(self.carry(&connection, request, &named, source).await);
        }
        if path.starts_with(OWN_PATHS) {
            return Ok(page::nothing_here(headers));
        }
        if let Some(portal) = self.portal_at(&host, source, &snapshot) {
            return match self.at_frames(&connection, request, source).await {
                Ok(shown) => shown,
                Err(request) => Ok(Self::ask_portal(portal, source, request).await),
            };
        }
        self.visit(connection, request, host, source).await
    }

    /// To the service that has this name and path, for whoever may. `asked`: the name as it was asked for.
    async fn visit(
        &self,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
        asked: HostName,
        source: IpAddr,
    ) -> Result<Response<Body>, Reset> {
        let headers = request.headers();
        let arriving = match Arriving::of(&request, asked, source) {
            Ok(arriving) => arriving,
            Err(why) => return Ok(page::malformed(headers, why.0)),
        };
        let stranger = || self.turn_away(&request, &arriving);
        let snapshot = self.admission.control.snapshot();
        let host = stands_for(arriving.host.clone(), snapshot.site());
        let found = snapshot.web(&host, request.uri().path());
        let Some((service, route)) = found.filter(|(service, _)| service.kind.has_web_address()) else {
            return Ok(stranger());
        };
        let visitor = match self.find_out_who(&service, &route, &request, &arriving, &connection).await {
            Ok(visitor) => visitor,
            Err(refusal) => return Ok(*refusal),
        };
        let is_signed_in = self.is_signed_in(&visitor);
        let came_by_a_link = visitor.shares().next().is_some();
        let is_known = is_signed_in || came_by_a_link || open_path::is_by_path(&visitor);
        if !is_known && let Some(to_portal) = self.to_sign_in(&service, &request, &arriving.host, source) {
            return Ok(to_portal);
        }
        let way = Way::Web { host, prefix: route.prefix.clone() };
        match self.admission.admit(service.clone(), &visitor, way) {
            Ok(admitted) if !self.rates.by_service.admit(admitted.service.id, Instant::now()) => {
                Ok(page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE))
            }
            Ok(admitted) if !self.rates.has_room(admitted.presence.crowd) => {
                Ok(page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE))
            }
            Ok(admitted) if admitted.permit.is_read_only() && !only_looks(&request, upgrade::is_upgrade(&request)) => {
                Ok(page::only_to_look_at(headers))
            }
            Ok(admitted) => match self.admission.preparing.arrive(&admitted.service) {
                None => match camera_at(&service, &route, request.uri().path()) {
                    Some(at) => self.show(&connection, &request, admitted, at).await,
                    None => self.forward(connection, request, admitted, &route).await,
                },
                Some(seen) => Ok(page::preparing(headers, request.method(), &seen, &admitted.service)),
            },
            Err(Denied::ShareOver) => Ok(Self::share_over(headers, service.id)),
            Err(Denied::PasswordNeeded) => Ok(page::password_needed(headers, &service)),
            Err(Denied::BudgetSpent { until }) => Ok(page::used_up(headers, until)),
            Err(Denied::Full) => Ok(page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE)),
            Err(Denied::SessionNeeded | Denied::SessionOver | Denied::ApprovalNeeded | Denied::InUse)
                if is_signed_in && arriving.shows_token() =>
            {
                Ok(page::session_needed_by_program(headers, &service, &self.portal_home(&request)))
            }
            Err(
                Denied::SessionNeeded
                | Denied::SessionOver
                | Denied::ApprovalNeeded
                | Denied::InUse
                | Denied::NeedsMore(_),
            ) if is_signed_in => {
                let to_portal = self.to_portal(&request, &arriving.host, source);
                Ok(to_portal.unwrap_or_else(|| page::session_needed(headers, &service)))
            }
            Err(
                Denied::NotOffered
                | Denied::DeviceRevoked
                | Denied::Nobody
                | Denied::SourceNetwork
                | Denied::OtherSource
                | Denied::NotOneOfThem
                | Denied::NotASender
                | Denied::LoginOver
                | Denied::AccountDisabled
                | Denied::AccountEnded
                | Denied::SessionNeeded
                | Denied::SessionOver
                | Denied::NeedsMore(_)
                | Denied::ApprovalNeeded
                | Denied::InUse
                | Denied::ReadOnly
                | Denied::Closed { .. },
            ) => Ok(if is_signed_in { page::nothing_here(headers) } else { stranger() }),
        }
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
        let upgraded = upgrading.then(|| hyper::upgrade::on(&mut request));
        let headers = request.headers().clone();
        let public = self.admission.control.inspections().is_any().then(|| request.uri().clone());
        let visitor = VisitorSide::of(request.version(), &connection.breaker);
        let upload_over = CancellationToken::new();
        let Some(passage) = self.passage(&connection, &request, &admitted, route) else {
            return Ok(page::malformed(&headers, "it names no host"));
        };
        // Whoever is known by our cookie is so on requests of sibling hosts' pages, too, which no target expects. A header of
        // ours no browser sends by itself.
        let is_known_by_itself =
            is_known_by_cookie(admitted.permit.visitor()) && !headers.contains_key(&DOORWARD_TOKEN);
        let is_ours_to_check = passage.blinds_target() || is_known_by_itself;
        if is_ours_to_check && is_foreign_deed(request.method(), upgrading, &headers, passage.public()) {
            return Ok(page::foreign(&headers));
        }
        let is_inside_http2 = upgrading && passage.protocol != WebProtocol::Http1;
        if is_inside_http2 && !upgrade::is_for_websocket(&request) {
            return Ok(page::no_upgrade(&headers, &admitted.service.title));
        }
        let expected = Expected::of(request.version(), &headers, passage.protocol);
        let upload = Upload { visitor: visitor.clone(), over: upload_over.clone(), expected: expected.clone() };
        let outgoing = match outgoing(request, &admitted, &passage, upgrading, upload) {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(page::malformed(&headers, why)),
        };
        let look = public.and_then(|uri| Look::begin(&self.admission.control, &admitted, &passage, &uri, &outgoing));
        let outgoing = match &look {
            Some(look) => look.listen(outgoing),
            None => outgoing,
        };
        let (uplink, outgoing) = if is_inside_http2 { tunnelled::with_uplink(outgoing) } else { (None, outgoing) };
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
        let (response, upstream) = match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) if visitor.is_broken() => return Err(Reset::VisitorGone),
            Ok(Err(failure)) => {
                look.into_iter().for_each(|look| look.failed(failure.hop.word()));
                return Ok(page::hop_failed(&headers, failure.hop, &admitted.service));
            }
            Err(_) => return Ok(page::hop_failed(&headers, HopFailure::TargetTimedOut, &admitted.service)),
        };
        expected.answered();
        let response = match look {
            Some(look) => look.answered(response),
            None => response,
        };
        let visit = Visit { admitted, visitor, upstream, upload_over, expected, connection };
        let answer = Answer { visit, passage, headers, is_http2, started };
        Ok(match upgraded {
            None => answer.whole(response),
            Some(upgraded) => answer.upgrading(response, upgraded, uplink),
        })
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

    pub(crate) fn is_https(&self, connection: &VisitorConnection, headers: &HeaderMap) -> bool {
        let vouched = self.proxies.load().contain(connection.peer.ip());
        let claimed = headers.get(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        connection.is_https() || (vouched && claimed == Some(b"https"))
    }
}

/// By one of ours, which browsers send along from other sites' pages, too.
fn is_known_by_cookie(visitor: &Visitor) -> bool {
    visitor.logins().next().is_some() || visitor.shares().next().is_some()
}

/// A bare address stands for the domain, so that services with a path there can be had without any name.
fn stands_for(host: HostName, site: &SiteSettings) -> HostName {
    match host.as_str().parse::<Ipv4Addr>() {
        Ok(_) => site.domain.clone().unwrap_or(host),
        Err(_) => host,
    }
}
