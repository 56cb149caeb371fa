//! How a camera does, by the age of its newest frame.

use std::time::{Duration, Instant};

/// So long may a camera that is being read say nothing before it counts as stalled; ESP32s pause for seconds.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is being asked, and has not shown anything yet.
    Opening,
    Live {
        age: Duration,
    },
    /// Nothing came for so long: whoever reads it begins anew.
    Stalled {
        silence: Duration,
    },
}

/// `asked`: when this reading of the camera began; `newest`: when its last frame came.
pub fn health(asked: Instant, newest: Option<Instant>, stalled_after: Duration, now: Instant) -> Health {
    let last = newest.filter(|newest| *newest >= asked);
    let silence = now.saturating_duration_since(last.unwrap_or(asked));
    match last {
        _ if silence >= stalled_after => Health::Stalled { silence },
        Some(_) => Health::Live { age: silence },
        None => Health::Opening,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_opening_live_or_stalled() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let at = |n| start + seconds(n);
        let table = [
            (0, None, 9, Health::Opening),
            (0, None, 10, Health::Stalled { silence: seconds(10) }),
            (0, Some(3), 12, Health::Live { age: seconds(9) }),
            (0, Some(3), 13, Health::Stalled { silence: seconds(10) }),
            // A frame of the reading before says nothing about this one.
            (20, Some(3), 22, Health::Opening),
            (20, Some(20), 20, Health::Live { age: seconds(0) }),
            // By a clock that was read a little later.
            (20, Some(22), 21, Health::Live { age: seconds(0) }),
        ];
        for (asked, newest, now, expected) in table {
            assert_eq!(health(at(asked), newest.map(at), STALLED_AFTER, at(now)), expected, "{asked} {newest:?} {now}");
        }
    }
}
