//! A gateway and an agent, and one link between them over whichever carrier.

#![allow(dead_code, reason = "each test program uses a part of this")]

pub(crate) mod gateway;
pub(crate) mod impostor;
pub(crate) mod relay;
pub(crate) mod stranger;

use self::gateway::Gateway;
use doorward_core::names::Label;
use doorward_core::site::{Carrier, Fingerprint};
use doorward_tunnel::identity::DeviceKey;
use doorward_tunnel::messages::{Message, Site, Welcome};
use doorward_tunnel::{
    AgentLink, AgentStanding, Destination, Dialer, GatewayLink, Introduction, LinkEnd, OpenError, OpenRequest,
    Standing, Stream, Visit,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// What should happen "at once".
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// No test waits for ever.
pub(crate) async fn bounded<T>(waiting: impl Future<Output = T>) -> T {
    timeout(PATIENCE, waiting).await.expect("the test waits for something that does not happen")
}

pub(crate) async fn at_once<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    timeout(AT_ONCE, waiting).await.unwrap_or_else(|_| panic!("not within {AT_ONCE:?}: {what}"))
}

/// Runs each function, which takes a `Carrier`, as a test over every carrier.
#[macro_export]
macro_rules! over_every_carrier {
    ($($name:ident),+ $(,)?) => {
        $crate::over_carrier!(quic Quic $($name)+);
        $crate::over_carrier!(tls Tls $($name)+);
        $crate::over_carrier!(websocket WebSocket $($name)+);
        $crate::over_carrier!(memory Memory $($name)+);
    };
}

#[macro_export]
macro_rules! over_carrier {
    ($module:ident $carrier:ident $($name:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::common::bounded(super::$name(doorward_core::site::Carrier::$carrier)).await;
                }
            )+
        }
    };
}

pub(crate) fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

pub(crate) fn device_key() -> DeviceKey {
    DeviceKey::generate().unwrap().0
}

pub(crate) fn introduction() -> Introduction {
    Introduction { instance: [3; 16], epoch: 5, join: None, software: "a test".into(), metered: false }
}

pub(crate) fn site() -> Site {
    Site { addresses: vec!["gw.example.org:443".into()], keys: vec![vec![7; 32]], revision: 9 }
}

pub(crate) fn request(service: &str) -> OpenRequest {
    OpenRequest { service: label(service), remaining: None, source: "192.0.2.77".parse().unwrap(), mount: None }
}

pub(crate) fn dialer(address: &str, key: Fingerprint) -> Dialer {
    let addresses = vec![address.parse::<Dialled>().unwrap().0];
    Dialer::new(&Destination { addresses, keys: vec![key], proxy: None, metered: false }).unwrap()
}

struct Dialled(doorward_core::site::Address);

impl std::str::FromStr for Dialled {
    type Err = doorward_core::site::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        doorward_core::site::Address::parse(text).map(Self)
    }
}

/// A standing link, both ends of it running.
pub(crate) struct Link {
    pub(crate) near: Arc<GatewayLink>,
    pub(crate) far: Arc<AgentLink>,
    pub(crate) welcome: Welcome,
    pub(crate) near_events: mpsc::Receiver<Message>,
    pub(crate) far_events: mpsc::Receiver<Message>,
    pub(crate) visits: mpsc::Receiver<Visit>,
    pub(crate) near_end: AbortOnDropHandle<LinkEnd>,
    pub(crate) far_end: AbortOnDropHandle<LinkEnd>,
    pub(crate) gateway: Gateway,
}

impl Link {
    pub(crate) async fn stand(carrier: Carrier) -> Self {
        let gateway = Gateway::start().await;
        let dialer = gateway.dialer(carrier);
        Self::stand_by(gateway, &dialer).await
    }

    pub(crate) async fn stand_by(mut gateway: Gateway, dialer: &Dialer) -> Self {
        let (near, far) = meet(&mut gateway, dialer, &introduction()).await;
        Self::run(gateway, near, far)
    }

    pub(crate) fn run(gateway: Gateway, near: Standing, far: AgentStanding) -> Self {
        Self {
            near: near.link,
            far: far.link,
            welcome: far.welcome,
            near_events: near.events,
            far_events: far.events,
            visits: far.visits,
            near_end: AbortOnDropHandle::new(tokio::spawn(near.driver)),
            far_end: AbortOnDropHandle::new(tokio::spawn(far.driver)),
            gateway,
        }
    }

    /// Opens a stream and accepts it: the gateway's end and the agent's.
    pub(crate) async fn stream(&mut self) -> (Stream, Stream) {
        let request = request("tree");
        let opening = self.near.open(&request);
        let accepting = async { self.visits.recv().await.expect("a visit").accept().await.unwrap() };
        let (near, far) = tokio::join!(opening, accepting);
        (near.unwrap(), far)
    }

    /// From here on the agent answers every visit with an echo.
    pub(crate) fn echo(&mut self) -> AbortOnDropHandle<()> {
        let (_none, nothing) = mpsc::channel(1);
        let mut visits = std::mem::replace(&mut self.visits, nothing);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Some(visit) = visits.recv().await {
                running.spawn(async move {
                    if let Ok(stream) = visit.accept().await {
                        echo(stream).await;
                    }
                });
            }
        }))
    }
}

/// Both ends of a link whose drivers nobody runs yet.
pub(crate) async fn meet(gateway: &mut Gateway, dialer: &Dialer, who: &Introduction) -> (Standing, AgentStanding) {
    let key = device_key();
    let welcoming = async {
        // Attempts that were called off arrive as well.
        let arrival = loop {
            if let Ok(arrival) = gateway.arrival().await {
                break arrival;
            }
        };
        assert_eq!(arrival.claims().device_key, key.public());
        arrival.welcome(&label("kueche"), site()).await.unwrap()
    };
    let introducing = async { dialer.establish(None).await.introduce(&key, who).await.unwrap() };
    tokio::join!(welcoming, introducing)
}

async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            let _ = stream.shutdown().await;
            return;
        }
        if stream.write_all(&buffer[..n]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Says it on a new stream to an echo, and hears it.
pub(crate) async fn echoes(link: &GatewayLink, said: &[u8]) -> Result<(), OpenError> {
    let mut stream = link.open(&request("tree")).await?;
    stream.write_all(said).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, said);
    Ok(())
}

/// What is heard until the end, which has to be one (and no break).
pub(crate) async fn whole(reader: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).await.unwrap();
    heard
}
