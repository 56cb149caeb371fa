use super::{label, soon};
use doorward_core::Secret;
use doorward_core::invite::Invite;
use doorward_core::site::{Address, Carrier, Fingerprint};
use doorward_tunnel::identity::{DeviceKey, SiteIdentity};
use doorward_tunnel::messages::{Leaving, Message, Refusal, Services, Site};
use doorward_tunnel::{Acceptor, Arrival, Claims, Flow, GatewayLink, OpenError, OpenRequest, Stream};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The key of a site, which survives its gateways.
pub struct SiteKey(Secret<Vec<u8>>);

impl SiteKey {
    pub fn new() -> Self {
        Self(DeviceKey::generate().unwrap().1)
    }

    pub fn fingerprint(&self) -> Fingerprint {
        SiteIdentity::issue(&self.0).unwrap().fingerprint()
    }
}

/// What the gateway answers to those who come.
pub struct Rules {
    pub refuse: Option<(Refusal, u32)>,
    /// Takes the Hello and closes without a word, so many times.
    pub lose_answers: u32,
    pub site: Site,
    pub arrivals: Vec<(Instant, Claims)>,
    current: Option<Arc<GatewayLink>>,
}

pub struct Gateway {
    pub port: u16,
    pub rules: Arc<Mutex<Rules>>,
    fingerprint: Fingerprint,
    acceptor: Arc<Acceptor>,
    links: mpsc::Receiver<TestLink>,
    sender: mpsc::Sender<TestLink>,
    endpoint: Option<quinn::Endpoint>,
    /// Where no QUIC is wanted, packets vanish here.
    reserved: Option<UdpSocket>,
    tasks: JoinSet<()>,
}

pub struct TestLink {
    pub link: Arc<GatewayLink>,
    pub events: mpsc::Receiver<Message>,
    pub epoch: u64,
}

impl TestLink {
    pub fn carrier(&self) -> Carrier {
        self.link.carrier()
    }

    pub async fn open(&self, service: &str) -> Result<Stream, OpenError> {
        self.open_for(service, None).await
    }

    pub async fn open_for(&self, service: &str, remaining: Option<Duration>) -> Result<Stream, OpenError> {
        soon("an open", self.link.open(&request(service, remaining))).await
    }

    pub async fn open_flow(&self, service: &str) -> Result<Flow, OpenError> {
        soon("an open", self.link.open_flow(&request(service, None))).await
    }

    pub async fn services(&mut self) -> Services {
        loop {
            match soon("services", self.events.recv()).await.expect("the link to stand") {
                Message::Services(services) => return services,
                _ => continue,
            }
        }
    }

    pub async fn hear(&mut self) -> Option<Message> {
        soon("a message", self.events.recv()).await
    }
}

fn request(service: &str, remaining: Option<Duration>) -> OpenRequest {
    OpenRequest { service: label(service), remaining, source: [192, 0, 2, 1].into(), mount: None }
}

impl Gateway {
    /// On `port` (0: any), with these carriers.
    pub async fn start(key: &SiteKey, port: u16, carriers: &[Carrier]) -> Self {
        let identity = SiteIdentity::issue(&key.0).unwrap();
        let acceptor = Arc::new(Acceptor::new(&identity).unwrap());
        let (reserved, listener) = bind_both(port).await;
        let port = listener.local_addr().unwrap().port();
        let site = Site {
            addresses: vec![format!("127.0.0.1:{port}")],
            keys: vec![identity.fingerprint().0.to_vec()],
            revision: 1,
        };
        let rules = Rules { refuse: None, lose_answers: 0, site, arrivals: Vec::new(), current: None };
        let (sender, links) = mpsc::channel(100);
        let mut gateway = Self {
            port,
            rules: Arc::new(Mutex::new(rules)),
            fingerprint: identity.fingerprint(),
            acceptor,
            links,
            sender,
            endpoint: None,
            reserved: Some(reserved),
            tasks: JoinSet::new(),
        };
        if carriers.contains(&Carrier::Tls) {
            gateway.listen_tls(listener);
        }
        if carriers.contains(&Carrier::Quic) {
            gateway.listen_quic();
        }
        gateway
    }

