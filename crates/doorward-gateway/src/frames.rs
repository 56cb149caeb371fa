//! Cameras at the gateway: one stream from the device for all who look, whatever they look by. Here is who looks at which
//! camera; who may was decided before, for each of them, and what ends their visit ends their part in it.
//!
//! ```text
//! device ══ upstream ─→ slot ─┬→ image     a browser's <img>, or anything that speaks HTTP
//!                             ├→ snapshot  one picture
//!                             └→ feed      a page that looks at many
//! ```

pub(crate) mod asked;
pub(crate) mod entrance;
mod feed;
mod image;
mod snapshot;
mod upstream;

use crate::admit::{Admission, Admitted};
use crate::tasks::Tasks;
use doorward_control::CameraPlace;
use doorward_core::names::PathPrefix;
use doorward_core::{AccountId, ServiceId};
use doorward_frames::faults::Faults;
use doorward_frames::feed::State;
use doorward_frames::pace::Caps;
use doorward_frames::slot::{Reader, Slot, slot};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use upstream::Upstream;

/// Feeds that one person may have open: browsers' windows.
const FEEDS_OF_AN_ACCOUNT: usize = 8;
/// Where the policy says nothing of visits at once.
const MOST_VIEWERS: usize = 200;

/// Pictures a second up to which a camera is merely in sight, as on the dashboard: whoever uses it wants more.
const GLIMPSES: f64 = 1.0;

/// Which camera: a service, or what is mounted at a path of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) service: ServiceId,
    pub(crate) mount: Option<PathPrefix>,
}

impl Key {
    /// As pages know it.
    fn place(&self) -> CameraPlace {
        CameraPlace { service: self.service, mount: self.mount.clone() }
    }
}

/// The cameras that somebody looks at.
#[derive(Clone)]
pub(crate) struct Frames(Arc<Hub>);

struct Hub {
    admission: Admission,
    tasks: Tasks,
    cameras: Mutex<HashMap<Key, Arc<Camera>>>,
    feeds: Mutex<HashMap<AccountId, usize>>,
}

/// One that somebody looks at, or did a moment ago.
struct Camera {
    key: Key,
    slot: Slot,
    viewers: Mutex<Viewers>,
    /// Viewers came, went, or want something else.
    changed: Notify,
    news: watch::Sender<News>,
}

#[derive(Default)]
struct Viewers {
    last: u64,
    looking: BTreeMap<u64, Claim>,
}

/// What one viewer brings: a permit by which the camera may be read, and how much they want.
#[derive(Clone)]
struct Claim {
    admitted: Arc<Admitted>,
    caps: Caps,
}

/// How a camera does, for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct News {
    state: State,
    /// More, in words of whoever read the camera.
    text: String,
    faults: Faults,
    viewers: usize,
}

/// Somebody who looks; until it is dropped.
pub(crate) struct Viewer {
    camera: Arc<Camera>,
    number: u64,
    admitted: Arc<Admitted>,
}

/// As many look as may at once.
#[derive(Debug, PartialEq, Eq)]
struct Crowded;

impl Frames {
    pub(crate) fn new(admission: Admission, tasks: Tasks) -> Self {
        Self(Arc::new(Hub { admission, tasks, cameras: Mutex::default(), feeds: Mutex::default() }))
    }

    /// From now on the camera is read for them, too.
    fn look(&self, key: Key, admitted: Admitted, caps: Caps) -> Result<Viewer, Crowded> {
        let admitted = Arc::new(admitted);
        let mut cameras = self.0.cameras();
        let camera = cameras.entry(key.clone()).or_insert_with(|| self.begin(key)).clone();
        // While the table is held the camera cannot come to its end.
        let number = camera.viewers().enter(Claim { admitted: admitted.clone(), caps })?;
        drop(cameras);
        camera.look_again();
        Ok(Viewer { camera, number, admitted })
    }

    fn begin(&self, key: Key) -> Arc<Camera> {
        let (writer, slot) = slot();
        let news = watch::Sender::new(News::default());
        let camera = Arc::new(Camera { key, slot, viewers: Mutex::default(), changed: Notify::new(), news });
        self.0.tasks.spawn(Upstream::new(self.0.clone(), camera.clone(), writer).run());
        camera
    }

    /// `None`: this person has as many as may be.
    fn feed_of(&self, account: AccountId) -> Option<FeedPlace> {
        let mut feeds = self.0.feeds();
        let count = feeds.entry(account).or_default();
        if *count >= FEEDS_OF_AN_ACCOUNT {
            return None;
        }
        *count += 1;
        Some(FeedPlace { hub: self.0.clone(), account })
    }
}

impl Hub {
    fn cameras(&self) -> MutexGuard<'_, HashMap<Key, Arc<Camera>>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a camera that nobody looks at; `false`: somebody does.
    fn forget(&self, camera: &Camera) -> bool {
        let mut cameras = self.cameras();
        if !camera.viewers().looking.is_empty() {
            return false;
        }
        cameras.remove(&camera.key);
        true
    }
}

impl Viewers {
    fn enter(&mut self, claim: Claim) -> Result<u64, Crowded> {
        if self.looking.len() >= MOST_VIEWERS && claim.admitted.service.policy.limits.connections.is_none() {
            return Err(Crowded);
        }
        self.last += 1;
        self.looking.insert(self.last, claim);
        Ok(self.last)
    }
}

impl Camera {
    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_again(&self) {
        let viewers = self.viewers().looking.len();
        self.tell(|news| news.viewers = viewers);
        self.changed.notify_one();
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        self.news.send_if_modified(|news| {
            let before = news.clone();
            change(news);
            *news != before
        });
    }
}

impl Default for News {
    fn default() -> Self {
        Self { state: State::Opening, text: String::new(), faults: Faults::default(), viewers: 0 }
    }
}

impl Viewer {
    fn reader(&self) -> Reader {
        self.camera.slot.read()
    }

    fn news(&self) -> watch::Receiver<News> {
        self.camera.news.subscribe()
    }

    /// They want more or less from now on.
    fn wish(&self, caps: Caps) {
        if let Some(claim) = self.camera.viewers().looking.get_mut(&self.number) {
            claim.caps = caps;
        }
        self.camera.changed.notify_one();
    }

    /// Something came to them.
    fn passed(&self, bytes: usize) {
        let traffic = self.admitted.presence.traffic();
        traffic.down.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
    }

    /// The same, of a camera that is merely in sight.
    fn glimpsed(&self, bytes: usize) {
        self.admitted.presence.overlook(bytes as u64);
        self.passed(bytes);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.camera.viewers().looking.remove(&self.number);
        self.camera.look_again();
    }
}

/// One of the feeds that a person has open; given back on drop.
struct FeedPlace {
    hub: Arc<Hub>,
    account: AccountId,
}

impl Drop for FeedPlace {
    fn drop(&mut self) {
        let mut feeds = self.hub.feeds();
        if let Some(count) = feeds.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                feeds.remove(&self.account);
            }
        }
    }
}

/// How long it may take until somebody who comes sees something.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(10);
