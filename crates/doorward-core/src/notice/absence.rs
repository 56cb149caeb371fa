//! When a device counts as gone, and when as back: only what lasts is told, so that a link that comes and goes is one
//! notice and not a hundred.

use crate::DeviceId;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub struct Absences(HashMap<DeviceId, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    is_online: bool,
    since: Timestamp,
    told_gone: Option<Timestamp>,
}

/// What is to be told of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Gone { since: Timestamp },
    Back { away_since: Timestamp },
}

impl Absences {
    /// Those of whose absence somebody was told already.
    pub fn remember(told: impl IntoIterator<Item = (DeviceId, Timestamp)>) -> Self {
        let gone = |(device, since)| (device, Seen { is_online: false, since, told_gone: Some(since) });
        Self(told.into_iter().map(gone).collect())
    }

    /// How things are at `now`. What is first seen counts from then on, so that a gateway that starts waits for its
    /// devices. Devices that are not named any more are forgotten.
    pub fn look(
        &mut self,
        devices: impl IntoIterator<Item = (DeviceId, bool)>,
        grace: SignedDuration,
        now: Timestamp,
    ) -> Vec<(DeviceId, Told)> {
        let mut known = std::mem::take(&mut self.0);
        let mut told = Vec::new();
        for (device, is_online) in devices {
            let mut seen = known.remove(&device).unwrap_or(Seen { is_online, since: now, told_gone: None });
            if seen.is_online != is_online {
                seen = Seen { is_online, since: now, ..seen };
            }
            let has_lasted = now.duration_since(seen.since) >= grace;
            match (is_online, seen.told_gone) {
                (false, None) if has_lasted => {
                    seen.told_gone = Some(seen.since);
                    told.push((device, Told::Gone { since: seen.since }));
                }
                (true, Some(away_since)) if has_lasted => {
                    seen.told_gone = None;
                    told.push((device, Told::Back { away_since }));
                }
                (false | true, None | Some(_)) => {}
            }
            self.0.insert(device, seen);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    const GRACE: SignedDuration = SignedDuration::from_mins(2);
    const PI: DeviceId = DeviceId(1);

    fn at(seconds: i64) -> Timestamp {
        "2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap().checked_add(seconds.seconds()).unwrap()
    }

    /// What is told of a device that is looked at each 5 s, as (second, gone).
    fn told(
        absences: &mut Absences,
        seconds: std::ops::Range<i64>,
        is_online: impl Fn(i64) -> bool,
    ) -> Vec<(i64, bool)> {
        let mut told = Vec::new();
        for second in seconds.step_by(5) {
            for (device, what) in absences.look([(PI, is_online(second))], GRACE, at(second)) {
                assert_eq!(device, PI);
                told.push((second, matches!(what, Told::Gone { .. })));
            }
        }
        told
    }

    #[test]
    fn a_device_that_left_is_told_after_the_grace_and_its_return_when_it_stays() {
        let mut absences = Absences::default();
        assert_eq!(told(&mut absences, 0..2000, |s| !(100..=900).contains(&s)), [(220, true), (1025, false)]);
    }

    #[test]
    fn a_link_that_comes_and_goes_is_one_notice() {
        let mut absences = Absences::default();
        // A minute there, three minutes away, all day; then it stays.
        assert_eq!(told(&mut absences, 0..86_400, |s| s < 60 || s % 240 < 60), [(180, true)]);
        assert_eq!(told(&mut absences, 86_400..90_000, |_| true), [(86_520, false)]);
        let mut absences = Absences::default();
        assert_eq!(told(&mut absences, 0..86_400, |s| s % 20 < 10), [], "too short to be worth a word");
    }

    #[test]
    fn a_gateway_that_starts_waits_for_its_devices_and_repeats_nothing() {
        let mut absences = Absences::default();
        assert_eq!(told(&mut absences, 0..1000, |s| s > 100), []);
        let mut absences = Absences::remember([(PI, at(-5000))]);
        assert_eq!(told(&mut absences, 0..1000, |_| false), [], "it was told before the restart");
        let back = absences.look([(PI, true)], GRACE, at(1000));
        assert_eq!(back, []);
        let back = absences.look([(PI, true)], GRACE, at(1120));
        assert_eq!(back, [(PI, Told::Back { away_since: at(-5000) })]);
    }

    #[test]
    fn a_device_that_was_removed_is_forgotten() {
        let mut absences = Absences::default();
        told(&mut absences, 0..300, |_| false);
        assert_eq!(absences.look([], GRACE, at(300)), []);
        assert!(absences.0.is_empty());
    }
}
