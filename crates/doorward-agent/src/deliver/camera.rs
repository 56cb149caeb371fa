//! A camera's stream to a gateway: frames of `doorward_frames::feed`, each the newest when it is taken, no more of them on
//! their way than the line carries, and in between how the camera does. It ends as every visit.

use super::{ANSWER_LIMIT, Failure, refuse};
use crate::cameras::{Cameras, News, Watching};
use crate::counts::Counts;
use crate::target::Camera;
use bytes::Bytes;
use doorward_core::hop::HopFailure;
use doorward_frames::faults::Faults;
use doorward_frames::feed::{self, Decoder, FeedError, Message, State};
use doorward_frames::flight::Flight;
use doorward_frames::pace::{Caps, Pace};
use doorward_frames::slot::{self, Seen};
use doorward_tunnel::{Stream, Visit};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

/// In a camera's own stream there is no other.
const NUMBER: u16 = 0;
/// A gateway takes longer silence for a stall (30 s), and hears of faults no more often.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// What a gateway says is short.
const READ_AT_ONCE: usize = 1024;
/// For one frame. A line that carries less does not carry pictures.
const WRITE_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Error)]
enum Broken {
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("a frame was not taken within {} s", WRITE_LIMIT.as_secs())]
    Stuck,
}

/// Answered as soon as the camera is known: whether it shows anything is told in the stream.
pub(super) async fn deliver(
    visit: Visit,
    camera: &Camera,
    (cameras, counts): (&Arc<Cameras>, &Counts),
    cut: impl Future<Output = ()>,
) {
    if visit.is_flow() {
        return refuse(visit, Failure::new(HopFailure::AgentRefused, "the service takes no UDP")).await;
    }
    let service = visit.service.clone();
    let watching = match cameras.watch(camera) {
        Ok(watching) => watching,
        Err(too_many) => return refuse(visit, Failure::new(HopFailure::Busy, too_many.to_string())).await,
    };
    let Ok(Ok(stream)) = timeout(ANSWER_LIMIT, visit.accept()).await else { return };
    let mut sending = Sending::new(stream.counted_in(counts.of(&service)), watching);
    let end = tokio::select! {
        biased;
        () = cut => "cut".to_owned(),
        end = sending.run() => end.map_or_else(|broken| format!("broken: {broken}"), |()| "finished".to_owned()),
    };
    debug!(%service, "a camera's stream ended: {end}");
}

struct Sending {
    from_gateway: ReadHalf<Stream>,
    to_gateway: WriteHalf<Stream>,
    frames: slot::Reader,
    news: watch::Receiver<News>,
    decoder: Decoder,
    /// `None`: the gateway has not said yet what it wants.
    pace: Option<Pace>,
    flight: Flight,
    told_faults: Faults,
    tell_at: Instant,
}

/// What is to be done next.
enum Next {
    Heard(usize),
    Frame(Option<Seen>),
    News,
    Tell,
    /// A frame may be due now.
    Again,
}

impl Sending {
    fn new(stream: Stream, Watching { frames, news }: Watching) -> Self {
        let (from_gateway, to_gateway) = tokio::io::split(stream);
        Self {
            from_gateway,
            to_gateway,
            frames,
            news,
            decoder: Decoder::new(0),
            pace: None,
            flight: Flight::default(),
            told_faults: Faults::default(),
            tell_at: Instant::now(),
        }
    }

    async fn run(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; READ_AT_ONCE];
        loop {
            match self.next(&mut buffer).await? {
                // Its side ended: nobody watches any more.
                Next::Heard(0) => return self.finish().await,
                Next::Heard(length) => {
                    if !self.hear(&buffer[..length])? {
                        return self.finish().await;
                    }
                }
                Next::Frame(Some(seen)) => self.send(&seen).await?,
                Next::Frame(None) => {
                    let ended = Message::State { camera: NUMBER, state: State::Ended, text: String::new() };
                    self.write(ended.encode()).await?;
                    return self.finish().await;
                }
                Next::News => self.tell_state().await?,
                Next::Tell => self.tell().await?,
                Next::Again => {}
            }
        }
    }

    async fn next(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        let now = Instant::now().into_std();
        let wait = self.pace.as_ref().filter(|_| !self.flight.is_full(now)).map(|pace| pace.wait(now));
        tokio::select! {
            heard = self.from_gateway.read(buffer) => heard.map(Next::Heard),
            // Its sender is gone with the camera, which the slot says as well.
            Ok(()) = self.news.changed() => Ok(Next::News),
            () = sleep_until(self.tell_at) => Ok(Next::Tell),
            seen = self.frames.next(), if wait.is_some_and(|wait| wait.is_zero()) => Ok(Next::Frame(seen)),
            () = sleep(wait.unwrap_or_default()), if wait.is_some_and(|wait| !wait.is_zero()) => Ok(Next::Again),
        }
    }

    /// `false`: it wants no more.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<bool, FeedError> {
        let now = Instant::now().into_std();
        while let Some(message) = self.decoder.next(&mut bytes)? {
            match message {
                Message::Watch { caps, .. } => self.watch(caps),
                Message::Shown { number, .. } => self.flight.shown(number, now),
                Message::Leave { .. } => return Ok(false),
                // What only the other side says.
                Message::Frame { .. } | Message::State { .. } | Message::Faults { .. } => {}
            }
        }
        Ok(true)
    }

    fn watch(&mut self, caps: Caps) {
        let now = Instant::now().into_std();
        match &mut self.pace {
            Some(pace) => pace.change(caps, now),
            None => self.pace = Some(Pace::new(caps, now)),
        }
    }

    async fn send(&mut self, Seen { frame, skipped }: &Seen) -> Result<(), Broken> {
        let now = Instant::now().into_std();
        let pieces = feed::frame(NUMBER, frame, now);
        let length = pieces.iter().map(Bytes::len).sum();
        self.flight.sent(frame.number, *skipped, now);
        if let Some(pace) = &mut self.pace {
            pace.sent(length, now);
        }
        self.write(pieces).await
    }

    /// Every now and then: that the stream lives, and what was mended meanwhile.
    async fn tell(&mut self) -> Result<(), Broken> {
        let faults = self.news.borrow().faults;
        if faults != self.told_faults {
            self.told_faults = faults;
            self.write(Message::Faults { camera: NUMBER, faults }.encode()).await?;
        }
        self.tell_at = Instant::now() + TELL_EVERY;
        self.tell_state().await
    }

    async fn tell_state(&mut self) -> Result<(), Broken> {
        let News { state, text, .. } = self.news.borrow_and_update().clone();
        self.write(Message::State { camera: NUMBER, state, text }.encode()).await
    }

    async fn write(&mut self, pieces: [Bytes; 2]) -> Result<(), Broken> {
        let writing = async {
            for piece in pieces {
                self.to_gateway.write_all(&piece).await?;
            }
            self.to_gateway.flush().await
        };
        Ok(timeout(WRITE_LIMIT, writing).await.map_err(|_| Broken::Stuck)??)
    }

    async fn finish(&mut self) -> Result<(), Broken> {
        Ok(timeout(ANSWER_LIMIT, self.to_gateway.shutdown()).await.map_err(|_| Broken::Stuck)??)
    }
}
