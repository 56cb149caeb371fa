//! The portal as one more web target of the gateway, which knows nothing of it.

use super::Running;
use doorward_control::WebFace;
use doorward_gateway::{Portal, PortalBody};
use doorward_portal::PortalState;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use tower::ServiceExt;

pub(super) fn target(state: PortalState) -> Portal {
    let site = doorward_portal::site(state);
    Portal::new(move |request: http::Request<PortalBody>| {
        let site = site.clone();
        async move {
            let request = request.map(axum::body::Body::new);
            let Ok(response) = site.oneshot(request).await;
            response.map(|body| body.map_err(std::io::Error::other).boxed_unsync())
        }
    })
}

/// Where people sign in.
pub(super) fn url(running: &Running) -> Option<String> {
    let site = running.control.site();
    let host = site.portal.as_ref()?;
    let bound = running.gateway.bound();
    // A port that the system chose is known only now.
    let own = bound.https.first().or(bound.http.first()).map(SocketAddr::port);
    let port = if site.web.port == 0 { own? } else { site.web.port };
    Some(WebFace { port, ..site.web }.url(host, None))
}
