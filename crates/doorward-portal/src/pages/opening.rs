//! Opening a session: a page that asks, one press that does it.

use super::door::{Way, nothing};
use super::frame::{Frame, onward};
use crate::PortalState;
use crate::answer::Problem;
use crate::caller::{SignedIn, Source};
use crate::words::Language;
use askama::Template;
use axum::response::Response;
use doorward_control::{SessionRequest, SessionSummary};
use doorward_core::access::{How, Proof};
use doorward_core::names::Label;
use doorward_core::service::Service;
use doorward_core::session::SessionEnd;
use doorward_core::span::parse_span;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// What can be had by one press, in minutes.
const CHOICES: [i64; 3] = [5, 30, 120];

#[derive(Template)]
#[template(path = "opening.html")]
pub(super) struct OpeningPage {
    frame: Frame,
    title: String,
    path: String,
    way: String,
    choices: Vec<i64>,
    /// Why the last one is over.
    lapse: Option<Lapse>,
}

/// The end of a session that this person had.
pub(super) struct Lapse {
    how: SessionEnd,
    /// Who ended it, if it was ended by hand and not by this person.
    by: Option<Label>,
    is_own_hand: bool,
    pub(super) at: Timestamp,
}

/// How long it shall be: so many minutes, or until an instant.
#[derive(Deserialize)]
pub(super) struct Opening {
    /// Where the press was made: the path of our own page, as it was asked for.
    way: String,
    #[serde(flatten)]
    length: Length,
}

#[derive(Deserialize)]
pub(crate) struct Length {
    minutes: Option<String>,
    /// As a browser's clock says it (RFC 3339).
    until: Option<String>,
}

impl Length {
    pub(super) fn read(&self, now: Timestamp) -> Result<SignedDuration, Problem> {
        let until = self.until.as_deref().filter(|until| !until.is_empty());
        match (until, &self.minutes) {
            (Some(until), _) => {
                let until: Timestamp = until.parse().map_err(|_| Problem::invalid("this is not a time"))?;
                Ok(until.duration_since(now))
            }
            (None, Some(minutes)) => parse_span(&format!("{minutes}m")).map_err(Problem::invalid),
            (None, None) => Err(Problem::invalid("say how long")),
        }
    }
}

/// The choices that a policy leaves.
pub(super) fn choices(service: &Service) -> Vec<i64> {
    let longest = match service.policy.how {
        How::SignedIn => return Vec::new(),
        How::OnRequest { max_duration, .. } => max_duration.as_mins().max(1),
    };
    let mut choices: Vec<_> = CHOICES.into_iter().map(|minutes| minutes.min(longest)).collect();
    choices.dedup();
    choices
}

impl OpeningPage {
    pub(super) fn new(frame: Frame, service: &Service, way: Way, lapse: Option<Lapse>) -> Self {
        Self {
            frame,
            title: service.title.clone(),
            path: service.path(),
            way: way.here().to_string(),
            choices: choices(service),
            lapse,
        }
    }
}

impl Lapse {
    /// Of the last hour: what is longer ago is no news.
    pub(super) async fn of(
        state: &PortalState,
        signed_in: &SignedIn,
        service: &Service,
    ) -> Result<Option<Self>, Problem> {
        let now = (state.clock)();
        let last = state.control.last_session(signed_in.person.id, service.id, now).await?;
        Ok(last.and_then(|last| Self::of_session(&last, &signed_in.person.name, now)))
    }

    /// `None`: it is open, or it is over for longer than an hour.
    pub(super) fn of_session(session: &SessionSummary, reader: &Label, now: Timestamp) -> Option<Self> {
        Self::of_any(session, reader).filter(|lapse| now.duration_since(lapse.at).as_hours() < 1)
    }

    pub(super) fn of_any(session: &SessionSummary, reader: &Label) -> Option<Self> {
        let (how, at) = session.ended?;
        let by = session.ended_by.clone();
        let is_own_hand = by.as_ref() == Some(reader);
        Some(Self { how, by: by.filter(|_| !is_own_hand), is_own_hand, at })
    }

    pub(super) fn why(&self) -> &'static str {
        match self.how {
            SessionEnd::Time => "Your session is over: its time has run out.",
            SessionEnd::Hand if self.is_own_hand => "You ended your session.",
            SessionEnd::Hand if self.by.is_some() => "Your session was ended by",
            SessionEnd::Hand => "Your session is over: somebody ended it.",
            SessionEnd::Idle => "Your session is over: nobody used it for a while.",
            SessionEnd::TakenOver if self.by.is_some() => "The service was taken over by",
            SessionEnd::TakenOver => "Your session is over: somebody who may has taken the service over.",
            SessionEnd::Gone => "Your session is over: what it rested on has gone.",
        }
    }

    /// The same of anybody's session, in two words.
    pub(super) fn how(&self) -> &'static str {
        match self.how {
            SessionEnd::Time => "time ran out",
            SessionEnd::Hand if self.by.is_some() => "ended by",
            SessionEnd::Hand => "ended by hand",
            SessionEnd::Idle => "not used",
            SessionEnd::TakenOver if self.by.is_some() => "taken over by",
            SessionEnd::TakenOver => "taken over",
            SessionEnd::Gone => "revoked",
        }
    }

    /// The name that goes behind either.
    pub(super) fn by(&self) -> String {
        self.by.as_ref().map(|name| format!(" {name}.")).unwrap_or_default()
    }
}

/// `5 min`, `2 h`.
pub(super) fn spoken(minutes: &i64, language: &Language) -> String {
    match minutes {
        minutes if minutes % 60 == 0 => format!("{} {}", minutes / 60, language.say("h")),
        minutes => format!("{minutes} {}", language.say("min")),
    }
}

pub(super) async fn open(
    state: PortalState,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    opening: Opening,
) -> Result<Response, Problem> {
    let query = opening.way.strip_prefix("/door?").unwrap_or_default();
    let way: Way = serde_urlencoded::from_str(query).map_err(|_| Problem::invalid("the form leads nowhere"))?;
    let Some(service) = way.service(&state) else { return Ok(nothing(frame)) };
    let now = (state.clock)();
    let request = SessionRequest {
        account: signed_in.person.id,
        service: service.id,
        length: opening.length.read(now)?,
        source: source.0,
        id: None,
        proofs: vec![Proof::Login(signed_in.login.id)],
    };
    match state.control.open_session(request, now).await {
        Ok(_) => Ok(onward(frame, way.here())),
        Err(error) => super::approvals::instead(&state, frame, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_in_the_readers_language() {
        let mut seen = std::collections::BTreeSet::new();
        for how in [SessionEnd::Time, SessionEnd::Hand, SessionEnd::Idle, SessionEnd::TakenOver, SessionEnd::Gone] {
            for (by, is_own_hand) in [(None, false), (None, true), (Label::parse("olga").ok(), false)] {
                let lapse = Lapse { how, by, is_own_hand, at: Timestamp::UNIX_EPOCH };
                for words in [lapse.why(), lapse.how()] {
                    assert_ne!(Language::German.say(words), words);
                    assert_ne!(Language::Spanish.say(words), words);
                    seen.insert(words);
                }
            }
        }
        assert_eq!(seen.len(), 15);
    }
}
