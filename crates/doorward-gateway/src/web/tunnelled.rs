//! WebSockets to targets that are spoken to in HTTP/2 (RFC 8441): a call whose bodies are the bytes of the WebSocket.

use super::connection::VisitorConnection;
use super::upgrade::UpgradedVisitor;
use super::upstreams::Upstream;
use super::{Body, breaking::VisitorSide};
use crate::access_log;
use crate::admit::Admitted;
use bytes::{Bytes, BytesMut};
use doorward_tunnel::splice::End;
use doorward_tunnel::{Duplex, websocket_accept};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::upgrade::OnUpgrade;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

/// How long one side may go on when the other has finished: a WebSocket has no half that is of use alone.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);
const PIECE: usize = 16 * 1024;

/// The target's end of a WebSocket.
pub(super) struct Far {
    pub(super) uplink: mpsc::Sender<Bytes>,
    pub(super) downlink: Body,
    pub(super) upstream: Upstream,
}

/// A request that opens a WebSocket, with a body whose pieces are what is sent.
pub(super) fn with_uplink(request: Request<Body>) -> (Option<mpsc::Sender<Bytes>>, Request<Body>) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        receiver.recv().await.map(|piece| (Ok(Frame::data(piece)), receiver))
    });
    (Some(sender), request.map(|_| StreamBody::new(frames).boxed_unsync()))
}

/// Makes it the answer of RFC 6455, 4.2.2, to a visitor who asked in HTTP/1.1.
pub(super) fn answer_as_http1<B>(response: &mut Response<B>, asked: &HeaderMap) {
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let key = asked.get(SEC_WEBSOCKET_KEY).map(|key| websocket_accept(key.as_bytes()));
    if let Some(accept) = key.and_then(|accept| HeaderValue::try_from(accept).ok()) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
}

/// Passes bytes until both sides have finished, or the permission ends.
pub(super) async fn pass(
    visitor: OnUpgrade,
    far: Far,
    side: VisitorSide,
    connection: Arc<VisitorConnection>,
    admitted: Admitted,
) {
    let _turn = connection.turns.begin();
    let upgraded = tokio::select! {
        biased;
        () = admitted.presence.cut() => return side.break_off(),
        upgraded = visitor => upgraded,
    };
    let mut near = match upgraded {
        Ok(visitor) => UpgradedVisitor::new(visitor, side),
        Err(error) => return debug!(%error, "an upgrade came to nothing"),
    };
    let Far { uplink, downlink, upstream } = far;
    let traffic = admitted.presence.traffic();
    let end = {
        let (reader, writer) = tokio::io::split(&mut near);
        let passing = both(send(reader, uplink, &traffic.up), receive(downlink, writer, &traffic.down));
        tokio::select! {
            biased;
            () = admitted.presence.cut() => End::Cut,
            passed = passing => passed.map_or_else(End::Broken, |()| End::Finished),
        }
    };
    match &end {
        End::Finished => upstream.let_go(),
        End::Cut | End::Lingered | End::Broken(_) => {
            near.abort();
            drop(upstream);
        }
    }
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

async fn both(
    sending: impl Future<Output = io::Result<()>>,
    receiving: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => {
            sent?;
            timeout(FAREWELL_LIMIT, receiving).await?
        }
        received = &mut receiving => {
            received?;
            timeout(FAREWELL_LIMIT, sending).await?
        }
    }
}

async fn send(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Bytes>, sent: &AtomicU64) -> io::Result<()> {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        let length = from.read_buf(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        to.send(piece.freeze()).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        sent.fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn receive(mut from: Body, mut to: impl AsyncWrite + Unpin, got: &AtomicU64) -> io::Result<()> {
    while let Some(frame) = from.frame().await {
        if let Ok(data) = frame?.into_data() {
            to.write_all(&data).await?;
            to.flush().await?;
            got.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
    }
    to.shutdown().await
}
