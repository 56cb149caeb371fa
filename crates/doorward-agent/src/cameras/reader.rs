//! One camera, from its first viewer to a little after its last: what its source tells goes into the slot.

use super::events::{Event, Events, Trouble};
use super::{Cameras, News, comes_by_itself, device, http, netgear};
use crate::settings::CameraRhythm;
use crate::target::Camera;
use doorward_frames::Frame;
use doorward_frames::demand::{Demand, Verdict};
use doorward_frames::feed::State;
use doorward_frames::slot::Writer;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// `every`: from one picture to the next, where there is no stream.
pub(super) async fn source(camera: &Camera, every: Duration, events: &Events) -> Infallible {
    match camera {
        Camera::Web(camera) => http::read(camera, every, events).await,
        Camera::NetGear { host, port } => netgear::read(host, *port, events).await,
        Camera::Device(path) => device::read(path, events).await,
    }
}

pub(super) async fn run(
    camera: Camera,
    rhythm: CameraRhythm,
    writer: Writer,
    news: watch::Sender<News>,
    cameras: Weak<Cameras>,
) {
    let (events, mut heard) = mpsc::channel(1);
    let events = Events::new(events);
    let mut source = pin!(source(&camera, rhythm.every, &events));
    let mut reader = Reader { camera: &camera, writer, news, number: 0 };
    let (mut demand, mut viewers) = (Demand::new(rhythm.linger), 0);
    loop {
        let rest = until_rest(&camera, &demand);
        tokio::select! {
            never = &mut source => match never {},
            Some(event) = heard.recv() => reader.hear(event),
            now = reader.writer.readers_other_than(viewers) => {
                viewers = now;
                demand.viewers(viewers, Instant::now().into_std());
            }
            () = rest => match cameras.upgrade() {
                Some(cameras) if !cameras.rest(&camera) => {}
                Some(_) | None => return,
            },
        }
    }
}

async fn until_rest(camera: &Camera, demand: &Demand) {
    match demand.verdict(Instant::now().into_std()) {
        Verdict::Read => pending().await,
        Verdict::Linger { .. } | Verdict::Rest if comes_by_itself(camera) => pending().await,
        Verdict::Linger { until } => sleep_until(until.into()).await,
        Verdict::Rest => {}
    }
}

struct Reader<'a> {
    camera: &'a Camera,
    writer: Writer,
    news: watch::Sender<News>,
    number: u32,
}

impl Reader<'_> {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Picture(picture) => {
                self.number = self.number.wrapping_add(1);
                self.writer.put(Frame { number: self.number, captured: Instant::now().into_std(), picture });
                self.state(State::Live, String::new());
            }
            Event::Trouble(Trouble { state, text }) => self.state(state, text),
            Event::Faults(faults) => drop(self.news.send_if_modified(|news| {
                let is_new = news.faults != faults;
                news.faults = faults;
                is_new
            })),
        }
    }

    /// Logged when it changes, however often it is tried.
    fn state(&self, state: State, text: String) {
        let camera = self.camera.place();
        self.news.send_if_modified(|news| {
            if news.state == state && news.text == text {
                return false;
            }
            match state {
                State::Live if news.state != State::Opening => info!(camera, "pictures come again"),
                State::Opening | State::Live | State::Ended => {}
                State::Stalled | State::Failed => warn!(camera, "no pictures: {text}"),
            }
            (news.state, news.text) = (state, text);
            true
        });
    }
}
