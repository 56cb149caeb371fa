//! Visits of every kind, held open to see them cut.

use crate::calls::{CallTarget, calls};
use crate::camera::{self, Camera};
use crate::looking::{self, Feed, Heard};
use crate::sessions::on_request;
use crate::target::{self, Target};
use crate::visitor::{self, Ending, ending, request2};
use crate::web::{Answer, ENDLESS, EVENTS, WebTarget, web};
use crate::websocket::{self, EchoTarget};
use crate::{LIMIT, LOOPBACK, Lab, LabDevice, service, until};
use doorward_agent::Service;
use doorward_control::Protocol;
use doorward_control::accounts::OWNER;
use doorward_core::access::PolicyDocument;
use doorward_core::names::HostName;
use doorward_core::service::EntranceWish;
use doorward_frames::feed::{Message as Said, State};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::SignedDuration;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Download,
    /// The visitor does not read: the answer waits in every buffer on the way.
    Stalled,
    Download2,
    Stalled2,
    /// To a target that is spoken to in HTTP/2.
    Call,
    Events,
    Upload,
    WebSocket,
    Tcp,
    Tls,
    Udp,
    /// A camera by an `<img>`.
    Image,
    /// A camera on a page of the portal's.
    Feed,
    /// By a port of a session's own.
    SessionTcp,
    SessionUdp,
}

/// What goes with the visit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Service,
    /// The device itself breaks it first.
    Withdrawal,
    Device,
}

pub struct Held {
    pub kind: Kind,
    pub device_name: String,
    pub device: LabDevice,
    pub services: Vec<Service>,
    visit: Visit,
    web: WebTarget,
    sockets: EchoTarget,
    calls: CallTarget,
    camera: Camera,
    sibling: TcpStream,
    /// Over the same HTTP/2 connection, to another device.
    neighbour: Option<(Incoming, LabDevice)>,
    _targets: Vec<Target>,
}

enum Visit {
    Raw(TcpStream),
    Stream(Incoming),
    Upload(OwnedReadHalf, JoinSet<std::io::Error>),
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Udp(UdpSocket),
    Feed(Box<Feed>),
}

const PORTAL: &str = "portal.gw.test";
const ORIGIN: &str = "http://portal.gw.test";
const SOON: Duration = Duration::from_secs(1);
/// The gateway counts whole milliseconds for the device.
const EARLY: Duration = Duration::from_millis(20);

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::Download,
        Self::Stalled,
        Self::Download2,
        Self::Stalled2,
        Self::Call,
        Self::Events,
        Self::Upload,
        Self::WebSocket,
        Self::Tcp,
        Self::Tls,
        Self::Udp,
        Self::Image,
        Self::Feed,
        Self::SessionTcp,
        Self::SessionUdp,
    ];

    /// The name of the service that it visits.
    pub fn word(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Stalled => "stalled",
            Self::Download2 => "download2",
            Self::Stalled2 => "stalled2",
            Self::Call => "call",
            Self::Events => "events",
            Self::Upload => "upload",
            Self::WebSocket => "live",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Image => "image",
            Self::Feed => "feed",
            Self::SessionTcp => "session-tcp",
            Self::SessionUdp => "session-udp",
        }
    }

    /// Whose session it needs, if it needs one.
    pub fn person(self) -> Option<&'static str> {
        match self {
            Self::SessionTcp | Self::SessionUdp => Some("anna"),
            Self::Download
            | Self::Stalled
            | Self::Download2
            | Self::Stalled2
            | Self::Call
            | Self::Events
            | Self::Upload
            | Self::WebSocket
            | Self::Tcp
            | Self::Tls
            | Self::Udp
            | Self::Image
            | Self::Feed => None,
        }
    }

    /// A policy under which it goes on while these hours last.
    pub fn policy(self, hours: PolicyDocument) -> PolicyDocument {
        match self.person() {
            Some(person) => PolicyDocument { when: hours.when, ..on_request(&[person]) },
            None => hours,
        }
    }
}

impl Held {
    pub async fn open(lab: &Lab, kind: Kind) -> Self {
        Self::open_on(lab, kind, "pi").await
    }

