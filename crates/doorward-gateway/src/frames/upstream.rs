//! The one stream of a camera, for all who look at it.
//!
//! It runs under the permit of that viewer, among those who look, whose permit ends last. When they leave, or somebody's permit
//! ends later, another one is opened under that permit, and the one before is let go when the first frame has come by the new:
//! the device reads the camera once whoever asks. So no permit is stretched, and none is made for the hub. When nobody looks it
//! is closed at once.

mod pauses;
mod reading;

use super::{Camera, Claim, Hub};
use crate::admit::Admitted;
use doorward_control::CameraSeen;
use doorward_frames::feed::{Message, State};
use doorward_frames::pace::Caps;
use doorward_frames::slot::Writer;
use doorward_tunnel::{OpenError, Stream};
use pauses::Pauses;
use reading::{Over, Reading};
use std::future::pending;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::debug;

/// Neither frame nor word of the device's for so long: it is asked anew.
const SILENCE: Duration = Duration::from_secs(30);
/// Those who look for a moment tend to leave together.
const BEFORE_HAND_OVER: Duration = Duration::from_millis(500);
/// Then what runs under a permit that counts no more goes, whether or not a frame came by the new one.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);
/// The last frame is of use to whoever asks for one picture for so long, and no longer.
pub(super) const FRESH: Duration = Duration::from_secs(2);
/// How often it is told how the camera does, and looked whether something is due.
const BEAT: Duration = Duration::from_secs(1);
/// Whoever wants less than this gets this: what says nothing for longer counts as silent.
const RAREST: f64 = 0.05;

type Opening = Pin<Box<dyn Future<Output = Result<Stream, OpenError>> + Send>>;

pub(super) struct Upstream {
    hub: Arc<Hub>,
    camera: Arc<Camera>,
    writer: Writer,
    current: Option<Reading>,
    /// Until its first frame.
    next: Option<Reading>,
    opening: Option<(u64, Opening)>,
    pauses: Pauses,
    beat: Interval,
    count: Count,
}

/// Since the last beat.
#[derive(Default)]
struct Count {
    frames: u32,
    bytes: u64,
    since: Option<Instant>,
}

/// Whose permit it is to run under, and what all of them want together.
struct Wanted {
    number: u64,
    claim: Claim,
    caps: Caps,
}

