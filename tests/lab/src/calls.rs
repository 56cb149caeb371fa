//! A service for the lab that is spoken to in HTTP/2, as gRPC servers are. What it does is said by the path; it notes
//! each request, and how each of its streams ended that was not let finish.

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub struct CallTarget {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    resets: mpsc::UnboundedReceiver<(String, Option<Reason>)>,
    task: JoinHandle<()>,
}

struct Seen {
    accepted: AtomicUsize,
    requests: Mutex<Vec<(http::request::Parts, HeaderMap)>>,
    reset: mpsc::UnboundedSender<(String, Option<Reason>)>,
}

pub async fn calls() -> CallTarget {
    serving(server::Builder::new()).await
}

/// One that takes WebSockets as well (RFC 8441).
pub async fn calls_and_websockets() -> CallTarget {
    let mut builder = server::Builder::new();
    builder.enable_connect_protocol();
    serving(builder).await
}

async fn serving(builder: server::Builder) -> CallTarget {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reset, resets) = mpsc::unbounded_channel();
    let seen = Arc::new(Seen { accepted: AtomicUsize::new(0), requests: Mutex::default(), reset });
    let task = tokio::spawn({
        let seen = seen.clone();
        async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(serve(socket, builder.clone(), seen.clone()));
            }
        }
    });
    CallTarget { address, seen, resets, task }
}

impl CallTarget {
    pub fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    /// Heads of the requests that came, with the trailers of those that were read to their end.
    pub fn requests(&self) -> Vec<(http::request::Parts, HeaderMap)> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The next stream that was broken: its path, and the reason that was given; `None`: its connection ended.
    pub async fn reset(&mut self) -> (String, Option<Reason>) {
        timeout(crate::LIMIT, self.resets.recv()).await.expect("a stream is reset in time").unwrap()
    }
}

impl Drop for CallTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, builder: server::Builder, seen: Arc<Seen>) {
    seen.accepted.fetch_add(1, Ordering::Relaxed);
    let Ok(mut connection) = builder.handshake(io).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path() == "/goodbye" {
            connection.graceful_shutdown();
        }
        let seen = seen.clone();
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            if let Err(error) = answer(request, respond, &seen).await {
                let _ = seen.reset.send((path, error.reason()));
            }
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: &Seen) -> Result<(), h2::Error> {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let note = |trailers: Option<HeaderMap>| {
        seen.requests.lock().unwrap().push((parts.clone(), trailers.unwrap_or_default()));
    };
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    match path.as_str() {
        // Says each piece back as it comes.
        "/echo" => {
            let mut sending = respond.send_response(head, false)?;
            while let Some(piece) = received(&mut body, &mut sending).await? {
                send(&mut sending, piece).await?;
            }
            note(body.trailers().await?);
            sending.send_trailers(status("0"))
        }
        // An answer that is all head, before the request has ended.
        "/missing" => {
            note(None);
            let (mut parts, ()) = head.into_parts();
            parts.headers.extend(status("5"));
            respond.send_response(Response::from_parts(parts, ()), true).map(drop)
        }
        "/endless" => {
            note(None);
            let mut sending = respond.send_response(head, false)?;
            loop {
                send(&mut sending, Bytes::from_static(&[7; 16 * 1024])).await?;
            }
        }
        // Nothing is read, and nothing said.
        "/silent" => {
            note(None);
            Err(poll_fn(|cx| respond.poll_reset(cx)).await?.into())
        }
        // Nothing is read, and an answer is begun.
        "/deaf" => {
            note(None);
            let mut sending = respond.send_response(head, false)?;
            Err(poll_fn(|cx| sending.poll_reset(cx)).await?.into())
        }
        // Breaks off by itself, once something has come.
        "/broken" => {
            note(None);
            let mut sending = respond.send_response(head, false)?;
            send(&mut sending, Bytes::from_static(b"half")).await?;
            received(&mut body, &mut sending).await?;
            sending.send_reset(Reason::ENHANCE_YOUR_CALM);
            Ok(())
        }
        // Reads all, and answers with how much it was.
        _ => {
            let mut length = 0;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                length += piece.len();
            }
            note(body.trailers().await?);
            let mut sending = respond.send_response(head, false)?;
            send(&mut sending, length.to_string().into()).await?;
            sending.send_trailers(status("0"))
        }
    }
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

async fn received(body: &mut RecvStream, sending: &mut SendStream<Bytes>) -> Result<Option<Bytes>, h2::Error> {
    let piece = tokio::select! {
        reason = poll_fn(|cx| sending.poll_reset(cx)) => return Err(reason?.into()),
        piece = body.data() => piece.transpose()?,
    };
    if let Some(piece) = &piece {
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(piece)
}

async fn send(sending: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        sending.reserve_capacity(data.len());
        while sending.capacity() == 0 {
            match poll_fn(|cx| sending.poll_capacity(cx)).await {
                Some(more) => drop(more?),
                None => return Err(poll_fn(|cx| sending.poll_reset(cx)).await?.into()),
            }
        }
        sending.send_data(data.split_to(sending.capacity().min(data.len())), false)?;
    }
    Ok(())
}
