//! A request as its target gets it.

use super::Body;
use super::bodies::Sending;
use super::breaking::VisitorSide;
use super::credentials::take_out_cookies;
use super::expected::Expected;
use super::headers::{join_cookies, strip_hop_by_hop};
use super::pace::Paced;
use super::passage::Passage;
use super::websocket::ask_as_http1;
use super::{open_path, tokens};
use crate::admit::Admitted;
use doorward_core::access::Who;
use doorward_core::web::WebProtocol;
use http::header::{AUTHORIZATION, CONNECTION, EXPECT, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

/// Where the body of a request comes from, and who hears of its end.
pub(super) struct Upload {
    pub(super) visitor: VisitorSide,
    pub(super) over: CancellationToken,
    pub(super) expected: Expected,
}

pub(super) fn outgoing(
    request: Request<Incoming>,
    admitted: &Admitted,
    passage: &Passage,
    upgrading: bool,
    upload: Upload,
) -> Result<Request<Body>, &'static str> {
    let (mut parts, incoming) = request.into_parts();
    let mut upgrade_to = parts.headers.get(UPGRADE).cloned().filter(|_| upgrading);
    if upgrading && parts.method == Method::CONNECT {
        upgrade_to = Some(HeaderValue::from_static("websocket"));
        ask_as_http1(&mut parts);
    }
    strip_hop_by_hop(&mut parts.headers);
    join_cookies(&mut parts.headers);
    take_out_cookies(&mut parts.headers);
    passage.prepare(&mut parts.headers, admitted.permit.visitor().source());
    take_out_proofs(&mut parts.headers, admitted);
    if let Some(upgrade_to) = upgrade_to {
        parts.headers.insert(UPGRADE, upgrade_to);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    parts.uri = passage.target_of(&parts.uri)?;
    parts.extensions.clear();
    let Upload { visitor, over, expected } = upload;
    let traffic = admitted.presence.traffic();
    match passage.protocol {
        WebProtocol::Http1 => {
            parts.version = Version::HTTP_11;
            let body = Sending::new(Paced::new(incoming), expected.waiting(), visitor, traffic, &over);
            let mut request = Request::from_parts(parts, body.boxed_unsync());
            expected.listen(&mut request);
            Ok(request)
        }
        WebProtocol::H2c => as_http2(&mut parts, Scheme::HTTP)
            .map(|()| multiplexed(parts, Sending::new(Paced::unhurried(incoming), None, visitor, traffic, &over))),
        WebProtocol::H2 => as_http2(&mut parts, Scheme::HTTPS)
            .map(|()| multiplexed(parts, Sending::new(Paced::unhurried(incoming), None, visitor, traffic, &over))),
    }
}

/// What was for us.
fn take_out_proofs(headers: &mut HeaderMap, admitted: &Admitted) {
    tokens::take_out(headers);
    let is_by_path = open_path::is_by_path(admitted.permit.visitor());
    if is_by_path {
        open_path::take_out_other_paths(headers);
    }
    match &admitted.service.policy.who {
        Who::Password(_) if is_by_path => open_path::take_out_basic(headers),
        Who::Password(_) => drop(headers.remove(AUTHORIZATION)),
        Who::Nobody | Who::Public | Who::People(_) | Who::Senders => {}
    }
}

/// Inside HTTP/2 host and scheme are part of the target (RFC 9113, 8.3.1). The scheme is that of the connection to it.
fn as_http2(parts: &mut Parts, scheme: Scheme) -> Result<(), &'static str> {
    const WHY: &str = "its target cannot be passed on";
    let host = parts.headers.remove(HOST).ok_or(WHY)?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(scheme);
    uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| WHY)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| WHY)?;
    parts.version = Version::HTTP_2;
    // It has been heard already: the body is on its way.
    parts.headers.remove(EXPECT);
    if parts.headers.remove(UPGRADE).is_some() {
        // A WebSocket, as RFC 8441 (4 and 5) has it; no other upgrade comes here.
        parts.method = Method::CONNECT;
        parts.headers.remove(CONNECTION);
        parts.headers.remove(SEC_WEBSOCKET_KEY);
        parts.extensions.insert(h2::ext::Protocol::from_static("websocket"));
    }
    Ok(())
}

/// Calls may be open for hours, either side silent.
fn multiplexed(parts: Parts, body: Sending) -> Request<Body> {
    Request::from_parts(parts, body.boxed_unsync())
}
