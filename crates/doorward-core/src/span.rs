//! Durations as people write them: in files, requests and commands.

use jiff::SignedDuration;

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

/// The same, as it is read again: `1d12h`.
pub fn write_span(duration: SignedDuration) -> String {
    let mut seconds = duration.as_secs().max(0);
    let mut text = String::new();
    for (unit, one) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if seconds >= one {
            text += &format!("{}{unit}", seconds / one);
            seconds %= one;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
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
    fn what_is_written_is_read_again() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (1800, "30m"), (129_600, "1d12h"), (604_861, "7d1m1s")] {
            let duration = SignedDuration::from_secs(seconds);
            assert_eq!(write_span(duration), text);
            assert_eq!(parse_span(text), Ok(duration));
        }
    }
}
