//! How much of a service may be used: visits at once, bytes per second, bytes per day and month, and whether more than
//! looking is allowed. Who counts is elsewhere; what a count means is here.
//!
//! ```toml
//! [service.access.limits]
//! connections = 20                # visits at once
//! connections-each = 4            # the same of one person, or of one source where nobody says who they are
//! rate = "2 MB"                   # a second, in each direction, of all visits together
//! rate-each = "500 kB"            # of one visit
//! per-day = "1 GB"                # both directions together, as counted by the device
//! per-month = "20 GB"
//! zone = "Europe/Berlin"          # whose days and months
//! max-fps = 5                     # pictures a second of a camera, as they come up for all who look
//! max-kbit = 2000                 # the same in kilobits a second
//! read-only = true                # GET, HEAD and OPTIONS, and nothing else
//! ```

use super::PolicyError;
use crate::size::parse_size;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU32, NonZeroU64};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub connections: Option<NonZeroU32>,
    pub connections_each: Option<NonZeroU32>,
    /// Bytes a second.
    pub rate: Option<NonZeroU64>,
    pub rate_each: Option<NonZeroU64>,
    pub budget: Option<Budget>,
    /// Of a camera.
    pub frames_per_second: Option<NonZeroU32>,
    pub kilobits_per_second: Option<NonZeroU32>,
    pub is_read_only: bool,
}

impl Limits {
    /// Whether a camera may send less than it could.
    pub(super) fn caps_pictures(&self) -> bool {
        self.frames_per_second.is_some() || self.kilobits_per_second.is_some()
    }

    /// Whether what passes is slowed down.
    pub fn pace(&self) -> bool {
        self.rate.is_some() || self.rate_each.is_some()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_each: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_each: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_month: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_kbit: Option<u32>,
    #[serde(default, skip_serializing_if = "super::document::is_false")]
    pub read_only: bool,
}

/// How many bytes may cross the device's link for a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    zone: TimeZone,
    per_day: Option<u64>,
    per_month: Option<u64>,
}

/// What a device reported of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    pub day: Window,
    pub month: Window,
    /// Of a hundred: what the device keeps of each budget for those who come by SSH.
    pub reserve: u8,
}

/// A day or month, and what was spent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub since: Timestamp,
    pub until: Timestamp,
    pub bytes: u64,
}

/// How far a budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetStanding {
    Plenty,
    /// Four fifths are gone.
    Low {
        until: Timestamp,
    },
    /// What is left is for those who come by SSH.
    Reserved {
        until: Timestamp,
    },
    /// Until a new day or month begins.
    Gone {
        until: Timestamp,
    },
}

/// What a device keeps where its owner does not say.
pub const USUAL_RESERVE: u8 = 5;
const LOW: u8 = 80;
/// Less a second would be no use to anybody.
const SLOWEST: u64 = 1_000;

impl LimitsDocument {
    pub fn to_limits(&self) -> Result<Limits, PolicyError> {
        let count = |key, given: Option<u32>| {
            let refuse = || PolicyError::Limit { key, why: "at least 1, or leave it out".to_owned() };
            given.map(|number| NonZeroU32::new(number).ok_or_else(refuse)).transpose()
        };
        Ok(Limits {
            connections: count("connections", self.connections)?,
            connections_each: count("connections-each", self.connections_each)?,
            rate: rate("rate", self.rate.as_deref())?,
            rate_each: rate("rate-each", self.rate_each.as_deref())?,
            budget: self.budget()?,
            frames_per_second: count("max-fps", self.max_fps)?,
            kilobits_per_second: count("max-kbit", self.max_kbit)?,
            is_read_only: self.read_only,
        })
    }

    fn budget(&self) -> Result<Option<Budget>, PolicyError> {
        let per_day = self.per_day.as_deref().map(|text| size("per-day", text)).transpose()?;
        let per_month = self.per_month.as_deref().map(|text| size("per-month", text)).transpose()?;
        let wrong = |why: String| PolicyError::Limit { key: "zone", why };
        match (&self.zone, per_day.or(per_month)) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(wrong("it means nothing without per-day or per-month".to_owned())),
            (None, Some(_)) => Err(wrong("say whose days and months are meant, as \"Europe/Berlin\"".to_owned())),
            (Some(name), Some(_)) => {
                let zone = super::schedule::zone(name).map_err(|error| wrong(error.to_string()))?;
                Ok(Some(Budget { zone, per_day, per_month }))
            }
        }
    }
}