    pub async fn open_on(lab: &Lab, kind: Kind, device_name: &str) -> Self {
        let (web, calls) = (web(respond).await, calls().await);
        let camera = camera::camera(Duration::from_millis(20), 20_000).await;
        let (sockets, echo, fountain) = (websocket::echo().await, target::echo().await, target::udp_fountain().await);
        let url = match kind {
            Kind::Download | Kind::Stalled | Kind::Download2 | Kind::Stalled2 | Kind::Events | Kind::Upload => {
                web.url()
            }
            Kind::WebSocket => sockets.url(),
            Kind::Call => calls.url(),
            Kind::Tcp | Kind::Tls | Kind::SessionTcp => format!("tcp://{}", echo.address),
            Kind::Udp | Kind::SessionUdp => format!("udp://{}", fountain.address),
            Kind::Image | Kind::Feed => String::new(),
        };
        let own = match kind {
            Kind::Image | Kind::Feed => camera.service(kind.word()),
            Kind::Download
            | Kind::Stalled
            | Kind::Download2
            | Kind::Stalled2
            | Kind::Call
            | Kind::Events
            | Kind::Upload
            | Kind::WebSocket
            | Kind::Tcp
            | Kind::Tls
            | Kind::Udp
            | Kind::SessionTcp
            | Kind::SessionUdp => service(kind.word(), &url),
        };
        let mut services = vec![own, service("sibling", &format!("tcp://{}", echo.address))];
        if kind == Kind::Tls {
            services[0].offer.entrances = vec![EntranceWish::Tls(tls_name(device_name))];
        }
        if let Some(person) = kind.person() {
            services[0].offer.entrances = vec![EntranceWish::SessionPort];
            services[0].offer.access = on_request(&[person]);
            lab.person(person).await;
        }
        let device = lab.device(device_name, services.clone()).await;
        let sibling = TcpStream::connect(lab.port(device_name, "sibling", Protocol::Tcp)).await.unwrap();
        let (visit, neighbour) = visit(lab, kind, device_name, &web).await;
        let targets = vec![echo, fountain];
        let device_name = device_name.to_owned();
        let mut held = Self {
            kind,
            device_name,
            device,
            services,
            visit,
            web,
            sockets,
            calls,
            camera,
            sibling,
            neighbour,
            _targets: targets,
        };
        assert!(held.is_alive().await, "{kind:?} runs");
        assert!(is_echoed(&mut held.sibling).await);
        held
    }

    /// Whether something new passes.
    pub async fn is_alive(&mut self) -> bool {
        let mut buffer = [0; 2048];
        match &mut self.visit {
            Visit::Raw(socket) if matches!(self.kind, Kind::Tcp | Kind::Tls | Kind::SessionTcp) => {
                is_echoed(socket).await
            }
            // Events may be rare.
            Visit::Raw(socket) if matches!(self.kind, Kind::Stalled | Kind::Events) => {
                socket.take_error().unwrap().is_none()
            }
            Visit::Raw(socket) => matches!(timeout(LIMIT, socket.read(&mut buffer)).await, Ok(Ok(n)) if n > 0),
            Visit::Stream(_) if self.kind == Kind::Stalled2 => true,
            Visit::Stream(body) => matches!(timeout(LIMIT, body.frame()).await, Ok(Some(Ok(_)))),
            Visit::Upload(_, writing) => writing.try_join_next().is_none(),
            Visit::WebSocket(socket) => websocket::is_answered(socket, Message::text("well?")).await,
            Visit::Udp(socket) => matches!(timeout(LIMIT, socket.recv(&mut buffer)).await, Ok(Ok(n)) if n > 0),
            Visit::Feed(feed) => feed.frame(FEED).await.number > 0,
        }
    }

