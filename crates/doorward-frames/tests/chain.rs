//! A camera's bytes on their whole way, with nothing but polls: split at the device, sent on in a feed with few frames on
//! their way, held at the gateway, and shown to a quick and to a slow viewer.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use doorward_frames::feed::{self, Decoder, Message};
use doorward_frames::flight::Flight;
use doorward_frames::mjpeg::{Boundary, Part, Parts};
use doorward_frames::pace::{Caps, Pace};
use doorward_frames::slot::{Reader, Slot, Writer, slot};
use doorward_frames::splitter::{Limits, Splitter};
use doorward_frames::{Frame, PICTURE_LIMIT, Picture};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

const CAMERA: &str = "multipart/x-mixed-replace; boundary=--camera";
const JPEG: &[u8] = include_bytes!("picture.jpg");
const FRAMES: u32 = 300;
/// Between two frames of the camera.
const EVERY: Duration = Duration::from_millis(50);

fn newest(reader: &mut Reader) -> Option<(Frame, u64)> {
    match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(seen)) => Some((seen.frame, seen.skipped)),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

/// A picture with its number in a comment.
fn jpeg(number: u32) -> Vec<u8> {
    [&JPEG[..2], &[0xff, 0xfe, 0, 6], &number.to_be_bytes(), &JPEG[2..]].concat()
}

fn number_in(picture: &Picture) -> u32 {
    u32::from_be_bytes(picture.jpeg[6..10].try_into().unwrap())
}

struct Agent {
    splitter: Splitter,
    writer: Writer,
    reader: Reader,
    flight: Flight,
    read: u32,
}

impl Agent {
    fn new() -> Self {
        let (writer, slot) = slot();
        let splitter = Splitter::new(Some(CAMERA), Limits::default());
        Self { splitter, writer, reader: slot.read(), flight: Flight::default(), read: 0 }
    }

    fn hears(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            if let Some(picture) = self.splitter.next(&mut bytes).unwrap() {
                self.read += 1;
                self.writer.put(Frame { number: self.read, captured: now, picture });
            }
        }
    }

    fn says(&mut self, now: Instant) -> Vec<u8> {
        if self.flight.is_full(now) {
            return Vec::new();
        }
        let Some((frame, skipped)) = newest(&mut self.reader) else { return Vec::new() };
        self.flight.sent(frame.number, skipped, now);
        feed::frame(0, &frame, now).concat()
    }
}

struct Gateway {
    decoder: Decoder,
    writer: Writer,
    slot: Slot,
}

impl Gateway {
    /// What came, and is acknowledged.
    fn hears(&mut self, mut bytes: &[u8], now: Instant) -> Vec<u32> {
        let mut shown = Vec::new();
        while let Some(message) = self.decoder.next(&mut bytes).unwrap() {
            let frame = Message::into_frame(message, now).unwrap();
            shown.push(frame.number);
            self.writer.put(frame);
        }
        shown
    }
}

struct Viewer {
    reader: Reader,
    parts: Parts,
    pace: Pace,
    browser: Splitter,
    seen: Vec<(u32, Duration)>,
}

impl Viewer {
    fn new(slot: &Slot, caps: Caps, now: Instant) -> Self {
        let parts = Parts::new(Boundary::from_random([7; 16]));
        let browser = Splitter::new(Some(&parts.content_type()), Limits::default());
        Self { reader: slot.read(), parts, pace: Pace::new(caps, now), browser, seen: Vec::new() }
    }

    /// Its pipe takes something now.
    fn takes(&mut self, now: Instant) {
        if !self.pace.wait(now).is_zero() {
            return;
        }
        let Some((frame, _)) = newest(&mut self.reader) else { return };
        let (first, again) = self.parts.write(&frame, Duration::ZERO);
        self.pace.sent(first.bytes(), now);
        for part in [Some(first), again].into_iter().flatten() {
            let bytes = Part::pieces(part).concat();
            let picture = self.browser.next(&mut &bytes[..]).unwrap().unwrap();
            self.seen.push((number_in(&picture), now - frame.captured));
        }
    }
}

#[test]
fn a_slow_viewer_sees_the_newest_frames_and_delays_nobody() {
    let start = Instant::now();
    let mut agent = Agent::new();
    let (writer, slot) = slot();
    let mut gateway = Gateway { decoder: Decoder::new(PICTURE_LIMIT), writer, slot };
    let slow = Caps { frames_per_second: Some(2.0), kilobits_per_second: None };
    let mut viewers = [Caps::default(), slow].map(|caps| Viewer::new(&gateway.slot, caps, start));
    for number in 1..=FRAMES {
        let now = start + EVERY * number;
        let head = "--camera\r\nContent-Type: image/jpeg\r\n\r\n";
        agent.hears(&[head.as_bytes(), &jpeg(number), b"\r\n"].concat(), now);
        let said = agent.says(now);
        for shown in gateway.hears(&said, now) {
            agent.flight.shown(shown, now + Duration::from_millis(20));
        }
        viewers.iter_mut().for_each(|viewer| viewer.takes(now));
    }

    let [quick, slow] = viewers.map(|viewer| viewer.seen);
    // The first comes twice.
    assert_eq!(
        quick.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [&[1][..], &(1..=FRAMES).collect::<Vec<_>>()].concat()
    );
    assert!((30..=32).contains(&slow.len()), "{} frames in 15 s", slow.len());
    assert!(slow.iter().all(|(_, age)| age.is_zero()), "it saw what was past: {slow:?}");
    assert_eq!(agent.splitter.faults().to_string(), format!("dashes-announced {FRAMES}, length-missing {FRAMES}"));
}
