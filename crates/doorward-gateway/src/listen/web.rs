//! HTTPS and HTTP. One TCP port serves all who speak TLS. The ClientHello tells them apart, in this order: by its name
//! who comes to a service that speaks TLS itself, then by its ALPN links, authorities, and everybody else.

use crate::certificates::WebTls;
use crate::certificates::challenges::ACME_ALPN;
use crate::listen::accept;
use crate::listen::hasty::Hasty;
use crate::listen::hello::{Hello, Unread};
use crate::listen::local;
use crate::listen::passthrough::Passthrough;
use crate::listen::proxied::visitor_behind;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Handshake, Place, Strangers};
use crate::tasks::Tasks;
use crate::web::breaking::StreamTasks;
use crate::web::connection::VisitorConnection;
use crate::web::forward::Web;
use crate::web::framing::{MAX_HEAD, MAX_HEADERS};
use crate::web::guarded::Guarded;
use crate::web::presented::Presented;
use crate::web::turns::{PATIENCE, Turns};
use doorward_core::names::HostName;
use doorward_tunnel::messages::ALPN;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// The web entrance: what each of its connections needs.
#[derive(Clone)]
pub(crate) struct WebEntrance {
    pub(crate) web: Arc<Web>,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) passthrough: Arc<Passthrough>,
    /// `None`: plain HTTP.
    pub(crate) certificate: Option<WebTls>,
    /// Nobody but the web server in front may connect.
    pub(crate) only_proxies: bool,
    pub(crate) tasks: Tasks,
    /// For telling connections that the gateway is about to stop.
    pub(crate) graceful: Arc<Mutex<GracefulShutdown>>,
}

/// Heads have been measured before hyper sees them.
const HTTP1_BUFFER: usize = MAX_HEAD + 4096;
const H2_STREAMS: u32 = 128;
const H2_STREAM_WINDOW: u32 = 1024 * 1024;
const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_PING_EVERY: Duration = Duration::from_secs(30);

/// Who says hello. The order in which `WebEntrance::caller` looks is that of the variants.
enum Caller {
    /// It is not for us: under this name a service speaks TLS itself.
    Others(HostName),
    Link,
    /// A certificate authority that wants to see a proof.
    Authority,
    Visitor,
}

/// What came of a ClientHello.
enum Secured {
    /// It is not for the gateway.
    Passed(HostName, Unread<VisitorSocket>),
    Link(TlsStream),
    /// The handshake was all that it wanted to see (RFC 8737, 3).
    Authority,
    Visitor(TlsStream, Presented),
}

type TlsStream = tokio_rustls::server::TlsStream<VisitorSocket>;

