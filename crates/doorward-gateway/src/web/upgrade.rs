//! Connections that stop being HTTP: a link inside a WebSocket, or a service's own WebSocket or other upgrade, whose
//! bytes are passed and not looked at.

use super::breaking::{TargetStream, VisitorSide};
use super::connection::VisitorConnection;
use super::websocket::asks_for_websocket;
use crate::access_log;
use crate::admit::Admitted;
use doorward_tunnel::splice::splice;
use doorward_tunnel::{Duplex, Upgraded};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tracing::{debug, info};

/// Whether this asks for another protocol: by an upgrade (RFC 9110, 7.8), or for a WebSocket inside HTTP/2. Another
/// HTTP is not among them: its requests would be nobody's to admit.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    if request.method() == Method::CONNECT {
        return asks_for_websocket(request);
    }
    request.version() == Version::HTTP_11
        && request.headers().get(UPGRADE).is_some_and(|to| !names_http(to))
        && lists(request.headers(), "upgrade")
}

/// Whether what is asked for by such a request is a WebSocket.
pub(crate) fn is_for_websocket<B>(request: &Request<B>) -> bool {
    let to = request.headers().get(UPGRADE).map(HeaderValue::as_bytes);
    asks_for_websocket(request) || to.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
}

fn names_http(protocols: &HeaderValue) -> bool {
    let protocols = protocols.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let begins =
        |protocol: &[u8], with: &[u8]| protocol.get(..with.len()).is_some_and(|p| p.eq_ignore_ascii_case(with));
    protocols.into_iter().any(|protocol| begins(protocol, b"h2") || begins(protocol, b"http"))
}

fn lists(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(option))
}

/// Passes bytes between the two upgraded connections until either ends or the permission does.
pub(crate) async fn pass(
    visitor: hyper::upgrade::OnUpgrade,
    target: hyper::upgrade::OnUpgrade,
    side: VisitorSide,
    connection: Arc<VisitorConnection>,
    admitted: Admitted,
) {
    let _turn = connection.turns.begin();
    let upgraded = tokio::select! {
        biased;
        () = admitted.presence.cut() => return side.break_off(),
        upgraded = async { tokio::join!(visitor, target) } => upgraded,
    };
    let (visitor, target) = match upgraded {
        (Ok(visitor), Ok(target)) => (visitor, target),
        (visitor, target) => {
            let failed = visitor.err().or(target.err()).map(|e| e.to_string());
            return debug!(error = failed, "an upgrade came to nothing");
        }
    };
    let Ok(parts) = target.downcast::<TokioIo<TargetStream>>() else { return };
    let Some(stream) = parts.io.into_inner().into_stream() else { return };
    let mut near = UpgradedVisitor::new(visitor, side);
    // The target may have begun to talk in the same packet as its answer.
    tokio::select! {
        written = near.write_all(&parts.read_buf) => if written.is_err() { return },
        () = admitted.presence.cut() => return near.abort(),
    }
    let traffic = admitted.presence.traffic();
    let end = splice(near, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
    admitted.presence.ends(end.word());
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

/// A visitor's connection after an upgrade, or the stream of it that was upgraded.
pub(crate) struct UpgradedVisitor {
    io: Upgraded,
    side: VisitorSide,
}

impl UpgradedVisitor {
    pub(crate) fn new(visitor: hyper::upgrade::Upgraded, side: VisitorSide) -> Self {
        Self { io: Upgraded(TokioIo::new(visitor)), side }
    }
}

impl Duplex for UpgradedVisitor {
    fn abort(&mut self) {
        self.side.break_off();
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
