//! A request as its target gets it.

use super::Body;
use super::bodies::Sending;
use super::breaking::VisitorSide;
use super::credentials::take_out_cookies;
use super::headers::{join_cookies, strip_hop_by_hop};
use super::passage::Passage;
use super::websocket::ask_as_http1;
use crate::admit::Admitted;
use doorward_core::access::Who;
use http::header::{AUTHORIZATION, CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

/// Where the body of a request comes from, and who hears of its end.
pub(super) struct Upload {
    pub(super) visitor: VisitorSide,
    pub(super) over: CancellationToken,
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
    Ok(Request::from_parts(parts, Sending::new(incoming, upload.visitor, &upload.over).boxed_unsync()))
}
