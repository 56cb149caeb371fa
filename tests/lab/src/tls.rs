//! Services that speak TLS themselves, and what their visitors said first.

use crate::service;
use crate::target::Target;
use doorward_agent::Service;
use doorward_core::names::HostName;
use doorward_core::service::EntranceWish;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;

/// Sends back what comes, over TLS with a certificate of its own.
pub struct TlsTarget {
    pub certificate: CertificateDer<'static>,
    pub target: Target,
    hellos: Arc<Mutex<Vec<Heard>>>,
}

/// A ClientHello as the service understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub host: Option<String>,
    pub protocols: Vec<String>,
}

impl TlsTarget {
    pub async fn start(host: &str) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        let certificate = cert.der().clone();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into())
            .unwrap();
        let (config, hellos) = (Arc::new(config), Arc::<Mutex<Vec<Heard>>>::default());
        let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = hellos.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(echo(socket, config.clone(), heard.clone()));
            }
        });
        Self { certificate, target: Target::new(address, task), hellos }
    }

    pub fn address(&self) -> SocketAddr {
        self.target.address
    }

    pub fn hellos(&self) -> Vec<Heard> {
        self.hellos.lock().unwrap().clone()
    }
}

async fn echo(socket: TcpStream, config: Arc<ServerConfig>, hellos: Arc<Mutex<Vec<Heard>>>) -> std::io::Result<()> {
    let handshake = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
    let heard = {
        let hello = handshake.client_hello();
        let protocols = hello.alpn().into_iter().flatten().map(|name| String::from_utf8_lossy(name).into_owned());
        Heard { host: hello.server_name().map(str::to_owned), protocols: protocols.collect() }
    };
    hellos.lock().unwrap().push(heard);
    let (mut reader, mut writer) = tokio::io::split(handshake.into_stream(config).await?);
    tokio::io::copy(&mut reader, &mut writer).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut writer).await
}

/// A service that is reached by this name, its TLS unread.
pub fn passing(name: &str, target: SocketAddr, host: &str) -> Service {
    let mut service = service(name, &format!("tcp://{target}"));
    service.offer.entrances = vec![EntranceWish::Tls(HostName::parse(host).unwrap())];
    service
}
