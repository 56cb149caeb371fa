//! A camera behind a device, as the gateway sees it: the stream of frames by hand, so that a test knows what was sent and when.
//! The lab's agent passes the bytes on as those of any TCP target.

use crate::{LIMIT, LOOPBACK, service};
use bytes::Bytes;
use doorward_agent::Service;
use doorward_core::service::ServiceKind;
use doorward_frames::feed::{self, Decoder, Message, State};
use doorward_frames::flight::Flight;
use doorward_frames::pace::Pace;
use doorward_frames::slot::{Slot, Writer, slot};
use doorward_frames::{Frame, Picture};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub struct Camera {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    slot: Slot,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    opened: AtomicUsize,
    open: AtomicUsize,
    /// Of frames, towards the gateway.
    bytes: AtomicU64,
    frames: AtomicU64,
    is_silent: AtomicBool,
}

/// A JPEG with a number in it; its walk is sound, and decoders need not like it.
pub fn picture(number: u32, bytes: usize) -> Bytes {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xfe, 0, 6];
    jpeg.extend(number.to_be_bytes().map(|byte| byte & 0x7f));
    jpeg.extend([0xff, 0xc0, 0, 11, 8, 0, 24, 0, 32, 1, 1, 0x11, 0]);
    jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    jpeg.resize(bytes.saturating_sub(2).max(jpeg.len() + 1), 0x55);
    jpeg.extend([0xff, 0xd9]);
    jpeg.into()
}

/// So many frames a second of so many bytes, one after the other from 1 on.
pub async fn camera(every: Duration, bytes: usize) -> Camera {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (writer, slot) = slot();
    let seen = Arc::<Seen>::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(film(writer, every, bytes));
    let (given, frames) = (seen.clone(), slot.clone());
    tasks.spawn(async move {
        let mut streams = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let (seen, frames) = (given.clone(), frames.clone());
            streams.spawn(async move {
                seen.opened.fetch_add(1, Ordering::Relaxed);
                seen.open.fetch_add(1, Ordering::Relaxed);
                serve(socket, &frames, &seen).await;
                seen.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Camera { address, seen, slot, _tasks: tasks }
}

async fn film(writer: Writer, every: Duration, bytes: usize) {
    let mut beat = tokio::time::interval(every);
    for number in 1.. {
        beat.tick().await;
        let picture = Picture::read(&picture(number, bytes)).expect("it is a picture");
        writer.put(Frame { number, captured: Instant::now(), picture });
    }
}

impl Camera {
    /// As a device offers it.
    pub fn service(&self, name: &str) -> Service {
        let mut service = service(name, &format!("tcp://{}", self.address));
        service.offer.kind = ServiceKind::Camera;
        service.offer.entrances.clear();
        service
    }

    /// Streams that were ever opened.
    pub fn opened(&self) -> usize {
        self.seen.opened.load(Ordering::Relaxed)
    }

    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::Relaxed)
    }

    /// Bytes of frames that went up.
    pub fn bytes(&self) -> u64 {
        self.seen.bytes.load(Ordering::Relaxed)
    }

    pub fn frames(&self) -> u64 {
        self.seen.frames.load(Ordering::Relaxed)
    }

    /// The number of the newest frame that there is.
    pub fn newest(&self) -> u32 {
        self.slot.newest().map_or(0, |frame| frame.number)
    }

    /// Nobody reads it any more.
    pub async fn until_let_go(&self) {
        let started = Instant::now();
        while self.open() > 0 {
            assert!(started.elapsed() < LIMIT, "it is being read still");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Says from now on that the camera does not answer.
    pub fn fall_silent(&self, is_silent: bool) {
        self.seen.is_silent.store(is_silent, Ordering::Relaxed);
    }
}

async fn serve(socket: TcpStream, slot: &Slot, seen: &Seen) {
    let (reader, mut writer) = socket.into_split();
    let (heard, mut said) = mpsc::channel(64);
    let mut hearing = JoinSet::new();
    hearing.spawn(listen(reader, heard));
    let Some(Message::Watch { caps, .. }) = said.recv().await else { return };
    let (mut frames, mut flight, mut pace) = (slot.read(), Flight::default(), Pace::new(caps, Instant::now()));
    if seen.is_silent.load(Ordering::Relaxed) {
        let words = Message::State { camera: 0, state: State::Failed, text: "no camera answers".to_owned() };
        let _ = writer.write_all(&words.encode().concat()).await;
        while said.recv().await.is_some() {}
        return;
    }
    loop {
        let now = Instant::now();
        let has_room = !flight.is_full(now);
        let next = async {
            sleep(pace.wait(now)).await;
            frames.next().await
        };
        tokio::select! {
            message = said.recv() => match message {
                Some(Message::Watch { caps, .. }) => pace.change(caps, Instant::now()),
                Some(Message::Shown { number, .. }) => flight.shown(number, Instant::now()),
                Some(_) => {}
                None => return,
            },
            frame = next, if has_room => {
                let Some(doorward_frames::slot::Seen { frame, skipped }) = frame else { return };
                let now = Instant::now();
                flight.sent(frame.number, skipped, now);
                pace.sent(frame.picture.jpeg.len(), now);
                if send(&mut writer, &frame, seen).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, frame: &Frame, seen: &Seen) -> std::io::Result<()> {
    for piece in feed::frame(0, frame, Instant::now()) {
        seen.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        writer.write_all(&piece).await?;
    }
    seen.frames.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn listen(mut reader: OwnedReadHalf, heard: mpsc::Sender<Message>) {
    let (mut decoder, mut buffer) = (Decoder::new(0), [0; 4096]);
    while let Ok(read @ 1..) = reader.read(&mut buffer).await {
        let mut input = &buffer[..read];
        while let Some(message) = decoder.next(&mut input).expect("the gateway speaks the feed") {
            if heard.send(message).await.is_err() {
                return;
            }
        }
    }
}
