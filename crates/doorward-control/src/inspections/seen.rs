//! One request and its answer, as far as they have come.

use doorward_core::names::PathPrefix;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Nothing in it is a credential: `doorward_core::inspection` leaves those out.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From 1, in the order in which they came.
    pub number: u64,
    pub at: Timestamp,
    pub source: IpAddr,
    /// Whose login or session it came by.
    pub person: Option<String>,
    pub method: String,
    /// As the visitor asked.
    pub path: String,
    /// As the target was asked, and by which of the service's mounts.
    pub target_path: String,
    pub mount: Option<PathPrefix>,
    pub request: Taken,
    pub status: Option<u16>,
    pub answer: Taken,
    /// From the request's head to the answer's.
    pub waited: Option<Duration>,
    /// To the end of all.
    pub took: Option<Duration>,
    pub ending: Ending,
    /// Sent again by its owner.
    pub replay_of: Option<u64>,
    pub replayable: Replayable,
}

/// Headers and body, of either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// With whether something of the value was left out.
    pub headers: Vec<(String, String, bool)>,
    /// How long the body was, as far as it came.
    pub bytes: u64,
    /// `None`: bodies are not looked at.
    pub body: Option<KeptBody>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptBody {
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is under way.
    None,
    Finished,
    /// It became something that is not HTTP any more, as a WebSocket.
    Upgraded,
    /// One side broke it off, or it was cut.
    Broken,
    /// The hop that failed.
    Failed(String),
}

/// Whether it can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayable {
    Yes,
    No(&'static str),
}

/// Of each body.
pub const MOST_BODY: usize = 64 * 1024;

impl Seen {
    /// Why not, if not.
    pub fn replayable(&self) -> Result<(), &'static str> {
        if let Replayable::No(why) = self.replayable {
            return Err(why);
        }
        match &self.request.body {
            _ if self.request.bytes == 0 => Ok(()),
            Some(body) if body.is_whole => Ok(()),
            Some(_) => Err("its body was too long to be kept"),
            None => Err("its body was not kept; look with bodies"),
        }
    }
}

/// Written to by whoever carries it, for as long as it lasts.
#[derive(Clone, Debug)]
pub struct Exchange {
    number: u64,
    with_bodies: bool,
    begun: Instant,
    seen: Arc<Mutex<Seen>>,
}

impl Exchange {
    pub(super) fn new(seen: Seen, with_bodies: bool) -> Self {
        Self { number: seen.number, with_bodies, begun: Instant::now(), seen: Arc::new(Mutex::new(seen)) }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// A piece of the request's body.
    pub fn sent(&self, piece: &[u8]) {
        add(&mut self.lock().request, piece);
    }

    /// A piece of the answer's body.
    pub fn answered_with(&self, piece: &[u8]) {
        add(&mut self.lock().answer, piece);
    }

    pub fn answered(&self, status: u16, headers: Vec<(String, String, bool)>) {
        let mut seen = self.lock();
        seen.status = Some(status);
        seen.waited = Some(self.begun.elapsed());
        let body = self.with_bodies.then(|| KeptBody { is_whole: true, ..KeptBody::default() });
        seen.answer = Taken { headers, bytes: 0, body };
    }

    /// What it comes to first counts.
    pub fn ended(&self, how: Ending) {
        let mut seen = self.lock();
        if seen.ending == Ending::None {
            seen.took = Some(self.begun.elapsed());
            seen.ending = how;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(taken: &mut Taken, piece: &[u8]) {
    taken.bytes += piece.len() as u64;
    let Some(body) = &mut taken.body else { return };
    let room = MOST_BODY - body.bytes.len();
    body.is_whole &= piece.len() <= room;
    body.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
}
