//! The gateway's stock of lanes (see `lane`): which idle, how more are asked for, and how a connection that says it is
//! a lane finds the link that it belongs to.
//!
//! An idle lane's path may die without a word (a NAT forgets it), while the link lives on. An open that is sent into such
//! a path cannot be sent again over another lane: unanswered is not undelivered, and a slow target looks the same. So
//! a lane that idled proves that it lives *before* it gets an open; the latest used comes first and mostly need not.

use crate::gateway_link::{OpenError, answer};
use crate::handshake::{self, LaneSecret};
use crate::lane::LaneStream;
use crate::link::{LinkId, Speaker};
use crate::messages::{LaneHello, LanesWanted, Message};
use crate::pipe::Pipe;
use crate::pulse::Pulse;
use crate::stream::Stream;
use crate::wire::{STRANGER_LIMIT, read_frame};
use doorward_core::hop::HopFailure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Lanes that idle, and the wish for more.
pub(crate) struct LanePool {
    id: LinkId,
    /// The latest used is the last.
    idle: Mutex<Vec<Idle>>,
    ready: Semaphore,
    waiting: AtomicUsize,
    asked: Mutex<(usize, Instant)>,
    pulse: Arc<Pulse>,
    speaker: Speaker,
    doors: std::sync::Weak<LaneDoors>,
    /// Beside QUIC no stream needs a lane: one that comes is a sentinel, and somebody waits for its end.
    sentinels: Option<mpsc::Sender<Pipe>>,
    /// Ends the streams with the link.
    gone: CancellationToken,
}

struct Idle {
    pipe: Pipe,
    since: Instant,
}

/// Kept ready beyond what is in use, so that the next visit need not wait for a handshake.
const SPARE_LANES: usize = 1;
const MAX_IDLE_LANES: usize = 32;
/// Asked-for lanes that have not come by then will not come.
const LANE_PATIENCE: Duration = Duration::from_secs(3);
/// How often a visit that waits for a lane looks whether it was asked for.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A lane that idled for longer has to prove that it lives: a round trip more for the first visit after a pause.
const FRESH: Duration = Duration::from_secs(10);
/// How long it may take to. The visit has to wait for another lane after that, within `OPEN_LIMIT`.
const PROOF_LIMIT: Duration = Duration::from_secs(2);

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
            let mut pipe = self.take_living().await.ok_or(OpenError::new(HopFailure::DeviceOffline))?;
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

    async fn take_living(&self) -> Option<Pipe> {
        loop {
            let Idle { mut pipe, since } = self.take().await?;
            if since.elapsed() < FRESH || matches!(timeout(PROOF_LIMIT, answers(&mut pipe)).await, Ok(true)) {
                return Some(pipe);
            }
            pipe.abort();
            // Those that idle for longer are no better, and would take their time to say so.
            self.idle().retain(|other| other.since > since);
        }
    }

    async fn take(&self) -> Option<Idle> {
        let waiting = Waiting::new(&self.waiting);
        let lane = loop {
            self.ask();
            // A wish may get lost: no room on the control stream, or a dial that failed.
            let Ok(permit) = timeout(ASK_AGAIN, self.ready.acquire()).await else { continue };
            permit.ok()?.forget();
            let taken = self.idle().pop();
            // There is none where those that were ready have been given up.
            if let Some(lane) = taken {
                break lane;
            }
        };
        drop(waiting);
        self.ask();
        Some(lane)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane came, new or used.
    fn put_back(&self, pipe: Pipe) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE_LANES && !self.ready.is_closed() {
            idle.push(Idle { pipe, since: Instant::now() });
            self.ready.add_permits(1);
        }
    }

    fn arrived(&self, pipe: Pipe) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.0 = asked.0.saturating_sub(1);
        drop(asked);
        match &self.sentinels {
            // Whoever dials more of them than are listened to has them closed.
            Some(sentinels) => drop(sentinels.try_send(pipe)),
            None => self.put_back(pipe),
        }
    }

    fn ask(&self) {
        let idle = self.idle().len();
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
        self.idle().clear();
        if let Some(doors) = self.doors.upgrade() {
            doors.close(self.id);
        }
    }
}