    /// Within a second of `since`, at the visitor's socket; the target sees a break too, and nothing else ends.
    pub async fn must_be_cut(mut self, since: Instant, cut: Cut) {
        let kind = self.kind;
        let (how, took) = (self.end_of_visit().await, since.elapsed());
        println!("{kind:?}: {how:?} after {took:?}");
        match (kind, cut) {
            // Whoever waits for an answer may still be told that the device broke off.
            (Kind::Upload, Cut::Withdrawal) => assert_ne!(how, Ending::StillOpen),
            _ => assert_eq!(how, Ending::Reset, "{kind:?}"),
        }
        assert!(took < SOON, "{kind:?}: cut after {took:?}");
        assert!(Instant::now() + EARLY > since, "{kind:?}: it ended before its time");
        match kind {
            Kind::Tcp | Kind::Tls | Kind::Udp | Kind::SessionTcp | Kind::SessionUdp => {}
            Kind::Call => assert_eq!(self.calls.reset().await.0, "/endless", "{kind:?} at the target"),
            Kind::Image | Kind::Feed => self.camera.until_let_go().await,
            Kind::WebSocket => assert_eq!(self.sockets.ending().await, Ending::Reset, "{kind:?} at the target"),
            Kind::Download | Kind::Stalled | Kind::Download2 | Kind::Stalled2 | Kind::Events | Kind::Upload => {
                assert_eq!(self.web.ending().await, Ending::Reset, "{kind:?} at the target");
            }
        }
        match cut {
            Cut::Service | Cut::Withdrawal => {
                assert!(is_echoed(&mut self.sibling).await, "{kind:?}: its sibling goes on")
            }
            Cut::Device => assert_eq!(ending(&mut self.sibling, SOON).await, Ending::Reset, "{kind:?}: its sibling"),
        }
        if let Some((neighbour, _)) = &mut self.neighbour {
            let next = timeout(LIMIT, neighbour.frame()).await.expect("the neighbour goes on");
            next.expect("the neighbour goes on").expect("the neighbour goes on");
        }
    }

