//! What a provider's answer means.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The name points there now.
    Taken,
    /// Not before this much later.
    Later { why: String, after: Duration },
    /// Not before somebody changed the settings: asking again would be taken for abuse.
    Stopped { why: String },
}

/// What the dyndns2 protocol demands after 911 and dnserr.
pub(crate) const HALF_HOUR: Duration = Duration::from_secs(30 * 60);
/// A try that failed on its way.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn later(why: impl Into<String>, after: Duration) -> Answer {
    Answer::Later { why: why.into(), after }
}

pub(crate) fn stopped(why: impl Into<String>) -> Answer {
    Answer::Stopped { why: why.into() }
}

/// A status that says all there is to say; `None`: the body says it.
pub(crate) fn of_status(status: u16) -> Option<Answer> {
    match status {
        200..=299 => None,
        300..=399 => Some(stopped(format!(
            "it answers {status} and leads elsewhere, which is not followed: write down where it really is"
        ))),
        401 | 403 => Some(stopped(format!("it refuses name and password, or token ({status})"))),
        408 | 425 => Some(later(format!("it answers {status}"), MINUTE)),
        429 => Some(later("it was asked too often (429)", 2 * HALF_HOUR)),
        400..=499 => Some(stopped(format!("it answers {status}"))),
        _ => Some(later(format!("it answers {status}"), HALF_HOUR)),
    }
}

/// The body of an answer in the dyndns2 protocol (help.dyn.com, "Return Codes"): a word, for some followed by an address.
pub(crate) fn of_dyndns2(body: &str) -> Answer {
    let first = body.lines().next().unwrap_or_default();
    let word = first.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        // Nothing to change is as good: the name points there.
        "good" | "nochg" => Answer::Taken,
        "badauth" => stopped("badauth: name or password is wrong"),
        "!donator" => stopped("!donator: the account may not do this"),
        "notfqdn" => stopped("notfqdn: this is no full name"),
        "nohost" | "!yours" => stopped(format!("{word}: the account has no such name")),
        "numhost" => stopped("numhost: too many names"),
        "abuse" => stopped("abuse: the name is blocked; ask the provider to free it"),
        "badagent" | "badsys" => stopped(format!("{word}: the provider does not want this program")),
        "dnserr" | "911" => later(format!("{word}: the provider has a fault"), HALF_HOUR),
        // Maintenance pages and the like. Their text is the provider's, and may be anything.
        _ => later("it answers something that is no dyndns2", HALF_HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(answer: &Answer) -> (&'static str, u64) {
        match answer {
            Answer::Taken => ("taken", 0),
            Answer::Later { after, .. } => ("later", after.as_secs()),
            Answer::Stopped { .. } => ("stopped", 0),
        }
    }

    #[test]
    fn every_word_of_dyndns2_has_its_meaning() {
        for (body, expected) in [
            ("good 198.51.100.7", ("taken", 0)),
            ("good\r\n", ("taken", 0)),
            ("nochg 198.51.100.7\n", ("taken", 0)),
            ("badauth", ("stopped", 0)),
            ("!donator", ("stopped", 0)),
            ("notfqdn", ("stopped", 0)),
            ("nohost", ("stopped", 0)),
            ("!yours", ("stopped", 0)),
            ("numhost", ("stopped", 0)),
            ("abuse", ("stopped", 0)),
            ("badagent", ("stopped", 0)),
            ("badsys", ("stopped", 0)),
            ("dnserr", ("later", 1800)),
            ("911", ("later", 1800)),
            ("", ("later", 1800)),
            ("<html>Sign in</html>", ("later", 1800)),
            ("goodbye", ("later", 1800)),
        ] {
            assert_eq!(kind(&of_dyndns2(body)), expected, "{body}");
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        assert_eq!(of_status(200), None);
        for (status, expected) in [
            (301, ("stopped", 0)),
            (307, ("stopped", 0)),
            (400, ("stopped", 0)),
            (401, ("stopped", 0)),
            (403, ("stopped", 0)),
            (404, ("stopped", 0)),
            (408, ("later", 60)),
            (429, ("later", 3600)),
            (500, ("later", 1800)),
            (503, ("later", 1800)),
        ] {
            assert_eq!(of_status(status).as_ref().map(kind), Some(expected), "{status}");
        }
    }
}
