//! A gateway that has the site's key (a stolen one, say) and does as it likes: TLS that agents trust, and bare frames.

use doorward_tunnel::identity::{DeviceKey, SiteIdentity};
use doorward_tunnel::messages::{Message, Welcome};
use doorward_tunnel::wire::{STRANGER_LIMIT, read_frame};
use doorward_tunnel::{Acceptor, AgentStanding, Dialer, HandshakeError};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) struct Impostor {
    pub(crate) acceptor: Acceptor,
    pub(crate) listener: TcpListener,
    pub(crate) dialer: Dialer,
}

pub(crate) type Connection = TlsStream<TcpStream>;

impl Impostor {
    pub(crate) async fn start() -> Self {
        let identity = SiteIdentity::issue(&DeviceKey::generate().unwrap().1).unwrap();
        let acceptor = Acceptor::new(&identity).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialer = super::dialer(&format!("tls://{}", listener.local_addr().unwrap()), identity.fingerprint());
        Self { acceptor, listener, dialer }
    }

    /// Over QUIC, with the endpoint to accept from.
    pub(crate) fn start_quic() -> (quinn::Endpoint, Dialer) {
        let identity = SiteIdentity::issue(&DeviceKey::generate().unwrap().1).unwrap();
        let endpoint = Acceptor::new(&identity).unwrap().listen_quic(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = format!("quic://{}", endpoint.local_addr().unwrap());
        (endpoint, super::dialer(&address, identity.fingerprint()))
    }

    pub(crate) async fn accept(&self) -> Connection {
        let (socket, _) = self.listener.accept().await.unwrap();
        TlsAcceptor::from(self.acceptor.tls_config()).accept(socket).await.unwrap()
    }

    /// What an agent makes of `answer` to its introduction. The connection stays open meanwhile.
    pub(crate) async fn answers(&self, answer: &[u8]) -> Result<AgentStanding, HandshakeError> {
        let key = super::device_key();
        let introducing = async { self.dialer.establish(None).await.introduce(&key, &super::introduction()).await };
        let answering = async {
            let mut connection = self.accept().await;
            assert!(matches!(hear(&mut connection).await, Some(Message::Hello(_))));
            connection.write_all(answer).await.unwrap();
            connection.flush().await.unwrap();
            std::future::pending::<()>().await
        };
        tokio::select! {
            standing = introducing => standing,
            () = answering => unreachable!("it waits for ever"),
        }
    }

    /// A link that an agent takes for real, its control connection in our hands.
    pub(crate) async fn welcomed(&self) -> (AgentStanding, Connection) {
        let key = super::device_key();
        let introducing = async { self.dialer.establish(None).await.introduce(&key, &super::introduction()).await };
        let welcoming = async {
            let mut connection = self.accept().await;
            assert!(matches!(hear(&mut connection).await, Some(Message::Hello(_))));
            say(&mut connection, &Message::Welcome(welcome())).await;
            connection
        };
        let (standing, connection) = tokio::join!(introducing, welcoming);
        (standing.unwrap(), connection)
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome { capability: 1, link: vec![1; 16], lane_secret: vec![2; 32], ..Welcome::default() }
}

pub(crate) async fn say(connection: &mut (impl AsyncWriteExt + Unpin), message: &Message) {
    connection.write_all(&message.encode()).await.unwrap();
    connection.flush().await.unwrap();
}

pub(crate) async fn hear(connection: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Message> {
    let frame = read_frame(connection, STRANGER_LIMIT).await.ok().flatten()?;
    Some(Message::decode(&frame).unwrap())
}
