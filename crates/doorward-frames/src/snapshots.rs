//! Cameras that have no stream: their picture is fetched again and again, and most of the time it may be the same.
//!
//! Validators (RFC 9110, 8.8) save the bytes. Cameras get them wrong, so every now and then one is not sent, and who lied
//! once is not asked by them again.

use crate::jpeg::Picture;
use bytes::Bytes;
use std::time::Duration;
use thiserror::Error;

/// After so many answers "not modified" the picture itself is looked at.
const CHECK_AFTER: u32 = 20;
/// `Last-Modified` counts in seconds: whoever asks more often would miss pictures.
const SECONDS_TELL_FROM: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the next request says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Conditions {
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
}

#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub etag: Option<&'a str>,
    pub last_modified: Option<&'a str>,
    pub body: &'a Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    New(Picture),
    Same,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PollError {
    #[error("the camera answers {0}")]
    Status(u16),
    #[error("the answer is no JPEG")]
    NoPicture,
}

#[derive(Debug)]
pub struct Polling {
    every: Duration,
    etag: Option<String>,
    last_modified: Option<String>,
    newest: Option<Bytes>,
    unmodified: u32,
    has_lied: bool,
    failures: u32,
}

impl Polling {
    pub fn new(every: Duration) -> Self {
        Self { every, etag: None, last_modified: None, newest: None, unmodified: 0, has_lied: false, failures: 0 }
    }

    pub fn conditions(&self) -> Conditions {
        if self.has_lied || self.unmodified >= CHECK_AFTER {
            return Conditions::default();
        }
        let is_slow = self.every >= SECONDS_TELL_FROM;
        let if_modified_since = self.last_modified.clone().filter(|_| self.etag.is_none() && is_slow);
        Conditions { if_none_match: self.etag.clone(), if_modified_since }
    }

    pub fn judge(&mut self, answer: &Answer<'_>) -> Result<Polled, PollError> {
        let polled = match answer.status {
            304 if self.newest.is_some() => {
                self.unmodified += 1;
                Ok(Polled::Same)
            }
            200 => Picture::read(answer.body).ok_or(PollError::NoPicture).map(|picture| self.compare(picture, answer)),
            status => Err(PollError::Status(status)),
        };
        match polled {
            Ok(_) => self.failures = 0,
            Err(_) => self.failures = self.failures.saturating_add(1),
        }
        polled
    }

    /// How long to wait after a request that took `took`.
    pub fn pause(&self, took: Duration) -> Duration {
        match self.failures {
            0 => self.every.saturating_sub(took),
            failures => (FIRST_PAUSE * 2_u32.pow(failures.min(6) - 1)).min(LONGEST_PAUSE).max(self.every),
        }
    }

    /// `newest` is the slot's own copy: nothing is held twice.
    fn compare(&mut self, picture: Picture, answer: &Answer<'_>) -> Polled {
        let was_being_checked = std::mem::take(&mut self.unmodified) >= CHECK_AFTER;
        let is_same = self.newest.as_ref() == Some(&picture.jpeg);
        let etag = answer.etag.filter(|etag| is_sendable(etag)).map(str::to_owned);
        let last_modified = answer.last_modified.filter(|date| is_sendable(date)).map(str::to_owned);
        let says_same = match (&etag, &self.etag) {
            (Some(now), Some(before)) => now == before,
            (None, None) => last_modified.is_some() && last_modified == self.last_modified && was_being_checked,
            _ => false,
        };
        if self.newest.is_some() && !is_same && says_same {
            self.has_lied = true;
        }
        (self.etag, self.last_modified) = (etag, last_modified);
        if is_same {
            return Polled::Same;
        }
        self.newest = Some(picture.jpeg.clone());
        Polled::New(picture)
    }
}

