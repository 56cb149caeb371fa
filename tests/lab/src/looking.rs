//! Visitors who look at cameras: by an `<img>`, and by a page's feed.

use crate::LIMIT;
use crate::visitor::Ending;
use doorward_frames::feed::{Decoder, Message as Said};
use doorward_frames::pace::Caps;
use doorward_frames::{Frame, PICTURE_LIMIT};
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// An `<img>` over HTTP/1.1.
pub struct Image<S> {
    pub socket: S,
    unread: Vec<u8>,
}

/// Asks for a camera's stream. `small`: with as little as the kernel lets wait at this end.
pub async fn image(gateway: SocketAddr, host: &str, path: &str, is_small: bool) -> Image<TcpStream> {
    let socket = if is_small { small(gateway).await } else { TcpStream::connect(gateway).await.unwrap() };
    image_over(socket, host, path, "").await
}

/// A connection at whose end little may wait.
pub async fn small(gateway: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(gateway).await.unwrap()
}

impl Image<TcpStream> {
    pub fn into_socket(self) -> TcpStream {
        self.socket
    }
}

/// `headers`: further lines of the request, each with its end.
pub async fn image_over<S: AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut socket: S,
    host: &str,
    path: &str,
    headers: &str,
) -> Image<S> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut image = Image { socket, unread: Vec::new() };
    let head = timeout(LIMIT, image.until(b"\r\n\r\n")).await.expect("an answer").expect("an answer");
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("multipart/x-mixed-replace;boundary="), "{head}");
    for header in ["cache-control: no-store", "x-content-type-options: nosniff", "sandbox"] {
        assert!(head.contains(header), "{header}: {head}");
    }
    image
}

impl<S: AsyncRead + Unpin> Image<S> {
    /// Up to and with this; `None`: the connection ended.
    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            let mut piece = [0; 4096];
            let read = self.socket.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            self.unread.extend_from_slice(&piece[..read]);
        }
    }

    /// The number of the next frame.
    pub async fn next(&mut self) -> Option<u32> {
        let next = async {
            self.until(b"X-Frame: ").await?;
            let number = self.until(b"\r\n").await?;
            String::from_utf8(number).ok()?.trim().parse().ok()
        };
        timeout(LIMIT, next).await.expect("a frame comes, or an end")
    }
}

/// A page's WebSocket.
pub struct Feed {
    socket: WebSocketStream<TcpStream>,
}

#[derive(Debug)]
pub enum Heard {
    Frame(Frame),
    Said(Said),
    Text(serde_json::Value),
    End(Ending),
}

/// `cookie`: of somebody who is signed in at the portal.
pub async fn feed(gateway: SocketAddr, portal: &str, cookie: &str, origin: Option<&str>) -> Result<Feed, Error> {
    let mut request = format!("ws://{portal}/frames/feed").into_client_request().unwrap();
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    let socket = TcpStream::connect(gateway).await.unwrap();
    let (socket, _) = timeout(LIMIT, client_async(request, socket)).await.expect("an answer")?;
    Ok(Feed { socket })
}

impl Feed {
    pub async fn name(&mut self, number: u16, service: &str) {
        let naming = serde_json::json!({ "cameras": [{ "number": number, "service": service }] });
        self.socket.send(Message::text(naming.to_string())).await.unwrap();
    }

    pub async fn say(&mut self, said: Said) {
        self.socket.send(Message::Binary(said.encode().concat().into())).await.unwrap();
    }

    pub async fn watch(&mut self, camera: u16, rate: Option<f64>) {
        let caps = Caps { frames_per_second: rate, kilobits_per_second: None };
        self.say(Said::Watch { camera, caps }).await;
    }

    pub async fn shown(&mut self, camera: u16, number: u32) {
        self.say(Said::Shown { camera, number }).await;
    }

    pub async fn next(&mut self) -> Heard {
        loop {
            return match timeout(LIMIT, self.socket.next()).await.expect("something is heard") {
                Some(Ok(Message::Binary(bytes))) => {
                    let said = Decoder::new(PICTURE_LIMIT).next(&mut &bytes[..]).unwrap().expect("a whole message");
                    match said {
                        Said::Frame { .. } => Heard::Frame(said.into_frame(Instant::now()).unwrap()),
                        said => Heard::Said(said),
                    }
                }
                Some(Ok(Message::Text(text))) => Heard::Text(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    Heard::End(Ending::Reset)
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End(Ending::Finished),
            };
        }
    }

    /// The next frame of any camera, drawn at once.
    pub async fn frame(&mut self, camera: u16) -> Frame {
        loop {
            match self.next().await {
                Heard::Frame(frame) => {
                    self.shown(camera, frame.number).await;
                    return frame;
                }
                Heard::Said(_) | Heard::Text(_) => {}
                Heard::End(how) => panic!("the feed ended: {how:?}"),
            }
        }
    }
}
