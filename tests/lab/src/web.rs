//! A web service for the lab that keeps every byte: it notes each request as it came, answers with what the test
//! wrote, and tells how its connections ended.

use crate::visitor::Ending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub struct WebTarget {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    endings: mpsc::UnboundedReceiver<Ending>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    requests: Mutex<Vec<Received>>,
}

/// A request as it arrived: the head to the byte, the body without its framing, trailers.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
}

/// What the service does with a request.
pub enum Answer {
    /// These bytes, after the body was read.
    Whole(Vec<u8>),
    /// These bytes before the body is read.
    Early(Vec<u8>),
    /// These bytes, and then chunks without end.
    Endless(Vec<u8>),
    /// These bytes, and then whatever the test sends, piece by piece.
    Pieces(Vec<u8>, mpsc::UnboundedReceiver<Vec<u8>>),
    /// What comes is read and forgotten, and nothing is said.
    Listen,
}

pub const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: video/x\r\ntransfer-encoding: chunked\r\n\r\n";
pub const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

pub fn ok(body: &str) -> Answer {
    Answer::Whole(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

pub async fn web(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> WebTarget {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, endings) = mpsc::unbounded_channel();
    let (seen, answer) = (Arc::<Seen>::default(), Arc::new(answer));
    let task = tokio::spawn({
        let seen = seen.clone();
        async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                seen.accepted.fetch_add(1, Ordering::Relaxed);
                let (seen, answer, ended) = (seen.clone(), answer.clone(), ended.clone());
                tokio::spawn(async move {
                    let ending = serve(socket, &seen, &*answer).await;
                    let _ = ended.send(ending);
                });
            }
        }
    });
    WebTarget { address, seen, endings, task }
}

impl WebTarget {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn last(&self) -> Received {
        self.requests().pop().expect("a request came")
    }

    /// How the next connection ended.
    pub async fn ending(&mut self) -> Ending {
        timeout(crate::LIMIT, self.endings.recv()).await.expect("a connection ends in time").unwrap()
    }
}

impl Drop for WebTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came more than once: {all:?}");
        all.first().copied()
    }
}

async fn serve(socket: TcpStream, seen: &Seen, answer: &(impl Fn(&Received) -> Answer + Sync)) -> Ending {
    let mut io = BufReader::new(socket);
    loop {
        match exchange(&mut io, seen, answer).await {
            Ok(true) => {}
            Ok(false) => return Ending::Finished,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ending::Finished,
            Err(_) => return Ending::Reset,
        }
    }
}

async fn exchange(
    io: &mut BufReader<TcpStream>,
    seen: &Seen,
    answer: &(impl Fn(&Received) -> Answer + Sync),
) -> std::io::Result<bool> {
    let head = head(io).await?;
    if head.is_empty() {
        return Ok(false);
    }
    let mut request = Received { head, ..Received::default() };
    match answer(&request) {
        Answer::Whole(bytes) => {
            read_body(io, &mut request).await?;
            seen.requests.lock().unwrap().push(request);
            io.write_all(&bytes).await?;
        }
        Answer::Early(bytes) => {
            seen.requests.lock().unwrap().push(request.clone());
            io.write_all(&bytes).await?;
            read_body(io, &mut request).await?;
        }
        Answer::Listen => {
            seen.requests.lock().unwrap().push(request);
            let mut buffer = vec![0; 64 * 1024];
            while io.read(&mut buffer).await? > 0 {}
            return Ok(false);
        }
        Answer::Endless(bytes) => {
            seen.requests.lock().unwrap().push(request);
            io.write_all(&bytes).await?;
            let chunk = [b"4000\r\n".as_slice(), &[7; 0x4000], b"\r\n"].concat();
            let (mut reader, mut writer) = io.get_mut().split();
            tokio::select! {
                broken = async { loop { if let Err(e) = writer.write_all(&chunk).await { break e } } } => return Err(broken),
                gone = reader.read_u8() => return gone.map(|_| true),
            }
        }
        Answer::Pieces(bytes, mut pieces) => {
            seen.requests.lock().unwrap().push(request);
            io.write_all(&bytes).await?;
            loop {
                tokio::select! {
                    piece = pieces.recv() => match piece {
                        Some(piece) => io.write_all(&piece).await?,
                        None => return Ok(false),
                    },
                    gone = io.read_u8() => return gone.map(|_| true),
                }
            }
        }
    }
    Ok(true)
}

/// Bytes that are not ASCII are kept, each as one character (ISO 8859-1).
async fn head(io: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if io.read_until(b'\n', &mut bytes).await? == 0 {
            return Ok(String::new());
        }
    }
    Ok(bytes.iter().map(|b| char::from(*b)).collect())
}

async fn read_body(io: &mut BufReader<TcpStream>, request: &mut Received) -> std::io::Result<()> {
    if request.all("transfer-encoding").iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            if io.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            io.read_exact(&mut chunk).await?;
            request.body.extend_from_slice(&chunk[..size]);
        }
        while !request.trailers.ends_with("\r\n\r\n") && request.trailers != "\r\n" {
            if io.read_line(&mut request.trailers).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok(());
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body = vec![0; length];
    io.read_exact(&mut request.body).await?;
    Ok(())
}
