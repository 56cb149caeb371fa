//! Connections that stop being HTTP: a link inside a WebSocket, or a service's own WebSocket or other upgrade, whose
//! bytes are passed and not looked at.

use super::breaking::TargetStream;
use super::connection::VisitorConnection;
use crate::access_log;
use crate::admit::Admitted;
use doorward_tunnel::splice::{Traffic, splice};
use doorward_tunnel::{Duplex, Upgraded};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Request, Version};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tracing::{debug, info};

/// Whether this is an HTTP/1.1 upgrade (RFC 9110, 7.8).
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && lists(request.headers(), "upgrade")
}

fn lists(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(option))
}

/// Passes bytes between the two upgraded connections until either ends or the permission does.
pub(crate) async fn pass(
    visitor: hyper::upgrade::OnUpgrade,
    target: hyper::upgrade::OnUpgrade,
    connection: Arc<VisitorConnection>,
    admitted: Admitted,
) {
    let (visitor, target) = match tokio::join!(visitor, target) {
        (Ok(visitor), Ok(target)) => (visitor, target),
        (visitor, target) => {
            let failed = visitor.err().or(target.err()).map(|e| e.to_string());
            return debug!(error = failed, "an upgrade came to nothing");
        }
    };
    let Ok(parts) = target.downcast::<TokioIo<TargetStream>>() else { return };
    let Some(stream) = parts.io.into_inner().into_stream() else { return };
    let mut near = UpgradedVisitor { io: Upgraded(TokioIo::new(visitor)), connection };
    // The target may have begun to talk in the same packet as its answer.
    tokio::select! {
        written = near.write_all(&parts.read_buf) => if written.is_err() { return },
        () = admitted.presence.cut() => return near.abort(),
    }
    let traffic = Traffic::default();
    let end = splice(near, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
    info!(
        target: "doorward::access",
        entrance = "web",
        service = admitted.service.path(),
        source = access_log::source(admitted.permit.visitor().source()),
        upgraded = true,
        up = traffic.up.load(Ordering::Relaxed),
        down = traffic.down.load(Ordering::Relaxed),
        end = end.word(),
    );
}

/// A visitor's connection after an HTTP/1.1 upgrade: nothing else is on it, so it can be reset as a whole.
struct UpgradedVisitor {
    io: Upgraded,
    connection: Arc<VisitorConnection>,
}

impl Duplex for UpgradedVisitor {
    fn abort(&mut self) {
        self.connection.breaker.reset();
    }
}

impl AsyncRead for UpgradedVisitor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for UpgradedVisitor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
