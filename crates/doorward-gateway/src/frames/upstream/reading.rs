//! A camera's stream that stands: frames and words from the device, wishes and acknowledgements to it.

use doorward_frames::PICTURE_LIMIT;
use doorward_frames::feed::{Decoder, FeedError, Message};
use doorward_frames::pace::Caps;
use doorward_tunnel::Stream;
use std::io;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const BUFFER: usize = 32 * 1024;
/// What is said is a few bytes; a link that does not take them carries nothing.
const SAY_LIMIT: Duration = Duration::from_secs(10);
/// In the stream of one camera, its number.
const CAMERA: u16 = 0;

pub(super) struct Reading {
    stream: Stream,
    decoder: Decoder,
    buffer: Box<[u8]>,
    /// What was read and not decoded.
    held: std::ops::Range<usize>,
    /// Whose permit it runs under.
    pub(super) under: u64,
    /// Since when that viewer is known to look no more.
    pub(super) left: Option<Instant>,
    /// What the device was told last.
    pub(super) caps: Caps,
    pub(super) begun: Instant,
    /// When the device said something last.
    pub(super) last_word: Instant,
}

#[derive(Debug, Error)]
pub(super) enum Over {
    #[error("the device ended it")]
    Ended,
    #[error("it broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the device does not take what it is told")]
    Stuck,
    #[error("the device sent what is no feed: {0}")]
    Strange(#[from] FeedError),
}

impl Reading {
    pub(super) async fn begin(stream: Stream, under: u64, caps: Caps) -> Result<Self, Over> {
        let now = Instant::now();
        let (decoder, buffer) = (Decoder::new(PICTURE_LIMIT), vec![0; BUFFER].into_boxed_slice());
        let mut reading =
            Self { stream, decoder, buffer, held: 0..0, under, left: None, caps, begun: now, last_word: now };
        reading.watch(caps).await?;
        Ok(reading)
    }

    pub(super) async fn watch(&mut self, caps: Caps) -> Result<(), Over> {
        self.caps = caps;
        self.say(&Message::Watch { camera: CAMERA, caps }).await
    }

    /// The frame has come: the next may be sent.
    pub(super) async fn shown(&mut self, number: u32) -> Result<(), Over> {
        self.say(&Message::Shown { camera: CAMERA, number }).await
    }

    async fn say(&mut self, message: &Message) -> Result<(), Over> {
        let [whole, _] = message.encode();
        let saying = async {
            self.stream.write_all(&whole).await?;
            self.stream.flush().await
        };
        Ok(timeout(SAY_LIMIT, saying).await.map_err(|_| Over::Stuck)??)
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Message, Over> {
        loop {
            let mut input = &self.buffer[self.held.clone()];
            let message = self.decoder.next(&mut input);
            self.held.start = self.held.end - input.len();
            if let Some(message) = message? {
                self.last_word = Instant::now();
                return Ok(message);
            }
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(Over::Ended);
            }
            self.held = 0..read;
        }
    }
}
