//! Peers that do not keep to the protocol: connections as anybody could make them, with bare frames on them. What is
//! signed is written down here a second time, from the protocol and not from the code.

use super::gateway::Gateway;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::messages::{Hello, LaneHello, Message, Welcome};
use doorward_tunnel::wire::{CONTROL_LIMIT, read_frame};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const LABEL: &[u8] = b"EXPORTER-doorward-1";

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection on which nobody introduced himself yet.
pub(crate) struct Stranger<T = TlsStream<TcpStream>> {
    pub(crate) io: T,
    exporter: [u8; 32],
}

pub(crate) type QuicIo = tokio::io::Join<quinn::RecvStream, quinn::SendStream>;

impl Stranger {
    pub(crate) async fn connect(port: SocketAddr) -> Self {
        let tcp = TcpStream::connect(port).await.unwrap();
        let name = ServerName::try_from("node.doorward.invalid").unwrap();
        let io = TlsConnector::from(Arc::new(config())).connect(name, tcp).await.unwrap();
        let exporter = io.get_ref().1.export_keying_material([0; 32], LABEL, None).unwrap();
        Self { io, exporter }
    }
}

/// A QUIC connection without its control stream.
pub(crate) async fn connect_quic(port: SocketAddr) -> quinn::Connection {
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config()).unwrap()));
    endpoint.connect_with(config, port, "node.doorward.invalid").unwrap().await.unwrap()
}

impl Stranger<QuicIo> {
    pub(crate) async fn over(connection: &quinn::Connection) -> Self {
        let mut exporter = [0; 32];
        connection.export_keying_material(&mut exporter, LABEL, &[]).unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        Self { io: tokio::io::join(receive, send), exporter }
    }
}

impl<T: Io> Stranger<T> {
    /// As much of it as the other end takes.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }

    /// The next message; `None` at the end, however it came.
    pub(crate) async fn hear(&mut self) -> Option<Message> {
        let frame = read_frame(&mut self.io, CONTROL_LIMIT).await.ok().flatten()?;
        Some(Message::decode(&frame).unwrap())
    }

    /// What an honest agent says first.
    pub(crate) fn hello(&self, key: &Key) -> Hello {
        let mut hello = Hello {
            capability: 1,
            instance: vec![3; 16],
            epoch: 5,
            device_key: key.0.public_key().as_ref().to_vec(),
            ..Hello::default()
        };
        self.prove(key, &mut hello);
        hello
    }

    pub(crate) fn prove(&self, key: &Key, hello: &mut Hello) {
        let roles = b"doorward/1 device proves itself: agent to gateway\0";
        let text = [&roles[..], &self.exporter, &hello.instance, &hello.epoch.to_be_bytes()].concat();
        hello.proof = key.0.sign(&text).as_ref().to_vec();
    }

    pub(crate) fn lane_hello(&self, welcome: &Welcome) -> LaneHello {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &welcome.lane_secret);
        let proof = hmac::sign(&key, &[b"doorward/1 lane\0", &self.exporter[..]].concat());
        LaneHello { link: welcome.link.clone(), proof: proof.as_ref().to_vec() }
    }

    /// Introduces itself honestly, and is welcomed.
    pub(crate) async fn join(&mut self, gateway: &mut Gateway) -> (doorward_tunnel::Standing, Welcome) {
        let hello = Message::Hello(self.hello(&Key::generate())).encode();
        self.say(&hello).await;
        let arrival = gateway.arrival().await.unwrap();
        let name = super::label("kueche");
        let (standing, heard) = tokio::join!(arrival.welcome(&name, super::site()), self.hear());
        let Some(Message::Welcome(welcome)) = heard else { panic!("{heard:?}") };
        (standing.unwrap(), welcome)
    }
}

/// A further connection of a link, proved.
pub(crate) async fn lane(port: SocketAddr, welcome: &Welcome) -> Stranger {
    let mut lane = Stranger::connect(port).await;
    let hello = Message::LaneHello(lane.lane_hello(welcome)).encode();
    lane.say(&hello).await;
    lane
}

pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    pub(crate) fn generate() -> Self {
        let (_, pkcs8) = DeviceKey::generate().unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.expose()).unwrap())
    }
}

/// TLS as agents speak it, with anybody.
fn config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"doorward/1".to_vec()];
    config
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}