/// Whether the agent answers on an idle lane.
async fn answers(pipe: &mut Pipe) -> bool {
    if pipe.write_all(&Message::Ping.encode()).await.is_err() || pipe.flush().await.is_err() {
        return false;
    }
    let heard = read_frame(pipe, STRANGER_LIMIT).await;
    matches!(heard, Ok(Some(frame)) if matches!(Message::decode(&frame), Ok(Message::Pong)))
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
        sentinels: Option<mpsc::Sender<Pipe>>,
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
            sentinels,
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
        let (pool, mut pipe) = (pool.clone(), channel.pipe);
        drop(links);
        // The agent asks, as often as its NAT needs it; here the watch over the link does.
        pipe.keep_alive(None);
        pool.arrived(pipe);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_end::Arrival;
    use crate::gateway_link::{OPEN_LIMIT, OpenRequest};
    use crate::handshake::{Channel, Claims, Introduction};
    use crate::messages::{Open, Site};
    use doorward_core::Secret;
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
        let request = OpenRequest { service: name, remaining: None, source: [127, 0, 0, 1].into(), mount: None };
        let opened = timeout(Duration::from_secs(1), standing.link.open(&request)).await.unwrap();
        assert_eq!(opened.err().unwrap().hop, HopFailure::DeviceOffline);
    }

    /// A pool without idle lanes, its wishes, and the agent's ends of lanes as they are made.
    fn pool() -> (Arc<LanePool>, mpsc::Receiver<Message>) {
        let (speaker, wishes) = Speaker::new();
        let doors = Arc::new(LaneDoors::default());
        (doors.open(LinkId::new(), Secret::new([0; 32]), Arc::default(), speaker, None), wishes)
    }

    fn lane(pool: &LanePool) -> tokio::io::DuplexStream {
        let (near, far) = tokio::io::duplex(4096);
        pool.arrived(Box::new(near));
        far
    }

    async fn hear(lane: &mut tokio::io::DuplexStream) -> Option<Message> {
        let frame = read_frame(lane, STRANGER_LIMIT).await.ok().flatten()?;
        Some(Message::decode(&frame).unwrap())
    }

    fn visit() -> Message {
        Message::Open(Open { service: "tree".into(), ..Open::default() })
    }

    /// Opens a visit while the agent does its part.
    async fn open<T>(pool: &Arc<LanePool>, agent: impl Future<Output = T>) -> (Result<Stream, OpenError>, T) {
        let visit = visit();
        let both = async { tokio::join!(pool.open(&visit), agent) };
        timeout(OPEN_LIMIT, both).await.expect("an answer in time")
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_that_swallow_what_they_get_hold_a_visit_for_two_seconds_and_get_no_open() {
        let (pool, mut wishes) = pool();
        let mut dead: Vec<_> = (0..5).map(|_| lane(&pool)).collect();
        tokio::time::advance(FRESH).await;
        while wishes.try_recv().is_ok() {}
        let start = Instant::now();
        let agent = async {
            assert!(matches!(wishes.recv().await, Some(Message::LanesWanted(_))), "another lane is wished for");
            let mut fresh = lane(&pool);
            assert_eq!(hear(&mut fresh).await, Some(visit()), "a new lane gets the open and nothing else");
            fresh.write_all(&Message::Opened.encode()).await.unwrap();
            fresh
        };
        let (opened, _fresh) = open(&pool, agent).await;
        assert!(opened.is_ok());
        assert!(start.elapsed() <= PROOF_LIMIT + Duration::from_millis(100), "{:?}", start.elapsed());
        let mut heard = Vec::new();
        for lane in &mut dead {
            while let Some(message) = hear(lane).await {
                heard.push(message);
            }
        }
        assert_eq!(heard, [Message::Ping], "one of them was asked, none got the open, and all are given up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_idled_and_lives_gets_the_open_after_its_answer() {
        let (pool, _wishes) = pool();
        let mut agent = lane(&pool);
        tokio::time::advance(FRESH).await;
        let answering = async {
            assert_eq!(hear(&mut agent).await, Some(Message::Ping));
            agent.write_all(&Message::Pong.encode()).await.unwrap();
            assert_eq!(hear(&mut agent).await, Some(visit()));
            agent.write_all(&Message::Opened.encode()).await.unwrap();
        };
        let (opened, ()) = open(&pool, answering).await;
        assert!(opened.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_used_lane_comes_first_and_is_trusted() {
        let (pool, _wishes) = pool();
        let _idle = lane(&pool);
        tokio::time::advance(FRESH).await;
        let mut latest = lane(&pool);
        let answering = async {
            assert_eq!(hear(&mut latest).await, Some(visit()));
            latest.write_all(&Message::Opened.encode()).await.unwrap();
        };
        let (opened, ()) = open(&pool, answering).await;
        assert!(opened.is_ok());
    }
}
