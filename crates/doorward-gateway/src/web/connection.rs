//! One visitor's HTTP connection, and the tunnel streams that it keeps for its next requests. They are never shared
//! with another visitor: what one opened, no other can reach or confuse.

use super::Body;
use crate::listen::socket::Breaker;
use crate::tasks::Tasks;
use bytes::Bytes;
use doorward_core::ServiceId;
use doorward_tunnel::Stream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tracing::debug;

pub(crate) struct VisitorConnection {
    pub(crate) peer: SocketAddr,
    pub(crate) is_https: bool,
    pub(crate) breaker: Breaker,
    tasks: Tasks,
    idle: Mutex<Vec<Upstream>>,
}

/// An HTTP/1.1 connection to a target, over one stream.
pub(crate) struct Upstream {
    pub(crate) service: ServiceId,
    /// The stream ends at the deadline of the permit that opened it.
    pub(crate) until: Option<Timestamp>,
    pub(crate) sender: http1::SendRequest<Body>,
}

const MAX_IDLE: usize = 8;
const BUFFER: usize = 64 * 1024;

impl VisitorConnection {
    pub(crate) fn new(peer: SocketAddr, is_https: bool, breaker: Breaker, tasks: Tasks) -> Self {
        Self { peer, is_https, breaker, tasks, idle: Mutex::default() }
    }

    /// A kept connection to the service, for a request whose permit ends no later than its stream.
    pub(crate) fn take(&self, service: ServiceId, until: Option<Timestamp>) -> Option<Upstream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|upstream| !upstream.sender.is_closed());
        let fits = |u: &Upstream| u.service == service && u.until == until && u.sender.is_ready();
        let at = idle.iter().rposition(fits)?;
        Some(idle.swap_remove(at))
    }

    pub(crate) fn keep(&self, upstream: Upstream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !upstream.sender.is_closed() {
            idle.push(upstream);
            if idle.len() > MAX_IDLE {
                idle.remove(0);
            }
        }
    }

    /// Speaks HTTP over a fresh stream.
    pub(crate) async fn speak(
        &self,
        stream: Stream,
        service: ServiceId,
        until: Option<Timestamp>,
    ) -> Result<Upstream, hyper::Error> {
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER).preserve_header_case(true);
        let (sender, connection) = http.handshake::<_, Body>(TokioIo::new(stream)).await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "a connection to a target ended early");
            }
        });
        Ok(Upstream { service, until, sender })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// An incoming body as a body of ours.
pub(crate) fn boxed(incoming: hyper::body::Incoming) -> Body {
    use http_body_util::BodyExt;
    incoming.map_err(std::io::Error::other).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    super::page::body(Bytes::new())
}
