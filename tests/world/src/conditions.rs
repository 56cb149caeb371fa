//! What a line is like, and the words for it, on the command line and at run time: `delay 25ms loss 0.02`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One direction of a line. The default is a perfect one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// From end to end, for each packet.
    pub delay: Duration,
    /// Added to the delay: evenly spread between nothing and this. Packets keep their order.
    pub jitter: Duration,
    /// The share of packets that get lost, each on its own: 0.0 to 1.0.
    pub loss: f64,
    /// Bytes per second, IP headers included; `None` is as fast as the machine.
    pub rate: Option<u64>,
    /// Bytes that may wait for the rate; what comes then is dropped.
    pub queue: u64,
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions { delay: Duration::ZERO, jitter: Duration::ZERO, loss: 0.0, rate: None, queue: 1 << 20 }
    }
}

impl Conditions {
    pub fn new() -> Conditions {
        Conditions::default()
    }

    pub fn delay(self, delay: Duration) -> Conditions {
        Conditions { delay, ..self }
    }

    pub fn jitter(self, jitter: Duration) -> Conditions {
        Conditions { jitter, ..self }
    }

    pub fn loss(self, loss: f64) -> Conditions {
        Conditions { loss, ..self }
    }

    /// In bytes per second: 100 Mbit/s are 12 500 000.
    pub fn rate(self, rate: u64) -> Conditions {
        Conditions { rate: Some(rate), ..self }
    }

    pub fn queue(self, queue: u64) -> Conditions {
        Conditions { queue, ..self }
    }

    /// Takes over what `words` say, pairs of a name and a value; the rest stays as it is.
    pub fn apply<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Result<Conditions> {
        let mut words = words.into_iter();
        while let Some(name) = words.next() {
            let value = words.next().with_context(|| format!("{name} needs a value"))?;
            match name {
                "delay" => self.delay = parse_duration(value)?,
                "jitter" => self.jitter = parse_duration(value)?,
                "loss" => self.loss = parse_share(value)?,
                "rate" if value == "unlimited" => self.rate = None,
                "rate" => self.rate = Some(parse_positive(value)?),
                "queue" => self.queue = parse_positive(value)?,
                other => bail!("unknown word {other:?}: delay, jitter, loss, rate and queue are known"),
            }
        }
        Ok(self)
    }
}

impl FromStr for Conditions {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Conditions> {
        Conditions::new().apply(text.split_whitespace())
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conditions { delay, jitter, loss, rate, queue } = self;
        write!(f, "delay {}us jitter {}us loss {loss} queue {queue} ", delay.as_micros(), jitter.as_micros())?;
        match rate {
            Some(rate) => write!(f, "rate {rate}"),
            None => write!(f, "rate unlimited"),
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().with_context(|| format!("{text:?} is no duration like 25ms"))?;
    let seconds = match &text[digits.len()..] {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        _ => bail!("{text:?} is no duration like 25ms: the unit is us, ms or s"),
    };
    Ok(Duration::try_from_secs_f64(seconds)?)
}

fn parse_share(text: &str) -> Result<f64> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => bail!("{text:?} is no share between 0 and 1"),
    }
}

fn parse_positive(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{text:?} is no positive number of bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_survive_being_written_and_read() {
        let written = Conditions::new().delay(Duration::from_millis(25)).jitter(Duration::from_micros(1500));
        let written = written.loss(0.02).rate(12_500_000).queue(640_000);
        assert_eq!(written.to_string().parse::<Conditions>().unwrap(), written);
        assert_eq!(Conditions::new().to_string().parse::<Conditions>().unwrap(), Conditions::new());
    }

    #[test]
    fn words_nobody_knows_and_values_out_of_range_are_refused() {
        for wrong in ["delay", "delay 5", "delay -5ms", "loss 1.5", "loss NaN", "rate 0", "queue x", "speed 5"] {
            assert!(wrong.parse::<Conditions>().is_err(), "{wrong}");
        }
    }
}
