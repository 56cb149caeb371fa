//! Commands about sessions: `open DEVICE/SERVICE --for 30m`, `sessions`, `end NUMBER`, `leave DEVICE/SERVICE`, `requests`,
//! `approve NUMBER`, `refuse NUMBER`.

use super::Refusal;
use crate::names::Label;
use crate::session::USUAL_LENGTH;
use crate::span::parse_span;
use crate::{ApprovalId, SessionId};
use jiff::SignedDuration;

/// What somebody wants of sessions. Whether there is such a service or session, and whether they may, is decided elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionWish {
    /// `takes_over`: from whoever has it.
    Open {
        device: Label,
        service: Label,
        length: SignedDuration,
        takes_over: bool,
    },
    /// To wait for it no longer.
    Leave {
        device: Label,
        service: Label,
    },
    /// What waits for consent: their own, and what is theirs to answer.
    Requests,
    Answer {
        request: ApprovalId,
        is_yes: bool,
    },
    List,
    End(SessionId),
}

/// `None`: it is another command.
pub(super) fn read(command: &str) -> Option<Result<SessionWish, Refusal>> {
    let words: Vec<_> = command.split_whitespace().collect();
    let (first, rest) = words.split_first()?;
    let wish = match *first {
        "open" => open(rest),
        "sessions" if rest.is_empty() => Some(SessionWish::List),
        "end" => match rest {
            [number] => number.parse().ok().map(|number| SessionWish::End(SessionId(number))),
            _ => None,
        },
        "leave" => match rest {
            [path] => named(path).map(|(device, service)| SessionWish::Leave { device, service }),
            _ => None,
        },
        "requests" if rest.is_empty() => Some(SessionWish::Requests),
        "approve" | "refuse" => match rest {
            [number] => number
                .parse()
                .ok()
                .map(|number| SessionWish::Answer { request: ApprovalId(number), is_yes: *first == "approve" }),
            _ => None,
        },
        "sessions" | "requests" => None,
        _ => return None,
    };
    Some(wish.ok_or(Refusal::Sessions))
}

fn open(words: &[&str]) -> Option<SessionWish> {
    let takes_over = words.contains(&"--take-over");
    let words: Vec<_> = words.iter().filter(|word| **word != "--take-over").copied().collect();
    let (path, length) = match words[..] {
        [path] => (path, USUAL_LENGTH),
        [path, "--for", span] | ["--for", span, path] => (path, parse_span(span).ok()?),
        _ => return None,
    };
    let (device, service) = named(path)?;
    Some(SessionWish::Open { device, service, length, takes_over })
}

fn named(path: &str) -> Option<(Label, Label)> {
    let (device, service) = path.split_once('/')?;
    Some((Label::parse(device).ok()?, Label::parse(service).ok()?))
}
