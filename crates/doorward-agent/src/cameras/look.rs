//! One look at a camera, for its owner.

use super::events::{Event, Events};
use super::reader::source;
use crate::settings::CameraRhythm;
use crate::target::Camera;
use doorward_frames::faults::Faults;
use doorward_frames::jpeg::Size;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// What its first picture is like.
#[derive(Debug)]
pub struct Sight {
    /// As the picture says.
    pub size: Option<Size>,
    /// What had to be mended until then.
    pub faults: Faults,
}

/// After the first picture, for what was mended in it.
const A_LITTLE_LONGER: Duration = Duration::from_millis(500);

/// Connects to the camera and lets it go again. One that serves one client only and is being read says so in its way.
pub async fn look_at_camera(camera: &Camera, limit: Duration) -> Result<Sight, String> {
    let (events, mut heard) = mpsc::channel(1);
    let events = Events::new(events);
    let mut source = pin!(source(camera, CameraRhythm::default().every, &events));
    let (mut sight, mut end) = (None, pin!(sleep(limit)));
    loop {
        let event = tokio::select! {
            never = &mut source => match never {},
            event = heard.recv() => event,
            () = &mut end => None,
        };
        match (event, &mut sight) {
            (Some(Event::Picture(picture)), None) => {
                sight = Some(Sight { size: picture.size, faults: Faults::default() });
                end.as_mut().reset(Instant::now() + A_LITTLE_LONGER);
            }
            (Some(Event::Faults(faults)), Some(sight)) => sight.faults = faults,
            (Some(Event::Trouble(trouble)), None) => return Err(trouble.text),
            (Some(Event::Picture(_) | Event::Faults(_) | Event::Trouble(_)), _) => {}
            (None, _) => {
                return sight.take().ok_or_else(|| format!("no picture within {} s", limit.as_secs()));
            }
        }
    }
}
