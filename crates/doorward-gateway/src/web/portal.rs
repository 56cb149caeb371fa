//! The portal's own host: one more web target, within this process. Whoever composes the program hands it over; the gateway
//! knows nothing of it but how to ask.

use super::Body;
use super::forward::Web;
use bytes::Bytes;
use doorward_control::Snapshot;
use doorward_core::access::Visitor;
use doorward_core::names::HostName;
use doorward_core::service::Entrance;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use jiff::Timestamp;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;

/// Streamed, either way.
pub type PortalBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Answers a request for the portal. It carries a [`Visitor`] as an extension: from where it comes, and nothing proved.
#[derive(Clone)]
pub struct Portal(Arc<Answering>);

type Answering =
    dyn Fn(Request<PortalBody>) -> Pin<Box<dyn Future<Output = Response<PortalBody>> + Send>> + Send + Sync;

impl Portal {
    pub fn new<F>(answer: impl Fn(Request<PortalBody>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<PortalBody>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(answer(request))))
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Portal")
    }
}

impl Web {
    /// The portal, if it is what answers under this name to whoever comes from there.
    pub(super) fn portal_at(&self, host: &HostName, source: IpAddr, snapshot: &Snapshot) -> Option<&Portal> {
        let portal = self.portal.as_ref().filter(|_| self.shows_portal(source))?;
        let own = snapshot.site().portal.as_ref()?;
        (own == host || is_bare_home(host, snapshot)).then_some(portal)
    }

    /// Where it is hidden, nobody else is told that it is there.
    pub(super) fn shows_portal(&self, source: IpAddr) -> bool {
        self.admission.control.shows_portal(source, Timestamp::now())
    }

    /// Whether even the certificate of this name would tell too much. For whom a proxy speaks is known later only.
    pub(crate) fn veils(&self, host: &HostName, peer: IpAddr) -> bool {
        let is_portal = self.admission.control.site().portal.as_ref() == Some(host);
        is_portal && !self.proxies.load().contain(peer) && !self.shows_portal(peer)
    }

    pub(super) async fn ask_portal(portal: &Portal, source: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(|body| body.map_err(std::io::Error::other).boxed_unsync());
        request.extensions_mut().insert(Visitor::new(source, Entrance::Web));
        (portal.0)(request).await
    }
}

/// Without a domain there is no name to reach the portal by from elsewhere: the bare address leads to it, unless a service
/// has a path there. Portal and services never share an origin.
fn is_bare_home(host: &HostName, snapshot: &Snapshot) -> bool {
    let Some(domain) = snapshot.site().domain.as_ref().filter(|domain| domain.as_str() == "localhost") else {
        return false;
    };
    host.as_str().parse::<Ipv4Addr>().is_ok() && !snapshot.serves_host(domain)
}
