//! Which attempt to reach a gateway wins, and how long each may try.

use doorward_core::site::Carrier;
use std::io;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// A better-liked carrier starts this much before the next. Attempts of one wave overlap with those of the last, so
/// that its rival may be through first all the same: it is waited for as long again.
pub(crate) const HEAD_START: Duration = Duration::from_millis(250);
const MAX_RUNNING: usize = 64;

/// How much a carrier is liked, the best first: what worked last time, then in their own order.
pub(crate) type Rank = (bool, Carrier);

pub(crate) fn rank(carrier: Carrier, preferred: Option<Carrier>) -> Rank {
    (Some(carrier) != preferred, carrier)
}

/// Half of all waves live an eighth of the longest time, a quarter live a quarter of it, and so on: a slow line has
/// time to answer, and a gateway that comes back does not find dozens of attempts before its door.
pub(crate) fn lifetime(wave: u32, longest: Duration) -> Duration {
    longest / 2_u32.pow(3 - wave.trailing_zeros().min(3))
}

/// Attempts under way, and the best that came through so far.
pub(crate) struct Race<T> {
    best_possible: Rank,
    running: JoinSet<(Rank, io::Result<T>)>,
    ranks: Vec<(Rank, AbortHandle)>,
    leader: Option<Leader<T>>,
}

struct Leader<T> {
    what: T,
    rank: Rank,
    until: Instant,
}

impl<T: Send + 'static> Race<T> {
    pub(crate) fn new(best_possible: Rank) -> Self {
        Self { best_possible, running: JoinSet::new(), ranks: Vec::new(), leader: None }
    }

    /// Starts an attempt, unless it could not win any more.
    pub(crate) fn start(&mut self, rank: Rank, attempt: impl Future<Output = io::Result<T>> + Send + 'static) {
        if self.running.len() < MAX_RUNNING && self.leader.as_ref().is_none_or(|leader| rank < leader.rank) {
            self.ranks.retain(|(_, attempt)| !attempt.is_finished());
            self.ranks.push((rank, self.running.spawn(async move { (rank, attempt.await) })));
        }
    }

    /// Resolves when an attempt has ended; with its error, if it failed. Without attempts it waits for ever.
    pub(crate) async fn progress(&mut self) -> Option<io::Error> {
        match self.running.join_next().await {
            None => std::future::pending().await,
            Some(Ok((_, Err(error)))) => Some(error),
            Some(Ok((rank, Ok(what)))) => {
                self.arrived(what, rank);
                None
            }
            Some(Err(_)) => None,
        }
    }

    fn arrived(&mut self, what: T, rank: Rank) {
        match &mut self.leader {
            None => self.leader = Some(Leader { what, rank, until: Instant::now() + HEAD_START }),
            Some(leader) if rank < leader.rank => (leader.what, leader.rank) = (what, rank),
            Some(_) => {}
        }
        self.ranks.iter().filter(|(other, _)| *other >= rank).for_each(|(_, attempt)| attempt.abort());
    }

    /// Until when somebody better may come; `None`: nobody came yet.
    pub(crate) fn over(&self) -> Option<Instant> {
        self.leader.as_ref().map(|leader| leader.until)
    }

    /// Who won, if the race is over.
    pub(crate) fn winner(&mut self) -> Option<T> {
        let is_over = |leader: &mut Leader<T>| leader.rank <= self.best_possible || leader.until <= Instant::now();
        self.leader.take_if(is_over).map(|leader| leader.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Carrier::{Quic, Tls, WebSocket};
    use std::future::{pending, ready};
    use tokio::time::{sleep, sleep_until};

    /// A race in which a carrier of this name arrives after so many hundredths of a head start.
    fn race(preferred: Option<Carrier>, attempts: &[(Carrier, u32)]) -> Race<Carrier> {
        let best = attempts.iter().map(|(carrier, _)| rank(*carrier, preferred)).min().unwrap();
        let mut race = Race::new(best);
        for &(carrier, after) in attempts {
            race.start(rank(carrier, preferred), async move {
                sleep(HEAD_START * after / 100).await;
                Ok(carrier)
            });
        }
        race
    }

    async fn winner(mut race: Race<Carrier>) -> (Carrier, Duration) {
        let start = Instant::now();
        loop {
            if let Some(winner) = race.winner() {
                return (winner, start.elapsed());
            }
            let over = race.over();
            tokio::select! {
                _ = race.progress() => {}
                () = sleep_until(over.unwrap_or(start)), if over.is_some() => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_best_liked_wins_at_once_and_another_after_a_head_start() {
        for (preferred, first) in [(None, Quic), (Some(Quic), Quic), (Some(Tls), Tls)] {
            let race = race(preferred, &[(Quic, 0), (Tls, 0)]);
            assert_eq!(winner(race).await, (first, Duration::ZERO), "{preferred:?}");
        }
        assert_eq!(winner(race(None, &[(Quic, 1000), (Tls, 0)])).await, (Tls, HEAD_START));
    }

    #[tokio::test(start_paused = true)]
    async fn a_better_one_that_comes_within_the_head_start_wins() {
        let attempts = [(WebSocket, 0), (Tls, 20), (WebSocket, 40), (Quic, 60)];
        assert_eq!(winner(race(None, &attempts)).await, (Quic, HEAD_START * 60 / 100));
        let attempts = [(WebSocket, 0), (Tls, 20), (WebSocket, 40), (Quic, 120)];
        assert_eq!(winner(race(None, &attempts)).await, (Tls, HEAD_START));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_cannot_win_any_more_are_called_off_and_not_begun() {
        let mut race = Race::new(rank(Quic, None));
        for carrier in [Quic, Tls, WebSocket] {
            race.start(rank(carrier, None), pending());
        }
        race.start(rank(Tls, None), ready(Ok(Tls)));
        while race.over().is_none() {
            race.progress().await;
        }
        race.start(rank(Tls, None), pending());
        while race.running.len() > 1 {
            race.progress().await;
        }
        race.start(rank(Quic, None), pending());
        assert_eq!(race.running.len(), 2);
    }

    #[test]
    fn few_attempts_live_long() {
        let longest = Duration::from_secs(4);
        let lives: Vec<_> = (0..9).map(|wave| lifetime(wave, longest).as_millis()).collect();
        assert_eq!(lives, [4000, 500, 1000, 500, 2000, 500, 1000, 500, 4000]);
    }
}
