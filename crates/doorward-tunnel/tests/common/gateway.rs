//! A gateway with a listener of each kind, on ports of 127.0.0.1.

use bytes::Bytes;
use doorward_core::site::{Carrier, Fingerprint, LINK_PATH};
use doorward_tunnel::identity::{DeviceKey, SiteIdentity};
use doorward_tunnel::{Acceptor, Arrival, ArrivalError, CARRIER_LIMIT, Dialer, MemoryDialer, Upgraded, memory};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::AbortOnDropHandle;

pub(crate) struct Gateway {
    pub(crate) fingerprint: Fingerprint,
    /// UDP for QUIC and TCP for TLS, on the same port.
    pub(crate) port: SocketAddr,
    /// TCP for HTTP, which takes WebSockets.
    pub(crate) web_port: SocketAddr,
    pub(crate) acceptor: Arc<Acceptor>,
    memory: MemoryDialer,
    arrivals: mpsc::Receiver<Result<Arrival, ArrivalError>>,
    connections: Arc<AtomicUsize>,
    lanes: watch::Receiver<usize>,
    _tasks: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Desk {
    acceptor: Arc<Acceptor>,
    arrivals: mpsc::Sender<Result<Arrival, ArrivalError>>,
    connections: Arc<AtomicUsize>,
    lanes: Arc<watch::Sender<usize>>,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let identity = SiteIdentity::issue(&DeviceKey::generate().unwrap().1).unwrap();
        let acceptor = Arc::new(Acceptor::new(&identity).unwrap());
        let (sender, arrivals) = mpsc::channel(100);
        let connections = Arc::new(AtomicUsize::new(0));
        let (lane_count, lanes) = watch::channel(0);
        let desk = Desk {
            acceptor: acceptor.clone(),
            arrivals: sender,
            connections: connections.clone(),
            lanes: Arc::new(lane_count),
        };

        let (tcp, quic) = same_port(&acceptor).await;
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, web_port) = (tcp.local_addr().unwrap(), web.local_addr().unwrap());
        let (memory, mut memory_listener) = memory();
        let tasks = async move {
            let mut tasks = JoinSet::new();
            loop {
                let desk = desk.clone();
                tokio::select! {
                    Ok((socket, peer)) = tcp.accept() => { tasks.spawn(desk.tls(socket, peer)); }
                    Ok((socket, peer)) = web.accept() => { tasks.spawn(desk.web(socket, peer)); }
                    Some(incoming) = quic.accept() => {
                        tasks.spawn(async move { desk.report(desk.acceptor.take_quic(incoming).await.map(Some)).await });
                    }
                    Some(channel) = memory_listener.accept() => {
                        desk.connections.fetch_add(1, Ordering::Relaxed);
                        tasks.spawn(async move { desk.report(desk.acceptor.take_memory(channel).await).await });
                    }
                    Some(_) = tasks.join_next() => {}
                }
            }
        };
        let tasks = AbortOnDropHandle::new(tokio::spawn(tasks));
        let fingerprint = identity.fingerprint();
        Self { fingerprint, port, web_port, acceptor, memory, arrivals, connections, lanes, _tasks: tasks }
    }

    /// The next device that proved its key, or the error of somebody who did not.
    pub(crate) async fn arrival(&mut self) -> Result<Arrival, ArrivalError> {
        self.arrivals.recv().await.expect("the listeners run")
    }

    /// Connections of the stream carriers so far: TCP and memory, control and lanes alike.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Resolves when that many lanes found their links.
    pub(crate) async fn lanes(&mut self, count: usize) {
        self.lanes.wait_for(|&lanes| lanes >= count).await.expect("the listeners run");
    }

    pub(crate) fn address(&self, carrier: Carrier) -> String {
        match carrier {
            Carrier::Quic => format!("quic://{}", self.port),
            Carrier::Tls => format!("tls://{}", self.port),
            Carrier::WebSocket => format!("ws://{}", self.web_port),
            Carrier::Memory | Carrier::Ssh => panic!("{carrier:?} has no address"),
        }
    }

    pub(crate) fn dialer(&self, carrier: Carrier) -> Dialer {
        match carrier {
            Carrier::Memory => Dialer::memory(self.memory.clone()),
            other => super::dialer(&self.address(other), self.fingerprint),
        }
    }
}

async fn same_port(acceptor: &Acceptor) -> (TcpListener, quinn::Endpoint) {
    for _ in 0..20 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(quic) = acceptor.listen_quic(tcp.local_addr().unwrap()) {
            return (tcp, quic);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

impl Desk {
    async fn report(&self, taken: Result<Option<Arrival>, ArrivalError>) {
        match taken.transpose() {
            Some(arrival) => drop(self.arrivals.send(arrival).await),
            None => self.lanes.send_modify(|count| *count += 1),
        }
    }

    async fn tls(self, socket: TcpStream, peer: SocketAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let securing = TlsAcceptor::from(self.acceptor.tls_config()).accept(socket);
        let taken = match timeout(CARRIER_LIMIT, securing).await {
            Ok(Ok(stream)) => self.acceptor.take_tls(stream, peer).await,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ArrivalError::Slow),
        };
        self.report(taken).await;
    }

    async fn web(self, socket: TcpStream, peer: SocketAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let answer = service_fn(move |request| {
            let desk = self.clone();
            async move { Ok::<_, Infallible>(desk.upgrade(request, peer)) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(socket), answer)
            .with_upgrades()
            .await;
    }

    fn upgrade(self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Empty<Bytes>> {
        let mut response = Response::new(Empty::new());
        let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| request.uri().path() == LINK_PATH)
        else {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        let accept = derive_accept_key(key.as_bytes());
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let taken = match upgrading.await {
                Ok(upgraded) => self.acceptor.take_websocket(Upgraded(TokioIo::new(upgraded)), peer).await,
                Err(error) => Err(io::Error::other(error).into()),
            };
            self.report(taken).await;
        });
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).unwrap());
        response
    }
}