impl Upstream {
    pub(super) fn new(hub: Arc<Hub>, camera: Arc<Camera>, writer: Writer) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            hub,
            camera,
            writer,
            current: None,
            next: None,
            opening: None,
            pauses: Pauses::default(),
            beat,
            count: Count::default(),
        }
    }

    /// What all want, as far as the policy lets the camera send.
    fn wanted(&self) -> Option<Wanted> {
        let mut wanted = self.camera.wanted()?;
        let record = self.hub.admission.control.snapshot().service_record(self.camera.key.service);
        if let Some(limits) = record.map(|record| record.service.policy.limits.clone()) {
            wanted.caps = wanted.caps.and(Caps {
                frames_per_second: limits.frames_per_second.map(|rate| f64::from(rate.get())),
                kilobits_per_second: limits.kilobits_per_second.map(NonZeroU32::get),
            });
        }
        Some(wanted)
    }

    pub(super) async fn run(mut self) {
        loop {
            let Some(wanted) = self.wanted() else {
                if self.rest().await {
                    continue;
                }
                return self.hub.admission.control.presence().camera_unseen(&self.camera.key.place());
            };
            self.steer(wanted).await;
            tokio::select! {
                biased;
                () = self.camera.changed.notified() => {}
                (number, opened) = until_opened(&mut self.opening) => self.opened(number, opened).await,
                heard = heard_of(&mut self.next) => self.hear_next(heard).await,
                heard = heard_of(&mut self.current) => self.hear(heard).await,
                _ = self.beat.tick() => self.look_around(),
            }
        }
    }

    /// Nobody looks. `false`: nor does anybody come, and the camera is forgotten.
    async fn rest(&mut self) -> bool {
        (self.current, self.next, self.opening) = (None, None, None);
        self.pauses = Pauses::default();
        self.camera.tell(|news| (news.state, news.text) = (State::Opening, String::new()));
        let came = timeout(FRESH, self.camera.changed.notified()).await;
        came.is_ok() || !self.hub.forget(&self.camera)
    }

    /// Opens what is to be open, and says what is wanted.
    async fn steer(&mut self, wanted: Wanted) {
        let looks = |number: u64| self.camera.viewers().looking.contains_key(&number);
        self.opening = self.opening.take().filter(|(number, _)| looks(*number));
        self.next = self.next.take().filter(|next| looks(next.under));
        for reading in [&mut self.current, &mut self.next] {
            if let Some(open) = reading
                && open.caps != wanted.caps
                && let Err(over) = open.watch(wanted.caps).await
            {
                debug!(%over, "a camera's stream broke");
                *reading = None;
            }
        }
        let is_right = self.current.as_mut().is_some_and(|current| {
            let has_left = !looks(current.under);
            let since = has_left.then(|| *current.left.get_or_insert_with(Instant::now));
            current.under == wanted.number || since.is_some_and(|since| since.elapsed() < BEFORE_HAND_OVER)
        });
        let is_on_its_way = self.opening.is_some() || self.next.is_some();
        if !is_right && !is_on_its_way && self.pauses.is_over() {
            let (admission, admitted) = (self.hub.admission.clone(), wanted.claim.admitted);
            let mount = self.camera.key.mount.clone();
            let opening = async move { admission.open(&admitted, mount).await };
            self.opening = Some((wanted.number, Box::pin(opening)));
        }
    }

    async fn opened(&mut self, number: u64, opened: Result<Stream, OpenError>) {
        let Some(wanted) = self.wanted() else { return };
        let begun = match opened {
            Ok(stream) => Reading::begin(stream, number, wanted.caps).await.map_err(|over| over.to_string()),
            Err(failure) => Err(failure.hop.to_string()),
        };
        match begun {
            Ok(reading) if self.current.is_some() => self.next = Some(reading),
            Ok(reading) => self.current = Some(reading),
            Err(why) => self.failed(State::Failed, why),
        }
    }

    /// It is tried again after a while. Where another stream runs still, nobody need know.
    fn failed(&mut self, state: State, why: String) {
        debug!(%why, "a camera's stream came to nothing");
        self.pauses.failed();
        if self.current.is_none() {
            self.camera.tell(|news| (news.state, news.text) = (state, why));
        }
    }

    async fn hear_next(&mut self, heard: Result<Message, Over>) {
        match heard {
            Ok(message @ Message::Frame { .. }) => {
                self.current = self.next.take();
                self.hear(Ok(message)).await;
            }
            Ok(_) => {}
            Err(over) => {
                self.next = None;
                self.failed(State::Stalled, over.to_string());
            }
        }
    }

    async fn hear(&mut self, heard: Result<Message, Over>) {
        let now = Instant::now();
        match heard {
            Ok(Message::State { state: State::Ended, text, .. }) => {
                self.current = None;
                self.failed(State::Failed, text);
            }
            Ok(Message::State { state, text, .. }) => {
                self.camera.tell(|news| (news.state, news.text) = (state, text));
            }
            Ok(Message::Faults { faults, .. }) => self.camera.tell(|news| news.faults = faults),
            Ok(message) => {
                let Some(frame) = message.into_frame(now) else { return };
                let number = frame.number;
                self.count.frames += 1;
                self.count.bytes += frame.picture.jpeg.len() as u64;
                self.pauses = Pauses::default();
                // After a hand-over the newest comes once more.
                if self.camera.slot.newest().is_none_or(|newest| newest.number != number) {
                    self.writer.put(frame);
                }
                self.camera.tell(|news| {
                    if news.state != State::Live {
                        (news.state, news.text) = (State::Live, String::new());
                    }
                });
                if let Some(Err(over)) = shown(&mut self.current, number).await {
                    self.current = None;
                    self.failed(State::Stalled, over.to_string());
                }
            }
            Err(over) => {
                self.current = None;
                self.failed(State::Stalled, over.to_string());
            }
        }
    }

    fn look_around(&mut self) {
        self.report();
        let is_silent = |reading: &Reading, limit: Duration| reading.last_word.elapsed() >= limit;
        if self.next.as_ref().is_some_and(|next| next.begun.elapsed() >= HAND_OVER_LIMIT) {
            self.current = self.next.take();
        }
        let has_left = |reading: &Reading| reading.left.is_some_and(|left| left.elapsed() >= HAND_OVER_LIMIT);
        if self.current.as_ref().is_some_and(has_left) {
            self.current = None;
        }
        if self.current.as_ref().is_some_and(|current| is_silent(current, SILENCE)) {
            self.current = None;
            self.failed(State::Stalled, format!("nothing came for {} s", SILENCE.as_secs()));
        }
    }

    /// For people.
    fn report(&mut self) {
        let now = Instant::now();
        let count = std::mem::replace(&mut self.count, Count { since: Some(now), ..Count::default() });
        let Some(since) = count.since else { return };
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let (newest, news) = (self.camera.slot.newest(), self.camera.news.borrow().clone());
        let size = newest.as_ref().and_then(|frame| frame.picture.size);
        self.hub.admission.control.presence().camera_seen(
            self.camera.key.place(),
            CameraSeen {
                viewers: u32::try_from(news.viewers).unwrap_or(u32::MAX),
                frames_per_second: f64::from(count.frames) / seconds,
                bytes_per_second: (count.bytes as f64 / seconds) as u64,
                age: newest.map(|frame| now.saturating_duration_since(frame.captured)),
                size: size.map(|size| (size.width, size.height)),
                is_live: news.state == State::Live,
                words: news.text,
                faults: news.faults.to_string(),
            },
        );
    }
}

impl Camera {
    /// `None`: nobody looks.
    fn wanted(&self) -> Option<Wanted> {
        let now = jiff::Timestamp::now();
        let viewers = self.viewers();
        // Of those that end alike the first stays.
        let end = |admitted: &Admitted| admitted.permit.remaining(now).unwrap_or(Duration::MAX).as_secs();
        let last = |(number, claim): &(&u64, &Claim)| (end(&claim.admitted), std::cmp::Reverse(**number));
        let (number, claim) = viewers.looking.iter().max_by_key(last)?;
        let caps = viewers.looking.values().map(|claim| claim.caps).reduce(Caps::or)?;
        let frames_per_second = caps.frames_per_second.map(|rate| rate.max(RAREST));
        Some(Wanted { number: *number, claim: claim.clone(), caps: Caps { frames_per_second, ..caps } })
    }
}

async fn until_opened(opening: &mut Option<(u64, Opening)>) -> (u64, Result<Stream, OpenError>) {
    let Some((number, future)) = opening else { return pending().await };
    let (number, opened) = (*number, future.await);
    *opening = None;
    (number, opened)
}

async fn heard_of(reading: &mut Option<Reading>) -> Result<Message, Over> {
    match reading {
        Some(reading) => reading.next().await,
        None => pending().await,
    }
}

async fn shown(reading: &mut Option<Reading>, number: u32) -> Option<Result<(), Over>> {
    Some(reading.as_mut()?.shown(number).await)
}