/// It goes into a request's head.
fn is_sendable(value: &str) -> bool {
    (1..=256).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitter::samples;

    struct Camera {
        polling: Polling,
    }

    impl Camera {
        fn new(milliseconds: u64) -> Self {
            Self { polling: Polling::new(Duration::from_millis(milliseconds)) }
        }

        fn says(&mut self, status: u16, etag: &str, date: &str, number: u8) -> Result<bool, PollError> {
            let body = if status == 304 { Bytes::new() } else { samples::picture(number).into() };
            let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
            let answer = Answer { status, etag: some(etag), last_modified: some(date), body: &body };
            self.polling.judge(&answer).map(|polled| polled != Polled::Same)
        }

        fn asks(&self) -> (Option<String>, Option<String>) {
            let Conditions { if_none_match, if_modified_since } = self.polling.conditions();
            (if_none_match, if_modified_since)
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    const MONDAY: &str = "Mon, 03 Jan 2000 12:34:56 GMT";

    #[test]
    fn a_picture_is_new_when_its_bytes_are_whatever_is_said_of_it() {
        let mut camera = Camera::new(200);
        assert_eq!(camera.asks(), (None, None));
        let table =
            [(1, "", "", true), (1, "", "", false), (2, "", "", true), (2, "\"a\"", "", false), (3, "", MONDAY, true)];
        for (number, etag, date, is_new) in table {
            assert_eq!(camera.says(200, etag, date, number), Ok(is_new), "{number} {etag}");
        }
    }

    #[test]
    fn validators_save_the_bytes_and_every_now_and_then_the_picture_is_looked_at() {
        let mut camera = Camera::new(200);
        assert_eq!(camera.says(200, "W/\"1\"", MONDAY, 1), Ok(true));
        for _ in 0..CHECK_AFTER {
            assert_eq!(camera.asks(), (text("W/\"1\""), None));
            assert_eq!(camera.says(304, "", "", 0), Ok(false));
        }
        assert_eq!(camera.asks(), (None, None));
        assert_eq!(camera.says(200, "W/\"1\"", MONDAY, 1), Ok(false));
        assert_eq!(camera.asks(), (text("W/\"1\""), None));
    }

    #[test]
    fn who_says_unmodified_of_another_picture_is_not_believed_again() {
        for (etag, date) in [("\"1\"", ""), ("", MONDAY)] {
            let mut camera = Camera::new(2000);
            assert_eq!(camera.says(200, etag, date, 1), Ok(true));
            (0..CHECK_AFTER).for_each(|_| assert_eq!(camera.says(304, "", "", 0), Ok(false)));
            assert_eq!(camera.says(200, etag, date, 2), Ok(true));
            assert_eq!(camera.asks(), (None, None));
        }
    }

    #[test]
    fn dates_count_only_where_nothing_better_is_said_and_nobody_hurries() {
        for (every, etag, expected) in [
            (2000, "", (None, text(MONDAY))),
            (1999, "", (None, None)),
            (2000, "\"1\"", (text("\"1\""), None)),
            (2000, "a\r\nb", (None, text(MONDAY))),
        ] {
            let mut camera = Camera::new(every);
            assert_eq!(camera.says(200, etag, MONDAY, 1), Ok(true));
            assert_eq!(camera.asks(), expected, "{every} {etag}");
        }
    }

    #[test]
    fn failures_say_why_and_make_the_pauses_longer_up_to_half_a_minute() {
        let mut camera = Camera::new(500);
        let took = Duration::from_millis(120);
        assert_eq!(camera.says(304, "", "", 0), Err(PollError::Status(304)));
        assert_eq!(camera.says(401, "", "", 1), Err(PollError::Status(401)));
        assert_eq!(camera.polling.pause(took), Duration::from_secs(2));
        let page = Bytes::from_static(b"<html>");
        let answer = Answer { status: 200, etag: None, last_modified: None, body: &page };
        assert_eq!(camera.polling.judge(&answer), Err(PollError::NoPicture));
        assert_eq!(camera.polling.pause(took), Duration::from_secs(4));
        (0..100).for_each(|_| drop(camera.says(503, "", "", 1)));
        assert_eq!(camera.polling.pause(took), Duration::from_secs(30));
        assert_eq!(camera.says(200, "", "", 1), Ok(true));
        assert_eq!(camera.polling.pause(took), Duration::from_millis(380));
        assert_eq!(camera.polling.pause(took * 10), Duration::ZERO);
    }
}
