//! Over loopback, where 127.0.0.1 is the session's visitor, and 127.0.0.2 is not.

use super::*;
use doorward_tunnel::messages::Message;
use std::net::SocketAddr;
use tokio::net::TcpSocket;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SOON: Duration = Duration::from_secs(5);

struct Scene {
    door: Door,
    common: Common,
    id: PinholeId,
    _tasks: JoinSet<()>,
}

fn terms(length: Duration, sources: &[Ipv4Addr]) -> Terms {
    Terms { until: Instant::now() + length, sources: sources.iter().copied().collect() }
}

impl Scene {
    /// Before a target that echoes.
    async fn start(terms: Terms) -> Self {
        let target = TcpListener::bind((HERE, 0)).await.unwrap();
        let to = Place::Network {
            host: doorward_core::site::Host::Ip(HERE.into()),
            port: target.local_addr().unwrap().port(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Ok((mut socket, _)) = target.accept().await {
                echoes.spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let common = Common::new(Arc::default());
        let id = PinholeId::parse("home-s7").unwrap();
        let door = Door::open((id.clone(), HERE, to), terms, &common, &mut tasks).await.unwrap();
        Self { door, common, id, _tasks: tasks }
    }

    async fn come(&self, source: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        socket.connect(SocketAddr::from((HERE, self.door.port.get()))).await
    }

    /// As the gateway and the agent have it.
    fn announce(&self) -> Probe {
        let probe = Probe::new("s7".to_owned());
        let Message::PinholeProbe(told) = probe.announce() else { panic!("no probe") };
        self.common.probes.announced(self.id.clone(), Probe::read(told).unwrap(), Instant::now());
        probe
    }
}

/// Whether what is said comes back.
async fn is_echoed(socket: &mut TcpStream, said: &[u8]) -> bool {
    let mut heard = vec![0; said.len()];
    let talk = async {
        socket.write_all(said).await?;
        socket.read_exact(&mut heard).await
    };
    timeout(SOON, talk).await.is_ok_and(|done| done.is_ok()) && heard == said
}

/// What an end without words looks like: a reset.
async fn is_reset(socket: &mut TcpStream) -> bool {
    let read = timeout(SOON, socket.read(&mut [0; 64])).await;
    read.expect("it ends").is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn the_sessions_visitor_comes_in_and_nobody_else_does() {
    let scene = Scene::start(terms(SOON, &[HERE])).await;
    assert!(is_reset(&mut scene.come(STRANGER).await.unwrap()).await);
    assert!(!scene.door.has_passed());
    assert!(is_echoed(&mut scene.come(HERE).await.unwrap(), b"hello").await);
    assert!(scene.door.has_passed());
}

#[tokio::test]
async fn whoever_is_inside_is_reset_at_the_end_and_when_not_meant_any_more() {
    let scene = Scene::start(terms(Duration::from_millis(500), &[HERE])).await;
    let mut visitor = scene.come(HERE).await.unwrap();
    assert!(is_echoed(&mut visitor, b"hello").await);
    assert!(is_reset(&mut visitor).await);
    let gone = timeout(SOON, async { while scene.come(HERE).await.is_ok() {} }).await;
    assert!(gone.is_ok(), "nothing listens after the end");

    let scene = Scene::start(terms(SOON, &[HERE, STRANGER])).await;
    let (mut stays, mut goes) = (scene.come(HERE).await.unwrap(), scene.come(STRANGER).await.unwrap());
    assert!(is_echoed(&mut stays, b"hello").await && is_echoed(&mut goes, b"hello").await);
    scene.door.set(terms(2 * SOON, &[HERE]));
    assert!(is_reset(&mut goes).await);
    assert!(is_echoed(&mut stays, b"on").await, "whoever may stay is not disturbed");
    let Scene { door, _tasks, .. } = scene;
    drop(door);
    assert!(is_reset(&mut stays).await);
}

#[tokio::test]
async fn a_probe_is_answered_once_from_anywhere_and_only_while_it_is_expected() {
    for source in [STRANGER, HERE] {
        let scene = Scene::start(terms(SOON, &[HERE])).await;
        let probe = scene.announce();
        timeout(SOON, probe.ask(scene.come(source).await.unwrap())).await.unwrap().unwrap();
        assert!(!scene.door.has_passed(), "the gateway is no visitor");
        let again = timeout(SOON, probe.ask(scene.come(STRANGER).await.unwrap())).await.unwrap();
        assert!(again.is_err(), "it counts once");
    }
    let scene = Scene::start(terms(SOON, &[HERE])).await;
    let never_told = Probe::new("s7".to_owned());
    assert!(timeout(SOON, never_told.ask(scene.come(STRANGER).await.unwrap())).await.unwrap().is_err());
}

#[tokio::test]
async fn while_a_probe_is_expected_visitors_lose_no_byte_and_strangers_get_no_further() {
    let scene = Scene::start(terms(2 * SOON, &[HERE])).await;
    let _probe = scene.announce();
    let long = vec![b'x'; 100];
    assert!(is_echoed(&mut scene.come(HERE).await.unwrap(), &long).await);
    assert!(is_echoed(&mut scene.come(HERE).await.unwrap(), b"short").await);
    let mut stranger = scene.come(STRANGER).await.unwrap();
    stranger.write_all(&long[..Probe::PREFACE]).await.unwrap();
    assert!(is_reset(&mut stranger).await);
}