fn size(key: &'static str, text: &str) -> Result<u64, PolicyError> {
    parse_size(text).map_err(|why| PolicyError::Limit { key, why })
}

fn rate(key: &'static str, text: Option<&str>) -> Result<Option<NonZeroU64>, PolicyError> {
    let Some(bytes) = text.map(|text| size(key, text)).transpose()? else { return Ok(None) };
    let refuse = || PolicyError::Limit { key, why: "1 kB a second is the least".to_owned() };
    NonZeroU64::new(bytes).filter(|bytes| bytes.get() >= SLOWEST).map(Some).ok_or_else(refuse)
}

impl Budget {
    /// `spent`: `None` if nothing was reported yet.
    pub fn standing(&self, spent: Option<&Spent>, now: Timestamp) -> BudgetStanding {
        let Some(spent) = spent else { return BudgetStanding::Plenty };
        let of = |window: &Window, budget: Option<u64>| {
            let Some(budget) = budget.filter(|_| now < window.until) else { return BudgetStanding::Plenty };
            let (bytes, until) = (window.bytes, window.until);
            if bytes >= budget {
                BudgetStanding::Gone { until }
            } else if bytes >= part(budget, 100_u8.saturating_sub(spent.reserve)) {
                BudgetStanding::Reserved { until }
            } else if bytes >= part(budget, LOW) {
                BudgetStanding::Low { until }
            } else {
                BudgetStanding::Plenty
            }
        };
        of(&spent.day, self.per_day).max(of(&spent.month, self.per_month))
    }

    /// When it goes on, if it does not now. `is_by_ssh`: whether the reserve is for them.
    pub(super) fn refuses(&self, spent: Option<&Spent>, is_by_ssh: bool, now: Timestamp) -> Option<Timestamp> {
        match self.standing(spent, now) {
            BudgetStanding::Gone { until } => Some(until),
            BudgetStanding::Reserved { until } => (!is_by_ssh).then_some(until),
            BudgetStanding::Plenty | BudgetStanding::Low { .. } => None,
        }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

/// Rounded up: a budget of nothing is used up.
fn part(budget: u64, percent: u8) -> u64 {
    let part = (u128::from(budget) * u128::from(percent)).div_ceil(100);
    u64::try_from(part).unwrap_or(u64::MAX)
}

impl Window {
    /// Nothing, once it is over.
    pub fn spent(&self, now: Timestamp) -> u64 {
        if now < self.until { self.bytes } else { 0 }
    }
}

impl Spent {
    pub fn nothing(zone: &TimeZone, now: Timestamp) -> Self {
        Self { day: day_of(zone, now), month: month_of(zone, now), reserve: USUAL_RESERVE }
    }

    /// `bytes` more, at `now`. A day or month that is over is forgotten; a clock that was put back forgets nothing.
    pub fn add(&mut self, bytes: u64, zone: &TimeZone, now: Timestamp) {
        for (window, fresh) in [(&mut self.day, day_of(zone, now)), (&mut self.month, month_of(zone, now))] {
            if now >= window.until {
                *window = fresh;
            } else if now < window.since {
                *window = Window { bytes: window.bytes, ..fresh };
            }
            window.bytes = window.bytes.saturating_add(bytes);
        }
    }
}

fn day_of(zone: &TimeZone, now: Timestamp) -> Window {
    let today = now.to_zoned(zone.clone()).start_of_day();
    let tomorrow = today.as_ref().ok().and_then(|today| today.checked_add(1.day()).ok());
    window(now, today.ok(), tomorrow.and_then(|tomorrow| tomorrow.start_of_day().ok()))
}

fn month_of(zone: &TimeZone, now: Timestamp) -> Window {
    let first = now.to_zoned(zone.clone()).first_of_month().and_then(|first| first.start_of_day());
    let next = first.as_ref().ok().and_then(|first| first.checked_add(1.month()).ok());
    window(now, first.ok(), next.and_then(|next| next.start_of_day().ok()))
}

/// At the ends of time a window has none.
fn window(now: Timestamp, since: Option<Zoned>, until: Option<Zoned>) -> Window {
    Window {
        since: since.map_or(now, |since| since.timestamp()),
        until: until.map_or(Timestamp::MAX, |until| until.timestamp()),
        bytes: 0,
    }
}
