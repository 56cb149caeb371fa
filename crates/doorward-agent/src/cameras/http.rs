//! Cameras that speak HTTP: an endless answer is cut into pictures, a single picture is asked for again and again.

mod asking;
mod authorization;

use super::events::{Events, Trouble};
use crate::target::WebCamera;
use ::http::HeaderName;
use ::http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use asking::{Answer, Asking};
use doorward_frames::faults::Faults;
use doorward_frames::health::STALLED_AFTER;
use doorward_frames::snapshots::{self, Conditions, Polled, Polling};
use doorward_frames::splitter::{Kind, Limits, Splitter};
use doorward_frames::{PICTURE_LIMIT, Picture};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// `every`: from one picture to the next, where it has no stream.
pub(super) async fn read(camera: &WebCamera, every: Duration, events: &Events) -> Infallible {
    let mut reading = Reading { asking: Asking::new(camera), every, events, faults: Faults::default(), pictures: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        let before = reading.pictures;
        let Err(trouble) = reading.once().await;
        // Some serve one client only: they must see that it is gone.
        reading.asking.hang_up();
        pause = if reading.pictures > before { FIRST_PAUSE } else { pause };
        events.trouble(trouble).await;
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Reading<'a> {
    asking: Asking<'a>,
    every: Duration,
    events: &'a Events,
    /// Of the connections before this one.
    faults: Faults,
    pictures: u64,
}

impl Reading<'_> {
    /// As long as one connection, or one row of questions, goes well.
    async fn once(&mut self) -> Result<Infallible, Trouble> {
        let answer = self.asking.ask(&Conditions::default()).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Trouble::failed(format!("the camera answers {}", status.as_u16())));
        }
        match Kind::of(text(&answer, CONTENT_TYPE)) {
            Kind::Stream => self.stream(answer).await,
            Kind::Picture => self.poll(answer).await,
            Kind::Other => Err(Trouble::failed(
                "it answers with something that is no picture: the path of its target is wrong, or it wants a password",
            )),
        }
    }

    async fn stream(&mut self, answer: Answer) -> Result<Infallible, Trouble> {
        let mut splitter = Splitter::new(text(&answer, CONTENT_TYPE), Limits::default());
        let Err(trouble) = self.cut_up(answer.into_body(), &mut splitter).await;
        let (last, faults) = splitter.finish();
        if let Some(picture) = last {
            self.show(picture).await;
        }
        self.faults = self.with(&faults);
        self.events.faults(self.faults).await;
        Err(trouble)
    }

    async fn cut_up(&mut self, mut body: Incoming, splitter: &mut Splitter) -> Result<Infallible, Trouble> {
        loop {
            let piece = timeout(STALLED_AFTER, body.frame()).await.map_err(|_| silent())?;
            let piece = piece.ok_or_else(|| Trouble::stalled("it ended its stream"))?;
            let piece = piece.map_err(|error| Trouble::stalled(format!("its stream broke: {error}")))?;
            let mut bytes = piece.data_ref().map(AsRef::as_ref).unwrap_or_default();
            while let Some(picture) = splitter.next(&mut bytes).map_err(|error| Trouble::failed(error.to_string()))? {
                self.show(picture).await;
            }
            self.events.faults(self.with(splitter.faults())).await;
        }
    }

    async fn poll(&mut self, first: Answer) -> Result<Infallible, Trouble> {
        let mut polling = Polling::new(self.every);
        let mut answer = first;
        loop {
            let began = Instant::now();
            let polled = judge(&mut polling, answer).await?;
            if let Polled::New(picture) = polled {
                self.show(picture).await;
            }
            sleep(polling.pause(began.elapsed())).await;
            answer = self.asking.ask(&polling.conditions()).await?;
        }
    }

    async fn show(&mut self, picture: Picture) {
        self.pictures += 1;
        self.events.picture(picture).await;
    }

    fn with(&self, faults: &Faults) -> Faults {
        let mut all = self.faults;
        faults.met().for_each(|(fault, count)| all.add(fault, count));
        all
    }
}

fn silent() -> Trouble {
    Trouble::stalled(format!("nothing came from it for {} s", STALLED_AFTER.as_secs()))
}

async fn judge(polling: &mut Polling, answer: Answer) -> Result<Polled, Trouble> {
    let status = answer.status().as_u16();
    let header = |name| text(&answer, name).map(str::to_owned);
    let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
    let body = timeout(STALLED_AFTER, Limited::new(answer.into_body(), PICTURE_LIMIT).collect()).await;
    let body = body.map_err(|_| Trouble::stalled("its picture did not come to an end"))?;
    let body = body.map_err(|error| Trouble::failed(format!("its picture cannot be read: {error}")))?.to_bytes();
    let (etag, last_modified) = (etag.as_deref(), last_modified.as_deref());
    let answer = snapshots::Answer { status, etag, last_modified, body: &body };
    polling.judge(&answer).map_err(|error| Trouble::failed(error.to_string()))
}

fn text(answer: &Answer, name: HeaderName) -> Option<&str> {
    answer.headers().get(name)?.to_str().ok()
}
