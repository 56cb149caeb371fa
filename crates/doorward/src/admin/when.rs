//! Times as people say them.

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

/// Reads `30m`, `12h`, `7d` and sums of such, as `1d12h`.
pub fn parse_span(given: &str) -> Result<SignedDuration, String> {
    let refuse = || format!("\"{given}\" is not a duration: write it as 30m, 12h, 7d or 2w");
    let mut rest = given.trim();
    let mut seconds: i64 = 0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, unit_on) = rest.split_at(digits);
        let letters = unit_on.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit_on.len());
        let (unit, after) = unit_on.split_at(letters);
        let one: i64 = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(refuse()),
        };
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(one)).ok_or_else(refuse)?;
        seconds = seconds.checked_add(part).ok_or_else(refuse)?;
        rest = after.trim_start();
    }
    Ok(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("1d12h", 129_600)];
        for (given, seconds) in table {
            assert_eq!(parse_span(given), Ok(SignedDuration::from_secs(seconds)), "{given}");
        }
        for bad in ["", "7", "d", "7 days", "1y", "-1d", "1.5h", "99999999999999999999d", "9999999999999999w"] {
            let error = parse_span(bad).unwrap_err();
            assert!(error.contains("7d"), "{bad}: {error}");
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
