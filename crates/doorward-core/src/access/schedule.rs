//! Weekly opening hours in a named time zone.
//!
//! Hours are local clock times. Where the clock is put forward, a time that does not exist means the first one after
//! the gap; where it is put back, a time that exists twice means the first of the two.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    zone: TimeZone,
    windows: Vec<Window>,
}

/// Hours of one day of the week; `end` may lie on the next day.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    day: Weekday,
    start: Time,
    end: Time,
    ends_next_day: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// Open, and so until then at least.
    Open {
        until: Timestamp,
    },
    Closed {
        opens: Option<Timestamp>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    #[error("\"{0}\" is not a time zone of the IANA database (as Europe/Berlin or UTC)")]
    Zone(String),
    #[error(
        "\"{0}\" is not an opening time: write days and hours, as \"mon-fri 08:00-16:30\" or \"sat,sun 22:00-02:00\""
    )]
    Window(String),
}

/// How far ahead the next opening or closing is looked for. A week shows every window once.
const HORIZON_DAYS: i64 = 8;

/// A time zone by its name.
pub(super) fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let database = jiff::tz::TimeZoneDatabase::bundled();
    database.get(name).map_err(|_| ScheduleError::Zone(name.chars().take(80).collect()))
}

impl Schedule {
    pub fn parse(zone: &str, open: &[String]) -> Result<Self, ScheduleError> {
        let zone = self::zone(zone)?;
        let mut windows = Vec::new();
        for text in open {
            windows.extend(parse_window(text).ok_or_else(|| ScheduleError::Window(text.chars().take(80).collect()))?);
        }
        Ok(Self { zone, windows })
    }

    pub fn at(&self, now: Timestamp) -> Openness {
        let mut spans = self.spans_around(now);
        spans.sort_unstable();
        let mut until = None;
        for &(start, end) in &spans {
            let joins = until.is_some_and(|u| start <= u);
            if (start <= now && now < end) || joins {
                until = until.max(Some(end));
            }
        }
        match until {
            Some(until) => Openness::Open { until },
            None => Openness::Closed { opens: spans.iter().map(|s| s.0).find(|&start| start > now) },
        }
    }

    /// Every opening from yesterday to a week ahead, as instants.
    fn spans_around(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=HORIZON_DAYS).filter_map(|n| today.checked_add(n.days()).ok());
        days.flat_map(|day| self.windows.iter().filter_map(move |w| self.span_on(w, day))).collect()
    }

    fn span_on(&self, window: &Window, day: Date) -> Option<(Timestamp, Timestamp)> {
        if day.weekday() != window.day {
            return None;
        }
        let last = if window.ends_next_day { day.tomorrow().ok()? } else { day };
        let instant = |date: Date, time| {
            self.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok().map(|z| z.timestamp())
        };
        let (start, end) = (instant(day, window.start)?, instant(last, window.end)?);
        (start < end).then_some((start, end))
    }
}

fn parse_window(text: &str) -> Option<Vec<Window>> {
    let (days, hours) = text.trim().split_once(' ')?;
    let (start, end) = hours.trim().split_once('-')?;
    let start = parse_time(start)?;
    let (end, end_is_midnight) =
        if end.trim() == "24:00" { (Time::midnight(), true) } else { (parse_time(end)?, false) };
    let ends_next_day = end_is_midnight || end <= start;
    let window = |day| Window { day, start, end, ends_next_day };
    Some(parse_days(days)?.into_iter().map(window).collect())
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two_digits = |t: &str| (t.len() == 2).then(|| t.parse::<i8>().ok()).flatten();
    Time::new(two_digits(hour)?, two_digits(minute)?, 0, 0).ok()
}

fn parse_days(text: &str) -> Option<Vec<Weekday>> {
    if text == "daily" {
        return Some(Weekday::Monday.cycle_forward().take(7).collect());
    }
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => days.push(parse_day(part)?),
            Some((first, last)) => {
                let (first, last) = (parse_day(first)?, parse_day(last)?);
                let count = usize::try_from(first.until(last)).ok()? + 1;
                days.extend(first.cycle_forward().take(count));
            }
        }
    }
    Some(days)
}

fn parse_day(text: &str) -> Option<Weekday> {
    Some(match text.to_ascii_lowercase().as_str() {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(open: &[&str]) -> Schedule {
        Schedule::parse("Europe/Berlin", &open.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn at(schedule: &Schedule, local: &str) -> Openness {
        schedule.at(format!("{local}[Europe/Berlin]").parse::<jiff::Zoned>().unwrap().timestamp())
    }

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_end_at_their_minute() {
        let school = berlin(&["mon-fri 08:00-10:00"]);
        // Monday 2026-11-23, winter time: UTC+1.
        assert_eq!(at(&school, "2026-11-23T08:00:00"), Openness::Open { until: utc("2026-11-23T09:00:00Z") });
        assert_eq!(at(&school, "2026-11-23T10:00:00"), Openness::Closed { opens: Some(utc("2026-11-24T07:00:00Z")) });
    }

    #[test]
    fn hours_may_pass_midnight_and_touch_each_other() {
        let bar = berlin(&["sat 22:00-02:00", "sun 02:00-04:00"]);
        assert_eq!(at(&bar, "2026-11-28T23:30:00"), Openness::Open { until: utc("2026-11-29T03:00:00Z") });
        assert_eq!(at(&bar, "2026-11-29T01:00:00"), Openness::Open { until: utc("2026-11-29T03:00:00Z") });
        let whole_day = berlin(&["mon 00:00-24:00"]);
        assert_eq!(at(&whole_day, "2026-11-23T23:59:59"), Openness::Open { until: utc("2026-11-23T23:00:00Z") });
    }

    #[test]
    fn the_night_the_clock_goes_forward_has_no_half_past_two() {
        // 2026-03-29: 02:00 becomes 03:00.
        let night = berlin(&["sun 01:00-02:30"]);
        assert_eq!(at(&night, "2026-03-29T01:59:59"), Openness::Open { until: utc("2026-03-29T01:30:00Z") });
        let inside_the_gap = berlin(&["sun 02:15-02:45"]);
        assert_eq!(at(&inside_the_gap, "2026-03-29T03:20:00"), Openness::Open { until: utc("2026-03-29T01:45:00Z") });
    }

    #[test]
    fn the_night_the_clock_goes_back_closes_at_the_first_half_past_two() {
        // 2026-10-25: 03:00 becomes 02:00; 02:30 exists at 00:30Z and again at 01:30Z.
        let night = berlin(&["sun 01:00-02:30"]);
        assert_eq!(night.at(utc("2026-10-25T00:29:59Z")), Openness::Open { until: utc("2026-10-25T00:30:00Z") });
        assert!(matches!(night.at(utc("2026-10-25T01:10:00Z")), Openness::Closed { .. }));
    }

    #[test]
    fn no_hours_mean_never_open() {
        assert_eq!(at(&berlin(&[]), "2026-11-23T08:00:00"), Openness::Closed { opens: None });
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(Schedule::parse("Europe/Berlyn", &[]), Err(ScheduleError::Zone(_))));
        for bad in ["", "mon", "mon 8-10", "mon 08:00", "mon 25:00-26:00", "foo 08:00-10:00", "mon 08:00-24:01"] {
            assert!(Schedule::parse("UTC", &[bad.to_owned()]).is_err(), "{bad:?} was taken");
        }
    }
}
