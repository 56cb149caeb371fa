//! Cameras by hand, and what a gateway says and hears in a camera's stream.

use super::gateway::TestLink;
use super::{PATIENCE, soon};
use bytes::Bytes;
use doorward_frames::PICTURE_LIMIT;
use doorward_frames::faults::Faults;
use doorward_frames::feed::{Decoder, Message, State};
use doorward_frames::pace::Caps;
use doorward_tunnel::Stream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub const PICTURE: &[u8] = include_bytes!("../../../doorward-frames/tests/picture.jpg");

/// What a connection to a camera by hand does, by how many there were before it.
pub trait Manner: Fn(usize, String) -> Vec<Said> + Send + Sync + 'static {}
impl<F: Fn(usize, String) -> Vec<Said> + Send + Sync + 'static> Manner for F {}

pub enum Said {
    Bytes(Vec<u8>),
    /// Again and again, every few ms, until the other side is gone.
    Forever(Vec<u8>, Duration),
    /// Nothing, with the connection open.
    Silence,
}

pub struct Camera {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Camera {
    /// `manner` gets the head of the request.
    pub async fn start(manner: impl Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, manner) = (Arc::new(AtomicUsize::new(0)), Arc::new(manner));
        let mut tasks = JoinSet::new();
        let counted = connections.clone();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let before = counted.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(socket, before, manner.clone()));
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    pub fn target(&self, path: &str) -> String {
        format!("camera+http://{}{path}", self.address)
    }
}

async fn serve(mut socket: TcpStream, before: usize, manner: Arc<impl Manner>) {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        let mut piece = [0; 1024];
        let Ok(length @ 1..) = socket.read(&mut piece).await else { return };
        request.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    for said in manner(before, request) {
        match said {
            Said::Bytes(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Said::Forever(bytes, every) => {
                while socket.write_all(&bytes).await.is_ok() {
                    sleep(every).await;
                }
            }
            Said::Silence => drop(socket.read(&mut [0]).await),
        }
    }
}

/// The head of an answer without end.
pub fn stream_of(content_type: &str) -> Said {
    Said::Bytes(format!("HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n").into_bytes())
}

/// A part as it should be.
pub fn part(boundary: &str) -> Vec<u8> {
    let head = format!("--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", PICTURE.len());
    [head.as_bytes(), PICTURE, b"\r\n"].concat()
}

/// A camera as it should be.
pub fn good(_before: usize, _request: String) -> Vec<Said> {
    let every = Duration::from_millis(20);
    vec![stream_of("multipart/x-mixed-replace;boundary=frame"), Said::Forever(part("frame"), every)]
}

/// A gateway's end of a camera's stream.
pub struct Viewer {
    stream: Stream,
    decoder: Decoder,
    unread: Vec<u8>,
}

impl Viewer {
    /// With no caps.
    pub async fn open(link: &TestLink, service: &str) -> Self {
        Self::over(link.open(service).await.unwrap()).await
    }

    pub async fn over(stream: Stream) -> Self {
        let mut viewer = Self::of(stream);
        viewer.say(Message::Watch { camera: 0, caps: Caps::default() }).await;
        viewer
    }

    /// It has not said yet what it wants.
    pub fn of(stream: Stream) -> Self {
        Self { stream, decoder: Decoder::new(PICTURE_LIMIT), unread: Vec::new() }
    }

    pub async fn say(&mut self, message: Message) {
        self.stream.write_all(&message.encode().concat()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn shown(&mut self, number: u32) {
        self.say(Message::Shown { camera: 0, number }).await;
    }

    /// `None`: the stream ended.
    pub async fn hear(&mut self) -> Option<Message> {
        let hearing = async {
            loop {
                let mut bytes = &self.unread[..];
                let message = self.decoder.next(&mut bytes).unwrap();
                let left = bytes.to_vec();
                self.unread = left;
                if message.is_some() {
                    return message;
                }
                let mut piece = vec![0; 64 * 1024];
                match self.stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return None,
                    Ok(length) => self.unread = piece[..length].to_vec(),
                }
            }
        };
        soon("a message of the feed", hearing).await
    }

    /// The next frame's number and picture, not acknowledged.
    pub async fn frame(&mut self) -> (u32, Bytes) {
        let seeking = async {
            loop {
                if let Message::Frame { number, picture, .. } = self.hear().await.expect("the stream goes on") {
                    return (number, picture.jpeg);
                }
            }
        };
        soon("a frame", seeking).await
    }

    /// Of a frame of a camera by hand.
    pub async fn number(&mut self) -> u32 {
        let (number, jpeg) = self.frame().await;
        assert_eq!(jpeg, PICTURE);
        number
    }

    pub async fn shown_number(&mut self) -> u32 {
        let number = self.number().await;
        self.shown(number).await;
        number
    }

    /// Acknowledges what comes until the camera is said to be so; in which words.
    pub async fn until_state(&mut self, wanted: State) -> String {
        let seeking = async {
            loop {
                match self.hear().await.expect("the stream goes on") {
                    Message::State { state, text, .. } if state == wanted => return text,
                    Message::Frame { number, .. } => self.shown(number).await,
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, seeking).await.unwrap_or_else(|_| panic!("no {wanted:?}"))
    }

    /// The same until faults are told of which `are_those` is true.
    pub async fn until_faults(&mut self, are_those: impl Fn(&Faults) -> bool) {
        let seeking = async {
            loop {
                match self.hear().await.expect("the stream goes on") {
                    Message::Faults { faults, .. } if are_those(&faults) => return,
                    Message::Frame { number, .. } => self.shown(number).await,
                    _ => {}
                }
            }
        };
        soon("faults", seeking).await;
    }
}
