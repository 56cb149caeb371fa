//! Samples, pairs of samples, and what is said about them.

use std::time::Duration;

/// What happened during one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Bytes, turns, connections or requests.
    pub(crate) count: u64,
    pub(crate) took: Duration,
    /// The middle one of all turns, where there are turns.
    pub(crate) turn: Duration,
    /// CPU seconds of everybody: visitor, target and tunnel.
    pub(crate) all_cpu: f64,
    /// CPU seconds of the tunnel's two ends.
    pub(crate) own_cpu: f64,
    /// CPU seconds of the tunnel's public end.
    pub(crate) server_cpu: f64,
}

impl Sample {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// What a core that does nothing else would make of it: other programs' load has no part in this.
    fn per_cpu_second(&self) -> f64 {
        self.count as f64 / self.all_cpu.max(0.01)
    }
}

/// A sample through a tunnel, and one without (or through what it is compared with) taken right before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) direct: Sample,
    pub(crate) tunnel: Sample,
}

/// All pairs of one measure of one subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(pub(crate) Vec<Pair>);

impl Pairs {
    fn median_of(&self, figure: impl Fn(&Pair) -> f64) -> f64 {
        median(self.0.iter().map(figure).collect())
    }

    /// The tunnel's rate, direct = 1.
    pub(crate) fn ratio(&self) -> f64 {
        self.median_of(ratio)
    }

    pub(crate) fn lowest_and_highest_ratio(&self) -> (f64, f64) {
        let ratios = self.0.iter().map(ratio);
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| (low.min(ratio), high.max(ratio)))
    }

    /// The same by CPU time instead of time.
    pub(crate) fn ratio_by_cpu(&self) -> f64 {
        self.median_of(|pair| pair.tunnel.per_cpu_second() / pair.direct.per_cpu_second())
    }

    /// CPU seconds of the tunnel's two ends for one byte, connection or request; over all samples, because the
    /// kernel counts in hundredths of a second.
    pub(crate) fn own_cpu_each(&self) -> f64 {
        let count: u64 = self.0.iter().map(|pair| pair.tunnel.count).sum();
        self.0.iter().map(|pair| pair.tunnel.own_cpu).sum::<f64>() / count.max(1) as f64
    }

    /// The public end's CPU seconds for one byte, connection or turn: of the tunnel, and of what it is paired with.
    pub(crate) fn server_cpu_each(&self) -> (f64, f64) {
        let each = |of: fn(&Pair) -> &Sample| {
            let count: u64 = self.0.iter().map(|pair| of(pair).count).sum();
            self.0.iter().map(|pair| of(pair).server_cpu).sum::<f64>() / count.max(1) as f64
        };
        (each(|pair| &pair.tunnel), each(|pair| &pair.direct))
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.median_of(|pair| pair.tunnel.per_second())
    }

    pub(crate) fn direct_per_second(&self) -> f64 {
        self.median_of(|pair| pair.direct.per_second())
    }

    /// Seconds.
    pub(crate) fn turn(&self) -> f64 {
        self.median_of(|pair| pair.tunnel.turn.as_secs_f64())
    }

    pub(crate) fn direct_turn(&self) -> f64 {
        self.median_of(|pair| pair.direct.turn.as_secs_f64())
    }

    /// What the tunnel adds to a turn, in seconds.
    pub(crate) fn added_turn(&self) -> f64 {
        self.median_of(|pair| pair.tunnel.turn.as_secs_f64() - pair.direct.turn.as_secs_f64())
    }
}

fn ratio(pair: &Pair) -> f64 {
    pair.tunnel.per_second() / pair.direct.per_second()
}

/// The middle one; of an even number, the mean of the two. Not a number if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: u64, seconds: f64, all_cpu: f64, own_cpu: f64) -> Sample {
        Sample {
            count,
            took: Duration::from_secs_f64(seconds),
            turn: Duration::ZERO,
            all_cpu,
            own_cpu,
            server_cpu: own_cpu / 2.0,
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn pairs_are_compared_before_the_median_is_taken() {
        // The machine is three times as fast in the second round: that must not change the ratio.
        let pair =
            |speed: u64| Pair { direct: sample(100 * speed, 1.0, 1.0, 0.0), tunnel: sample(25 * speed, 1.0, 1.0, 0.5) };
        let pairs = Pairs(vec![pair(1), pair(3)]);
        assert_eq!(pairs.ratio(), 0.25);
        assert_eq!(pairs.lowest_and_highest_ratio(), (0.25, 0.25));
        assert_eq!(pairs.own_cpu_each(), 0.01);
        assert_eq!(pairs.server_cpu_each(), (0.005, 0.0));
    }

    #[test]
    fn a_core_shared_with_others_does_not_change_the_ratio_by_cpu() {
        let pairs = Pairs(vec![Pair { direct: sample(100, 2.0, 1.0, 0.0), tunnel: sample(50, 8.0, 1.0, 0.5) }]);
        assert_eq!(pairs.ratio_by_cpu(), 0.5);
        assert_eq!(pairs.ratio(), 0.125);
    }
}
