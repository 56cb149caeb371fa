//! Times as people say them.

pub use doorward_core::span::parse_span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `3 min ago`; of what lies ahead, `in 6 days`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let ahead = now.duration_until(at);
    match ahead.as_secs() {
        ..=-5 => format!("{} ago", span(ahead.abs())),
        -4..=4 => "just now".to_owned(),
        5.. => format!("in {}", span(ahead)),
    }
}

/// `45 s`, `3 min`, `5 h`, `6 days`, to the nearest: what was made for 12 h has 12 h left a second later.
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let nearest = |unit: i64| (seconds + unit / 2) / unit;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3570 => format!("{} min", nearest(60)),
        3570..171_000 => format!("{} h", nearest(3600)),
        171_000.. => format!("{} days", nearest(86_400)),
    }
}

/// When something ends: `2027-02-01` (its beginning, UTC), `2027-02-01T12:00:00Z`, or `90d` from now.
pub fn parse_end(given: &str) -> Result<Timestamp, String> {
    let day = || given.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let ahead = || Timestamp::now().checked_add(parse_span(given).ok()?).ok();
    let end = given.parse().ok().or_else(day).or_else(ahead);
    end.ok_or_else(|| format!("\"{given}\" is no time: write it as 2027-02-01, 2027-02-01T12:00:00Z or 90d"))
}

/// When something began: a time as above, or `2h` before now.
pub fn parse_past(given: &str) -> Result<Timestamp, String> {
    let day = || given.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let ago = || Timestamp::now().checked_sub(parse_span(given).ok()?).ok();
    let past = given.parse().ok().or_else(day).or_else(ago);
    past.ok_or_else(|| format!("\"{given}\" is no time: write it as 2026-11-20, 2026-11-20T12:00:00Z or 2h (ago)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_day_a_time_or_a_span_from_now() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(parse_end("2027-02-01"), Ok(at("2027-02-01T00:00:00Z")));
        assert_eq!(parse_end("2027-02-01T12:00:00+01:00"), Ok(at("2027-02-01T11:00:00Z")));
        let left = parse_end("90d").unwrap().duration_since(Timestamp::now()).as_secs();
        assert!((90 * 86_400 - 60..=90 * 86_400).contains(&left), "{left}");
        for bad in ["", "soon", "2027-02-30", "90 days"] {
            assert!(parse_end(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let table = [
            (-1, "just now"),
            (-59, "59 s ago"),
            (-180, "3 min ago"),
            (-7200, "2 h ago"),
            (-259_200, "3 days ago"),
            (3569, "in 59 min"),
            (3599, "in 1 h"),
            (43_199, "in 12 h"),
            (170_999, "in 47 h"),
            (172_799, "in 2 days"),
            (604_799, "in 7 days"),
        ];
        for (seconds, words) in table {
            assert_eq!(relative(now + SignedDuration::from_secs(seconds), now), words);
        }
    }
}
