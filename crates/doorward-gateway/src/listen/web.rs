//! HTTPS and HTTP. One TCP port serves browsers and links: the ClientHello's ALPN tells them apart, and it alone
//! chooses the certificate.

use crate::certificates::challenges::ACME_ALPN;
use crate::listen::accept;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Handshake, Place, Strangers};
use crate::tasks::Tasks;
use crate::web::breaking::StreamTasks;
use crate::web::connection::VisitorConnection;
use crate::web::forward::Web;
use doorward_tunnel::CARRIER_LIMIT;
use doorward_tunnel::messages::ALPN;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::server::ClientHello;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tracing::debug;

/// The web entrance: what each of its connections needs.
#[derive(Clone)]
pub(crate) struct WebEntrance {
    pub(crate) web: Arc<Web>,
    pub(crate) strangers: Arc<Strangers>,
    /// `None`: plain HTTP.
    pub(crate) certificate: Option<Arc<rustls::ServerConfig>>,
    /// Nobody but the web server in front may connect.
    pub(crate) only_proxies: bool,
    pub(crate) tasks: Tasks,
    /// For telling connections that the gateway is about to stop.
    pub(crate) graceful: Arc<Mutex<GracefulShutdown>>,
}

/// How long a visitor may take to send the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;
const H2_STREAMS: u32 = 128;
const H2_STREAM_WINDOW: u32 = 1024 * 1024;
const H2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const H2_PING_EVERY: Duration = Duration::from_secs(30);

/// Who speaks TLS here, as ALPN says.
#[derive(Clone, Copy)]
enum Caller {
    Link,
    /// A certificate authority that wants to see a proof.
    Authority,
    Visitor,
}

impl Caller {
    fn of(hello: &ClientHello<'_>) -> Self {
        let offers = |wanted: &[u8]| hello.alpn().is_some_and(|mut alpn| alpn.any(|name| name == wanted));
        if offers(ALPN) {
            Self::Link
        } else if offers(ACME_ALPN) {
            Self::Authority
        } else {
            Self::Visitor
        }
    }
}

impl WebEntrance {
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            let (socket, peer) = accept(&listener).await;
            let is_proxy = self.web.proxies.load().contain(peer.ip());
            if self.only_proxies && !is_proxy {
                debug!(%peer, "not the web server in front");
                continue;
            }
            // A configured proxy speaks for many; it keeps its own house.
            let places = if is_proxy { None } else { self.strangers.enter(peer.ip()) };
            if places.is_none() && !is_proxy {
                // No room for this source: dropping the socket closes it.
                continue;
            }
            let entrance = self.clone();
            self.tasks.spawn(async move { entrance.take(socket, peer, places).await });
        }
    }

    async fn take(self, socket: TcpStream, peer: SocketAddr, places: Option<(Place, Handshake)>) {
        let socket = VisitorSocket::new(socket);
        let breaker = socket.breaker();
        let (place, handshake) = places.unzip();
        let pushed_out = handshake.as_ref().map(Handshake::pushed_out).unwrap_or_default();
        let connection =
            |is_https, places| Arc::new(VisitorConnection::new(peer, is_https, breaker, self.tasks.clone(), places));
        let Some(certificate) = &self.certificate else {
            return self.speak_http(socket, connection(false, (place, handshake))).await;
        };
        let certificate = certificate.clone();
        let securing = async {
            let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
            let caller = Caller::of(&hello.client_hello());
            let config = match caller {
                Caller::Link => self.web.acceptor.tls_config(),
                Caller::Authority => match self.proof_config(&hello.client_hello()) {
                    Some(config) => config,
                    None => return Err(std::io::ErrorKind::ConnectionRefused.into()),
                },
                Caller::Visitor => certificate,
            };
            Ok::<_, std::io::Error>((hello.into_stream(config).await?, caller))
        };
        let secured = pushed_out.run_until_cancelled(timeout(CARRIER_LIMIT, securing)).await;
        match secured {
            Some(Ok(Ok((stream, Caller::Link)))) => {
                let arrived = pushed_out.run_until_cancelled(self.web.acceptor.take_tls(stream, peer)).await;
                drop((place, handshake));
                match arrived {
                    Some(Ok(Some(arrival))) => self.web.reception.receive(arrival).await,
                    Some(Ok(None)) => {}
                    Some(Err(error)) => debug!(%error, "a link over TLS came to nothing"),
                    None => debug!("a link that had not introduced itself made room for another"),
                }
            }
            // The handshake was all that it wanted to see (RFC 8737, 3).
            Some(Ok(Ok((_, Caller::Authority)))) => {}
            Some(Ok(Ok((stream, Caller::Visitor)))) => {
                self.speak_http(stream, connection(true, (place, handshake))).await;
            }
            Some(Ok(Err(error))) => debug!(%error, "a TLS handshake failed"),
            Some(Err(_)) => debug!("a TLS handshake took too long"),
            None => debug!("an unfinished TLS handshake made room for another"),
        }
    }

    /// Nobody but those of whom proofs are due sees one.
    fn proof_config(&self, hello: &ClientHello<'_>) -> Option<Arc<rustls::ServerConfig>> {
        self.web.certificates.challenges.tls_config(hello.server_name()?)
    }

    async fn speak_http(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        connection: Arc<VisitorConnection>,
    ) {
        let asked = connection.clone();
        let watcher = self.graceful.lock().unwrap_or_else(PoisonError::into_inner).watcher();
        let web = self.web.clone();
        let service = service_fn(move |request| {
            let (web, connection) = (web.clone(), connection.clone());
            async move { web.respond(connection, request).await }
        });
        let builder = http_builder(&self.tasks);
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
        // hyper's own limits begin only when it knows which HTTP is spoken.
        let silence = async {
            tokio::select! {
                () = asked.until_asked() => std::future::pending().await,
                () = asked.until_pushed_out() => debug!("a visitor that had asked for nothing made room for another"),
                () = tokio::time::sleep(HEAD_LIMIT) => debug!("a visitor connected and asked for nothing"),
            }
        };
        tokio::select! {
            served = watcher.watch(serving) => if let Err(error) = served {
                debug!(%error, "a visitor's connection ended early");
            },
            () = silence => {}
        }
    }
}

fn http_builder(tasks: &Tasks) -> auto::Builder<StreamTasks> {
    let mut builder = auto::Builder::new(StreamTasks(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .preserve_header_case(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
