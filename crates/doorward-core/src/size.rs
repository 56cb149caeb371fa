//! Amounts of bytes as people write them: `500 kB`, `1.5 GB`, `64 KiB`.

/// Reads an amount. `kB`, `MB`, `GB`, `TB` are powers of a thousand, `KiB` to `TiB` of 1024.
pub fn parse_size(given: &str) -> Result<u64, String> {
    let refuse = || {
        let given: String = given.chars().take(80).collect();
        format!("\"{given}\" is not an amount of bytes: write it as 500 kB, 1.5 GB or 64 MiB")
    };
    let text = given.trim();
    let letters = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(letters);
    let one: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(refuse()),
    };
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || (number.contains('.') && !is_number(fraction)) || fraction.len() > 6 {
        return Err(refuse());
    }
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(one)).ok_or_else(refuse)?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let part = fraction.parse::<u64>().map_or(0, |part| u128::from(part) * u128::from(one) / u128::from(scale));
    u64::try_from(part).ok().and_then(|part| whole.checked_add(part)).ok_or_else(refuse)
}

/// The same for people, rounded down: `1.5 GB`.
pub fn write_size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let Some((one, unit)) = units.into_iter().find(|(one, _)| bytes >= *one) else { return format!("{bytes} B") };
    match bytes % one * 10 / one {
        0 => format!("{} {unit}", bytes / one),
        tenths => format!("{}.{tenths} {unit}", bytes / one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        let table = [
            ("0 B", 0),
            ("1B", 1),
            ("500 kB", 500_000),
            ("2MB", 2_000_000),
            ("1.5 GB", 1_500_000_000),
            ("0.25 kB", 250),
            ("64 KiB", 65_536),
            ("1 TiB", 1 << 40),
            (" 3 GB ", 3_000_000_000),
        ];
        for (given, bytes) in table {
            assert_eq!(parse_size(given), Ok(bytes), "{given}");
        }
        for bad in ["", "5", "GB", "-1 GB", "1,5 GB", "1. GB", ".5 GB", "1 Gb", "5 gb/s", "99999999999 TB", "1 2 GB"] {
            assert!(parse_size(bad).unwrap_err().contains("500 kB"), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_no_more_than_there_is() {
        let table = [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (1_999_999, "1.9 MB"), (20_000_000_000, "20 GB")];
        for (bytes, text) in table {
            assert_eq!(write_size(bytes), text);
            assert!(parse_size(text).unwrap() <= bytes);
        }
    }
}