    async fn end_of_visit(&mut self) -> Ending {
        match &mut self.visit {
            Visit::Raw(socket) if self.kind == Kind::Stalled => {
                let broken = async {
                    while socket.take_error().unwrap().is_none() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                timeout(LIMIT, broken).await.expect("the stalled socket breaks");
                Ending::Reset
            }
            Visit::Raw(socket) => ending(socket, LIMIT).await,
            Visit::Stream(body) => end_of_stream(body).await,
            // The kernel tells of a reset once: to the writer or to the reader.
            Visit::Upload(reader, writing) => match (ending(reader, LIMIT).await, writing.join_next().await) {
                (_, Some(Ok(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => Ending::Reset,
                (how, _) => how,
            },
            Visit::WebSocket(socket) => websocket::until_ended(socket).await,
            Visit::Udp(socket) => dried_up(socket).await,
            Visit::Feed(feed) => until_nothing_comes(feed).await,
        }
    }
}

fn respond(request: &crate::web::Received) -> Answer {
    match request.path() {
        "/events" => {
            let (sender, pieces) = mpsc::unbounded_channel();
            sender.send(b"data: first\n\n".to_vec()).unwrap();
            // Kept for ever: the service says nothing more.
            std::mem::forget(sender);
            Answer::Pieces(EVENTS.to_vec(), pieces)
        }
        "/upload" => Answer::Listen,
        _ => Answer::Endless(ENDLESS.to_vec()),
    }
}

/// The camera's number in the page's feed.
const FEED: u16 = 3;

/// A page is told that there is no more, while its other cameras go on.
async fn until_nothing_comes(feed: &mut Feed) -> Ending {
    loop {
        match feed.next().await {
            Heard::Said(Said::State { camera: FEED, state: State::Ended, .. }) => return Ending::Reset,
            Heard::End(how) => return how,
            Heard::Frame(frame) => feed.shown(FEED, frame.number).await,
            Heard::Said(_) | Heard::Text(_) => {}
        }
    }
}

async fn visit(lab: &Lab, kind: Kind, device: &str, web: &WebTarget) -> (Visit, Option<(Incoming, LabDevice)>) {
    let (host, path) = (format!("{}-{device}.gw.test", kind.word()), format!("/{}", kind.word()));
    let visit = match kind {
        Kind::Download | Kind::Stalled | Kind::Events => {
            let mut socket = TcpStream::connect(lab.http()).await.unwrap();
            socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await.unwrap();
            let mut head = [0; 12];
            socket.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            let mut bytes = Vec::new();
            while kind == Kind::Events && !bytes.ends_with(b"first\n\n\r\n") {
                bytes.push(timeout(LIMIT, socket.read_u8()).await.expect("the first event comes").unwrap());
            }
            Visit::Raw(socket)
        }
        Kind::Download2 | Kind::Stalled2 => {
            let other = lab.device(&format!("by-{device}"), vec![service("page", &web.url())]).await;
            let sender = visitor::http2(lab.https(), &host).await;
            let open = async |host: &str| {
                let request = request2(host, "/endless").body(visitor::nothing()).unwrap();
                timeout(LIMIT, sender.clone().send_request(request)).await.unwrap().unwrap().into_body()
            };
            let neighbour = open(&format!("page-by-{device}.gw.test")).await;
            return (Visit::Stream(open(&host).await), Some((neighbour, other)));
        }
        Kind::Call => {
            let request = request2(&host, "/endless").body(visitor::nothing()).unwrap();
            let answer = visitor::http2(lab.https(), &host).await.send_request(request);
            Visit::Stream(timeout(LIMIT, answer).await.unwrap().unwrap().into_body())
        }
        Kind::Upload => {
            let (reader, mut writer) = TcpStream::connect(lab.http()).await.unwrap().into_split();
            let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n");
            writer.write_all(head.as_bytes()).await.unwrap();
            let mut writing = JoinSet::new();
            let chunk = [b"4000\r\n".as_slice(), &[7; 0x4000], b"\r\n"].concat();
            writing.spawn(async move {
                loop {
                    if let Err(error) = writer.write_all(&chunk).await {
                        return error;
                    }
                }
            });
            until("the upload has begun", async || !web.requests().is_empty()).await;
            Visit::Upload(reader, writing)
        }
        Kind::WebSocket => {
            let socket = TcpStream::connect(lab.http()).await.unwrap();
            Visit::WebSocket(Box::new(websocket::open(socket, &host).await))
        }
        Kind::Tcp => Visit::Raw(TcpStream::connect(lab.port(device, "tcp", Protocol::Tcp)).await.unwrap()),
        Kind::Tls => {
            let mut socket = TcpStream::connect(lab.https()).await.unwrap();
            let mut hello = visitor::hello(tls_name(device).as_str(), &[]);
            socket.write_all(&hello).await.unwrap();
            // The service says back what it hears.
            socket.read_exact(&mut hello).await.unwrap();
            Visit::Raw(socket)
        }
        Kind::Udp => Visit::Udp(begin_flow(lab.port(device, "udp", Protocol::Udp)).await),
        Kind::Image => {
            let mut image = looking::image(lab.http(), &host, "/", false).await;
            image.next().await.unwrap();
            Visit::Raw(image.into_socket())
        }
        Kind::Feed => {
            let login = lab.control().begin_login(OWNER, "Firefox", None, jiff::Timestamp::now()).await.unwrap();
            let cookie = format!("__Host-doorward={}", login.token.expose());
            let mut feed = looking::feed(lab.http(), PORTAL, &cookie, Some(ORIGIN)).await.unwrap();
            feed.name(FEED, &format!("{device}/{}", kind.word())).await;
            feed.watch(FEED, None).await;
            Visit::Feed(Box::new(feed))
        }
        Kind::SessionTcp => Visit::Raw(TcpStream::connect(session_port(lab, kind, device).await).await.unwrap()),
        Kind::SessionUdp => Visit::Udp(begin_flow(session_port(lab, kind, device).await).await),
    };
    (visit, None)
}

async fn begin_flow(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(b"begin").await.unwrap();
    socket
}

async fn session_port(lab: &Lab, kind: Kind, device: &str) -> SocketAddr {
    let person = kind.person().expect("it is a kind with sessions");
    let length = SignedDuration::from_mins(30);
    let session = lab.open_session(person, (device, kind.word()), length, LOOPBACK).await;
    lab.session_port(&session)
}

fn tls_name(device: &str) -> HostName {
    HostName::parse(&format!("tls-{device}.gw.test")).unwrap()
}

async fn end_of_stream(body: &mut Incoming) -> Ending {
    let reading = async {
        loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return Ending::Reset,
                None => return Ending::Finished,
            }
        }
    };
    timeout(LIMIT, reading).await.unwrap_or(Ending::StillOpen)
}

/// A flow that is forgotten says nothing; a few of the fountain's beats of silence are enough to know.
async fn dried_up(socket: &UdpSocket) -> Ending {
    let mut buffer = [0; 2048];
    while let Ok(Ok(_)) = timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await {}
    Ending::Reset
}

async fn is_echoed(socket: &mut TcpStream) -> bool {
    let echoing = async {
        socket.write_all(b"well?").await?;
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await?;
        Ok::<_, std::io::Error>(heard == *b"well?")
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(true)))
}
