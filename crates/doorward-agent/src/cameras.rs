//! The cameras of this device. Each is read once, over all gateways and whoever watches, since many serve one client only:
//! from its first viewer on, and a little longer than its last one stays.
//!
//! A camera that sends by itself (NetGear) is taken from as long as it is offered: its program would give up otherwise.

mod device;
mod events;
mod http;
mod look;
mod netgear;
mod reader;

pub use look::{Sight, look_at_camera};

use crate::settings::{CameraRhythm, Settings};
use crate::target::Camera;
use doorward_frames::faults::Faults;
use doorward_frames::feed::State;
use doorward_frames::slot::{self, Slot, slot};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Read at once.
pub(crate) const MAX_CAMERAS: usize = 32;

#[derive(Default)]
pub(crate) struct Cameras {
    readings: Mutex<Vec<Reading>>,
    /// Of whatever is begun to be read from now on.
    rhythm: Mutex<CameraRhythm>,
}

struct Reading {
    camera: Camera,
    slot: Slot,
    news: watch::Receiver<News>,
    _task: AbortOnDropHandle<()>,
}

/// What a viewer has of a camera. It is read on while there is one of these.
pub(crate) struct Watching {
    pub(crate) frames: slot::Reader,
    pub(crate) news: watch::Receiver<News>,
}

/// How a camera does, in words that name no address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) state: State,
    pub(crate) text: String,
    /// All since it is being read.
    pub(crate) faults: Faults,
}

#[derive(Debug, Error)]
#[error("this device reads {MAX_CAMERAS} cameras already")]
pub(crate) struct TooMany;

impl Cameras {
    pub(crate) fn new(rhythm: CameraRhythm) -> Self {
        Self { readings: Mutex::default(), rhythm: Mutex::new(rhythm) }
    }

    /// Begins to read the camera, unless that is done already.
    pub(crate) fn watch(self: &Arc<Self>, camera: &Camera) -> Result<Watching, TooMany> {
        let mut readings = self.readings();
        // One that ended by a mistake of ours is begun anew.
        readings.retain(|reading| !reading.slot.is_closed());
        if let Some(reading) = readings.iter().find(|reading| reading.camera == *camera) {
            return Ok(reading.watch());
        }
        if readings.len() >= MAX_CAMERAS {
            return Err(TooMany);
        }
        let reading = Reading::start(camera, self);
        let watching = reading.watch();
        readings.push(reading);
        Ok(watching)
    }

    /// Ends the reading of each camera that is not offered any more, for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>, mut settings: watch::Receiver<Arc<Settings>>) {
        loop {
            let offered = settings.borrow_and_update().clone();
            *self.rhythm() = offered.camera_rhythm;
            self.keep(&offered.cameras().collect::<Vec<_>>());
            if settings.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn keep(self: &Arc<Self>, offered: &[&Camera]) {
        self.readings().retain(|reading| offered.contains(&&reading.camera));
        for camera in offered.iter().filter(|camera| comes_by_itself(camera)) {
            // The first that is watched beyond what can be read is told so.
            let _ = self.watch(camera);
        }
    }

    /// The camera is not read any more, if nobody watches it.
    fn rest(&self, camera: &Camera) -> bool {
        let mut readings = self.readings();
        let at = readings.iter().position(|reading| reading.camera == *camera && reading.slot.readers() == 0);
        at.map(|at| readings.swap_remove(at)).is_some()
    }

    fn readings(&self) -> MutexGuard<'_, Vec<Reading>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rhythm(&self) -> MutexGuard<'_, CameraRhythm> {
        self.rhythm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn start(camera: &Camera, cameras: &Arc<Cameras>) -> Self {
        let (writer, slot) = slot();
        let beginning = News { state: State::Opening, text: String::new(), faults: Faults::default() };
        let (told, news) = watch::channel(beginning);
        let (of, rhythm, owner): (_, _, Weak<Cameras>) = (camera.clone(), *cameras.rhythm(), Arc::downgrade(cameras));
        let task = AbortOnDropHandle::new(tokio::spawn(reader::run(of, rhythm, writer, told, owner)));
        Self { camera: camera.clone(), slot, news, _task: task }
    }

    fn watch(&self) -> Watching {
        Watching { frames: self.slot.read(), news: self.news.clone() }
    }
}

fn comes_by_itself(camera: &Camera) -> bool {
    match camera {
        Camera::NetGear { .. } => true,
        Camera::Web(_) | Camera::Device(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;
    use tokio::time::timeout;

    fn camera(number: usize) -> Camera {
        Camera::Device(PathBuf::from(format!("/nonexistent/{number}")))
    }

    #[tokio::test]
    async fn no_more_cameras_are_read_than_may_be_and_one_that_is_watched_twice_counts_once() {
        let cameras = Arc::<Cameras>::default();
        let watching: Vec<_> = (0..MAX_CAMERAS).map(|number| cameras.watch(&camera(number)).unwrap()).collect();
        assert!(cameras.watch(&camera(0)).is_ok());
        let refused = cameras.watch(&camera(MAX_CAMERAS)).map(drop).unwrap_err();
        assert!(refused.to_string().contains("32 cameras"), "{refused}");
        assert_eq!(watching.len(), MAX_CAMERAS);
    }

    #[tokio::test]
    async fn what_is_not_offered_any_more_ends_and_what_is_stays() {
        let cameras = Arc::<Cameras>::default();
        let (mut gone, kept) = (cameras.watch(&camera(1)).unwrap(), cameras.watch(&camera(2)).unwrap());
        cameras.keep(&[&camera(2)]);
        let ended = timeout(Duration::from_secs(5), gone.frames.next()).await;
        assert_eq!(ended.expect("its slot closes"), None);
        assert!(kept.news.has_changed().is_ok(), "this one is read on");
    }
}