impl WebEntrance {
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            let (socket, peer) = accept(&listener).await;
            let accepted = Instant::now();
            let introduces = self.web.proxy_protocol_from.load().contain(peer.ip());
            if self.only_proxies && !introduces && !self.web.proxies.load().contain(peer.ip()) {
                debug!(%peer, "not the web server in front");
            } else if introduces {
                let entrance = self.clone();
                self.tasks.spawn(async move { entrance.take_proxied(socket, peer, accepted).await });
            } else if let Some(places) = self.room_for(peer) {
                let entrance = self.clone();
                let socket = VisitorSocket::new(socket);
                self.tasks.spawn(async move { entrance.take(socket, peer, places, accepted).await });
            }
        }
    }

    /// On a socket that only the web server in front can open.
    pub(crate) async fn serve_local(self, listener: UnixListener) {
        loop {
            let (entrance, socket) = (self.clone(), VisitorSocket::local(local::accept(&listener).await));
            self.tasks.spawn(async move { entrance.take(socket, local::PEER, None, Instant::now()).await });
        }
    }

    /// `None`: no room for this source; dropping the socket closes it. A configured proxy speaks for many; it keeps
    /// its own house.
    fn room_for(&self, peer: SocketAddr) -> Option<Option<(Place, Handshake)>> {
        if self.web.proxies.load().contain(peer.ip()) { Some(None) } else { self.strangers.enter(peer.ip()).map(Some) }
    }

    /// A proxy that says who it speaks for before it passes bytes on.
    async fn take_proxied(self, socket: TcpStream, proxy: SocketAddr, accepted: Instant) {
        let mut socket = VisitorSocket::new(socket);
        match timeout_at(accepted + PATIENCE, visitor_behind(&mut socket)).await {
            Ok(Ok(visitor)) => {
                let peer = visitor.unwrap_or(proxy);
                if let Some(places) = self.room_for(peer) {
                    self.take(socket, peer, places, accepted).await;
                }
            }
            Ok(Err(error)) => debug!(%error, %proxy, "a proxy's connection is dropped"),
            Err(_) => debug!(%proxy, "a proxy took too long to say for whom it speaks"),
        }
    }

    async fn take(
        self,
        socket: VisitorSocket,
        peer: SocketAddr,
        places: Option<(Place, Handshake)>,
        accepted: Instant,
    ) {
        socket.keep_unsent_short();
        let breaker = socket.breaker();
        let (place, handshake) = places.unzip();
        let pushed_out = handshake.as_ref().map(Handshake::pushed_out).unwrap_or_default();
        let connection = |presented, places| {
            let turns = Turns::since(accepted);
            Arc::new(VisitorConnection::new(peer, presented, breaker, self.tasks.clone(), places, turns))
        };
        let Some(certificate) = &self.certificate else {
            return Box::pin(self.speak_http(socket, connection(None, (place, handshake)))).await;
        };
        let securing = self.secure(socket, peer.ip(), certificate.clone(), place.as_ref());
        let secured = pushed_out.run_until_cancelled(timeout_at(accepted + PATIENCE, securing)).await;
        match secured {
            Some(Ok(Ok(Secured::Passed(host, socket)))) => {
                self.passthrough.visit(host, socket, peer, (place, handshake)).await;
            }
            Some(Ok(Ok(Secured::Link(stream)))) => {
                let arrived = pushed_out.run_until_cancelled(self.web.acceptor.take_tls(stream, peer)).await;
                drop((place, handshake));
                match arrived {
                    Some(Ok(Some(arrival))) => self.web.reception.receive(arrival).await,
                    Some(Ok(None)) => {}
                    Some(Err(error)) => debug!(%error, "a link over TLS came to nothing"),
                    None => debug!("a link that had not introduced itself made room for another"),
                }
            }
            Some(Ok(Ok(Secured::Authority))) => {}
            Some(Ok(Ok(Secured::Visitor(stream, presented)))) => {
                let connection = connection(Some(presented), (place, handshake));
                let stream = Hasty::new(stream, connection.little());
                // Whoever has said nothing yet does not hold what answering takes.
                Box::pin(self.speak_http(stream, connection)).await;
            }
            Some(Ok(Err(error))) => debug!(%error, "a TLS handshake failed"),
            Some(Err(_)) => debug!("a TLS handshake took too long"),
            None => debug!("an unfinished TLS handshake made room for another"),
        }
    }

    /// The hello tells who it is.
    async fn secure(
        &self,
        socket: VisitorSocket,
        peer: IpAddr,
        certificate: WebTls,
        place: Option<&Place>,
    ) -> io::Result<Secured> {
        let hello = Hello::read(socket).await?;
        // What follows is the dearest thing that a stranger can ask for.
        let _passing = match place {
            Some(place) => place.pass(&self.tasks).await,
            None => None,
        };
        match self.caller(&hello) {
            Caller::Others(host) => Ok(Secured::Passed(host, hello.unread())),
            Caller::Link => Ok(Secured::Link(hello.answer(self.web.acceptor.tls_config()).await?)),
            Caller::Authority => {
                let config = self.proof_config(&hello.client_hello()).ok_or(io::ErrorKind::ConnectionRefused)?;
                hello.answer(config).await.map(|_| Secured::Authority)
            }
            Caller::Visitor => {
                let asks = hello.host().is_some_and(|host| self.web.asks_for_certificates(&host));
                let is_veiled = hello.host().is_some_and(|host| self.web.veils(&host, peer));
                let config = match (asks, is_veiled) {
                    (_, true) => certificate.veiled,
                    (true, false) => certificate.asking,
                    (false, false) => certificate.usual,
                };
                let presented = Presented::to(hello.client_hello(), &config);
                let stream = hello.answer(config).await?;
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let presented = if asks && !is_veiled { presented.asked(shown) } else { presented };
                Ok(Secured::Visitor(stream, presented))
            }
        }
    }

    fn caller(&self, hello: &Hello<VisitorSocket>) -> Caller {
        if let Some(host) = self.passthrough.host(hello) {
            Caller::Others(host)
        } else if hello.offers(ALPN) {
            Caller::Link
        } else if hello.offers(ACME_ALPN) {
            Caller::Authority
        } else {
            Caller::Visitor
        }
    }

    /// Nobody but those of whom proofs are due sees one.
    fn proof_config(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        self.web.certificates.challenges.tls_config(hello.server_name()?)
    }

    async fn speak_http(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        connection: Arc<VisitorConnection>,
    ) {
        let turns = connection.turns.clone();
        let visitor = connection.clone();
        let watcher = self.graceful.lock().unwrap_or_else(PoisonError::into_inner).watcher();
        let web = self.web.clone();
        let service = service_fn(move |request| {
            let (web, connection) = (web.clone(), connection.clone());
            async move { web.take_turn(connection, request).await }
        });
        let builder = http_builder(&self.tasks);
        let guarded = Guarded::new(io, turns.clone());
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(guarded), service);
        tokio::select! {
            served = watcher.watch(serving) => if let Err(error) = served {
                debug!(%error, "a visitor's connection ended early");
            },
            never = visitor.upstreams.let_idle_go() => match never {},
            () = visitor.until_pushed_out() => debug!("a visitor that had asked for nothing made room for another"),
            overdue = turns.overdue(|| visitor.is_crowded()) => {
                debug!(?overdue, "a visitor took too long");
                if visitor.is_crowded() {
                    // What the kernel still holds for such a visitor goes, too.
                    visitor.breaker.reset();
                }
            }
        }
        visitor.upstreams.let_all_go();
    }
}

fn http_builder(tasks: &Tasks) -> auto::Builder<StreamTasks> {
    let mut builder = auto::Builder::new(StreamTasks(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // `turns` knows when time counts against the visitor.
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_send_buf_size(H2_SEND_BUFFER)
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
