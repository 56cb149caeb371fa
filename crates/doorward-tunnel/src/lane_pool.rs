//! The gateway's stock of lanes (see `lane`): which idle, how more are asked for, and how a connection that says it is
//! a lane finds the link that it belongs to.

use crate::gateway_end::{OpenError, answer};
use crate::handshake::{self, LaneSecret};
use crate::lane::LaneStream;
use crate::link::{LinkId, Speaker};
use crate::messages::{LaneHello, LanesWanted, Message};
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Stream;
use doorward_core::hop::HopFailure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Lanes that idle, and the wish for more.
pub(crate) struct LanePool {
    id: LinkId,
    idle: Mutex<Vec<Pipe>>,
    ready: Semaphore,
    waiting: AtomicUsize,
    asked: Mutex<(usize, Instant)>,
    pulse: Arc<Pulse>,
    speaker: Speaker,
    doors: std::sync::Weak<LaneDoors>,
    /// Ends the streams with the link.
    gone: CancellationToken,
}

/// Kept ready beyond what is in use, so that the next visit need not wait for a handshake.
const SPARE_LANES: usize = 1;
const MAX_IDLE_LANES: usize = 32;
/// Asked-for lanes that have not come by then will not come.
const LANE_PATIENCE: Duration = Duration::from_secs(3);
/// How often a visit that waits for a lane looks whether it was asked for.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Counts a visit that waits for a lane, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LanePool {
    pub(crate) async fn open(self: &Arc<Self>, open: &Message) -> Result<Stream, OpenError> {
        // Every idle lane may be dead, but an agent that answers none of so many does not want to.
        for _ in 0..=MAX_IDLE_LANES {
            let mut pipe = self.take().await.ok_or(OpenError::new(HopFailure::DeviceOffline))?;
            if pipe.write_all(&open.encode()).await.is_err() || pipe.flush().await.is_err() {
                continue;
            }
            let pool = self.clone();
            match answer(&mut pipe).await {
                Some(Ok(())) => {
                    let home = Box::new(move |pipe| pool.put_back(pipe));
                    return Ok(Stream::lane(LaneStream::new(pipe, self.pulse.clone(), &self.gone, home)));
                }
                Some(Err(failure)) => {
                    pool.put_back(pipe);
                    return Err(failure);
                }
                // This lane was dead; the agent never saw the open, or never answered it.
                None => {}
            }
        }
        Err(OpenError::new(HopFailure::DeviceOffline))
    }

    async fn take(&self) -> Option<Pipe> {
        let waiting = Waiting::new(&self.waiting);
        let permit = loop {
            self.ask();
            // A wish may get lost: no room on the control stream, or a dial that failed.
            if let Ok(permit) = timeout(ASK_AGAIN, self.ready.acquire()).await {
                break permit;
            }
        };
        drop(waiting);
        permit.ok()?.forget();
        let pipe = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        self.ask();
        pipe
    }

    /// A lane came, new or used.
    fn put_back(&self, pipe: Pipe) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_LANES && !self.ready.is_closed() {
            idle.push(pipe);
            self.ready.add_permits(1);
        }
    }

    fn arrived(&self, pipe: Pipe) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.0 = asked.0.saturating_sub(1);
        drop(asked);
        self.put_back(pipe);
    }

    fn ask(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        let wanted = self.waiting.load(Ordering::Relaxed) + SPARE_LANES;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.1.elapsed() >= LANE_PATIENCE {
            asked.0 = 0;
        }
        let missing = wanted.saturating_sub(idle + asked.0);
        let count = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing > 0 && self.speaker.mention(Message::LanesWanted(LanesWanted { count })) {
            *asked = (asked.0 + missing, Instant::now());
        }
    }

    pub(crate) fn close(&self) {
        self.gone.cancel();
        self.ready.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(doors) = self.doors.upgrade() {
            doors.close(self.id);
        }
    }
}

/// Where lanes find their links.
#[derive(Default)]
pub(crate) struct LaneDoors {
    links: Mutex<std::collections::HashMap<LinkId, (LaneSecret, Arc<LanePool>)>>,
}

impl LaneDoors {
    pub(crate) fn open(
        self: &Arc<Self>,
        id: LinkId,
        secret: LaneSecret,
        pulse: Arc<Pulse>,
        speaker: Speaker,
    ) -> Arc<LanePool> {
        let pool = Arc::new(LanePool {
            id,
            idle: Mutex::default(),
            ready: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            asked: Mutex::new((0, Instant::now())),
            pulse,
            speaker,
            doors: Arc::downgrade(self),
            gone: CancellationToken::new(),
        });
        self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (secret, pool.clone()));
        pool
    }

    fn close(&self, id: LinkId) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Gives a proved lane to its link; `false` if there is no such link or no proof.
    pub(crate) fn enter(&self, lane: &LaneHello, channel: handshake::Channel) -> bool {
        let Ok(id) = <[u8; 16]>::try_from(lane.link.as_slice()) else { return false };
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((secret, pool)) = links.get(&LinkId(id)) else { return false };
        if !handshake::is_lane_proof(secret, &channel.exporter, &lane.proof) {
            return false;
        }
        let pool = pool.clone();
        drop(links);
        pool.arrived(channel.pipe);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_end::{Arrival, OpenRequest};
    use crate::handshake::{Channel, Claims, Introduction};
    use crate::messages::Site;
    use doorward_core::names::Label;
    use doorward_core::site::Carrier;

    fn arrival(doors: &Arc<LaneDoors>) -> (Arrival, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(4096);
        let introduction =
            Introduction { instance: [3; 16], epoch: 5, join: None, software: String::new(), metered: false };
        let arrival = Arrival {
            claims: Claims { device_key: [1; 32], capability: 1, introduction },
            carrier: Carrier::Memory,
            peer: ([127, 0, 0, 1], 0).into(),
            channel: Channel { pipe: Box::new(near), exporter: [2; 32] },
            quic: None,
            doors: doors.clone(),
        };
        (arrival, far)
    }

    #[tokio::test]
    async fn no_link_leaves_a_door_open_however_it_ends() {
        let doors = Arc::new(LaneDoors::default());
        let open_doors = || doors.links.lock().unwrap().len();
        let name = Label::parse("pi").unwrap();

        let (unheard, far) = arrival(&doors);
        drop(far);
        assert!(unheard.welcome(&name, Site::default()).await.is_err());
        assert_eq!(open_doors(), 0, "the welcome did not arrive");

        let (never_run, _far) = arrival(&doors);
        let standing = never_run.welcome(&name, Site::default()).await.unwrap();
        assert_eq!(open_doors(), 1);
        drop(standing);
        assert_eq!(open_doors(), 0, "its driver never ran");

        let (aborted, _far) = arrival(&doors);
        let standing = aborted.welcome(&name, Site::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(1), standing.driver).await.is_err());
        assert_eq!(open_doors(), 0, "its driver was dropped");
        let request = OpenRequest { service: name, remaining: None, source: [127, 0, 0, 1].into() };
        let opened = timeout(Duration::from_secs(1), standing.link.open(&request)).await.unwrap();
        assert_eq!(opened.err().unwrap().hop, HopFailure::DeviceOffline);
    }
}