    pub async fn both() -> Self {
        Self::start(&SiteKey::new(), 0, &[Carrier::Quic, Carrier::Tls]).await
    }

    pub fn invite(&self) -> Invite {
        let addresses = vec![Address::parse(&format!("127.0.0.1:{}", self.port)).unwrap()];
        Invite { addresses, site: self.fingerprint, secret: Secret::new([9; 16]) }
    }

    pub fn arrivals(&self) -> usize {
        self.rules.lock().unwrap().arrivals.len()
    }

    pub async fn next_link(&mut self) -> TestLink {
        soon("a link", self.links.recv()).await.unwrap()
    }

    pub fn listen_quic(&mut self) {
        drop(self.reserved.take());
        let endpoint = self.acceptor.listen_quic(([127, 0, 0, 1], self.port).into()).unwrap();
        self.endpoint = Some(endpoint.clone());
        let (acceptor, rules, sender) = (self.acceptor.clone(), self.rules.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            let mut running = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                let (acceptor, rules, sender) = (acceptor.clone(), rules.clone(), sender.clone());
                running.spawn(async move {
                    if let Ok(arrival) = acceptor.take_quic(incoming).await {
                        admit(arrival, rules, sender).await;
                    }
                });
            }
        });
    }

    fn listen_tls(&mut self, listener: TcpListener) {
        let (acceptor, rules, sender) = (self.acceptor.clone(), self.rules.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (socket, peer) = listener.accept().await.unwrap();
                let (acceptor, rules, sender) = (acceptor.clone(), rules.clone(), sender.clone());
                running.spawn(async move {
                    doorward_tunnel::tune_tcp(&socket);
                    let Ok(stream) = TlsAcceptor::from(acceptor.tls_config()).accept(socket).await else { return };
                    let taken: Result<Option<Arrival>, _> = acceptor.take_tls(stream, peer).await;
                    if let Ok(Some(arrival)) = taken {
                        admit(arrival, rules, sender).await;
                    }
                });
            }
        });
    }

    /// As a process that ends: no goodbye, sockets closed by the kernel.
    pub async fn die(mut self) -> u16 {
        self.tasks.shutdown().await;
        drop(self.endpoint.take());
        drop(self.reserved.take());
        let port = self.port;
        drop(self);
        // The socket is free when it can be bound again.
        super::until("the port to be free", || UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], port))).ok()).await;
        port
    }
}

/// The same port for UDP and TCP; another one if somebody has half of it.
async fn bind_both(port: u16) -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else { continue };
        if let Ok(udp) = UdpSocket::bind(listener.local_addr().unwrap()) {
            return (udp, listener);
        }
    }
    panic!("no port is free for both")
}

async fn admit(arrival: Arrival, rules: Arc<Mutex<Rules>>, sender: mpsc::Sender<TestLink>) {
    let epoch = arrival.claims().introduction.epoch;
    let (refuse, is_lost, site) = {
        let mut rules = rules.lock().unwrap();
        let claims = arrival.claims();
        let claims = Claims { introduction: claims.introduction.clone(), ..*claims };
        rules.arrivals.push((Instant::now(), claims));
        let is_lost = rules.lose_answers > 0;
        rules.lose_answers = rules.lose_answers.saturating_sub(1);
        (rules.refuse, is_lost, rules.site.clone())
    };
    if is_lost {
        return;
    }
    if let Some((reason, seconds)) = refuse {
        return arrival.refuse(reason, "not you, not now", Duration::from_secs(seconds.into())).await;
    }
    let Ok(standing) = arrival.welcome(&label("zumi01"), site).await else { return };
    let old = rules.lock().unwrap().current.replace(standing.link.clone());
    let _ = sender.send(TestLink { link: standing.link, events: standing.events, epoch }).await;
    let replacing = async {
        if let Some(old) = old {
            old.close(Leaving::Superseded).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = standing.driver => {}
        () = replacing => {}
    }
}
