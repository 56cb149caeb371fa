//! Commands about sessions: `open DEVICE/SERVICE --for 30m`, `sessions`, `end NUMBER`.

use super::Refusal;
use crate::SessionId;
use crate::names::Label;
use crate::session::USUAL_LENGTH;
use crate::span::parse_span;
use jiff::SignedDuration;

/// What somebody wants of sessions. Whether there is such a service or session, and whether they may, is decided elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionWish {
    Open { device: Label, service: Label, length: SignedDuration },
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
        "sessions" => None,
        _ => return None,
    };
    Some(wish.ok_or(Refusal::Sessions))
}

fn open(words: &[&str]) -> Option<SessionWish> {
    let (path, length) = match words {
        [path] => (path, USUAL_LENGTH),
        [path, "--for", span] | ["--for", span, path] => (path, parse_span(span).ok()?),
        _ => return None,
    };
    let (device, service) = path.split_once('/')?;
    Some(SessionWish::Open { device: Label::parse(device).ok()?, service: Label::parse(service).ok()?, length })
}
