//! Bodies on their way through: a visit lasts until both the upload and the answer have ended.

use super::breaking::VisitorSide;
use super::connection::VisitorConnection;
use super::expected::{Expected, Waiting};
use super::pace::Paced;
use super::upstreams::Upstream;
use crate::access_log;
use crate::admit::Admitted;
use bytes::Bytes;
use doorward_core::service::Service;
use doorward_tunnel::splice::Traffic;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

/// An upload on its way to the target; tells when it is over, one way or the other.
pub(crate) struct Sending {
    incoming: Paced<Incoming>,
    /// The body is not asked for before this has ended.
    waiting: Option<Waiting>,
    visitor: VisitorSide,
    traffic: Arc<Traffic>,
    _over: DropGuard,
}

impl Sending {
    pub(crate) fn new(
        incoming: Paced<Incoming>,
        waiting: Option<Waiting>,
        visitor: VisitorSide,
        traffic: Arc<Traffic>,
        over: &CancellationToken,
    ) -> Self {
        Self { incoming, waiting, visitor, traffic, _over: over.clone().drop_guard() }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.traffic.up.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Poll::Ready(Some(Err(error))) = &polled {
            // Too slow, malformed, or gone: whatever the target says to half a body is no answer to this visitor.
            debug!(%error, "an upload broke off");
            self.visitor.break_off();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A visit from its answer on.
pub(crate) struct Visit {
    pub(crate) admitted: Admitted,
    pub(crate) visitor: VisitorSide,
    pub(crate) upstream: Upstream,
    pub(crate) upload_over: CancellationToken,
    pub(crate) expected: Expected,
    pub(crate) connection: Arc<VisitorConnection>,
}

impl Visit {
    /// The answer has ended. An upload may go on, with the same permission; then the connection is free for the next.
    fn end(self) {
        let Self { admitted, visitor, upstream, upload_over, expected, connection } = self;
        if expected.is_unwanted() {
            // Whatever came next, the target would take it for the body that it was announced.
            return;
        }
        if upload_over.is_cancelled() {
            return connection.upstreams.keep(upstream);
        }
        connection.clone().spawn(async move {
            tokio::select! {
                () = admitted.presence.cut() => visitor.break_off(),
                () = upload_over.cancelled() => connection.upstreams.keep(upstream),
            }
        });
    }
}

/// An answer on its way to the visitor, counted. Dropped before its end, it breaks the stream to the target.
pub(crate) struct Returning {
    incoming: super::Body,
    visit: Option<Visit>,
    watch: Option<AbortOnDropHandle<()>>,
    traffic: Arc<Traffic>,
    service: Arc<Service>,
    source: IpAddr,
    status: StatusCode,
    started: Instant,
    bytes: u64,
}

impl Returning {
    pub(crate) fn new(incoming: super::Body, visit: Visit, status: StatusCode, started: Instant) -> Self {
        let (service, source) = (visit.admitted.service.clone(), visit.admitted.permit.visitor().source());
        let watch = (!incoming.is_end_stream()).then(|| {
            let (cut, visitor) = (visit.admitted.presence.cut_owned(), visit.visitor.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                cut.await;
                visitor.break_off();
            }))
        });
        let traffic = visit.admitted.presence.traffic();
        Self { incoming, visit: Some(visit), watch, traffic, service, source, status, started, bytes: 0 }
    }

    fn end(&mut self) {
        self.watch = None;
        if let Some(visit) = self.visit.take() {
            visit.admitted.presence.ends("finished");
            visit.end();
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes += bytes;
                self.traffic.down.fetch_add(bytes, Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(_))) => {
                // An answer that broke must not look complete, whatever tells its end.
                if let Some(visit) = self.visit.take() {
                    visit.admitted.presence.ends("broken");
                    visit.visitor.break_off();
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.end();
        }
        info!(
            target: "doorward::access",
            entrance = "web",
            service = self.service.path(),
            source = access_log::source(self.source),
            status = self.status.as_u16(),
            down = self.bytes,
            seconds = self.started.elapsed().as_secs_f32(),
        );
    }
}
