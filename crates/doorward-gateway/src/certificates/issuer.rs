//! The order loop: one task that compares what is wanted with what is held and does the next thing. It remembers
//! nothing that it could not find out again, so a restart is no special case.

use super::authority::Authority;
use super::dns::Dns;
use super::order::{OrderError, Orders};
use super::records::Eyes;
use super::windows::Windows;
use doorward_control::{AuthorityReport, CertificateReport, CertificateState, Control, SetReport, StoreError};
use doorward_core::certificates::{
    Attempt, AuthorityTerms, Held, Names, Need, Outcome, Pause, Situation, Tempo, Wishes, plan, wanted, weekly_use,
};
use futures_util::StreamExt;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

pub(crate) struct Issuer {
    pub(super) control: Control,
    pub(super) orders: Orders,
    pub(super) authorities: Vec<Authority>,
    pub(super) wishes: Wishes,
    pub(super) eyes: Eyes,
    pub(super) dns: Option<Arc<Dns>>,
    pub(super) tempo: Tempo,
    pub(super) look_again: Duration,
    pub(super) seen: Seen,
}

/// What was found out a moment ago; forgetting it costs only finding it out again.
#[derive(Default)]
pub(super) struct Seen {
    records: HashMap<Names, (Instant, Vec<String>)>,
    pub(super) windows: Windows,
    failures: HashMap<Names, String>,
}

/// Wall clocks are set and machines sleep: no wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const AFTER_STORE_FAILED: Duration = Duration::from_secs(60);
/// Services come in bursts.
const GATHERING: Duration = Duration::from_secs(1);
const LOOKS_AT_ONCE: usize = 8;

/// The next order.
struct Task {
    names: Names,
    authority: usize,
    is_renewal: bool,
    failures: usize,
}

impl Issuer {
    pub(crate) async fn run(mut self) {
        let mut changes = self.control.changes();
        loop {
            let known = self.wanted();
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(error) => {
                    warn!(%error, "certificates have to wait for the store");
                    AFTER_STORE_FAILED
                }
            };
            let deadline = Instant::now() + wait;
            while self.wanted() == known {
                match timeout(deadline.saturating_duration_since(Instant::now()), changes.next()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(_) => break,
                }
            }
            if self.wanted() != known {
                tokio::time::sleep(GATHERING).await;
            }
        }
    }

    fn wanted(&self) -> Vec<Names> {
        let snapshot = self.control.snapshot();
        let wishes = Wishes { domain: snapshot.site().domain.clone(), ..self.wishes.clone() };
        wanted(&wishes, snapshot.web_hosts().cloned())
    }

    /// Does everything that is due, and says how long nothing will be.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        loop {
            let wanted = self.wanted();
            self.seen.records.retain(|names, _| wanted.contains(names));
            self.seen.failures.retain(|names, _| wanted.contains(names));
            self.seen.windows.ask(&self.control, &self.authorities, &wanted).await;
            let attempts = self.control.certificate_attempts().await?;
            let held: Vec<Held> = self.control.certificates().borrow().iter().map(|c| c.held.clone()).collect();
            let now = Timestamp::now();
            self.control.forget_unwanted(&wanted, now).await?;
            let terms: Vec<_> = self.authorities.iter().map(|authority| authority.settings.terms.clone()).collect();
            let situation = Situation {
                wanted: &wanted,
                held: &held,
                windows: &self.seen.windows.known(),
                attempts: &attempts,
                authorities: &terms,
                tempo: self.tempo,
            };
            let needs: Vec<_> = wanted.iter().cloned().zip(plan(&situation, now)).collect();
            self.look(&needs).await;
            self.control.certificate_reports().publish(self.report(&needs, &held, &attempts, &terms, now));
            match self.next(&needs, &attempts) {
                Some(task) => self.order(task).await?,
                None => return Ok(self.rest(&needs, now)),
            }
        }
    }

    /// Looks in DNS for everything that is due to be ordered.
    async fn look(&mut self, needs: &[(Names, Need)]) {
        let is_due = |names: &Names| self.seen.records.get(names).is_none_or(|(at, _)| at.elapsed() >= self.look_again);
        let due = needs.iter().filter(|(names, need)| matches!(need, Need::Order { .. }) && is_due(names));
        let due: Vec<Names> = due.map(|(names, _)| names.clone()).collect();
        let (eyes, dns) = (&self.eyes, self.dns.as_deref());
        let looks = due.into_iter().map(async |names| {
            let missing = eyes.missing(&names, dns).await;
            (names, missing)
        });
        let found: Vec<_> = futures_util::stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await;
        for (names, missing) in found {
            let before = self.seen.records.get(&names).map(|(_, missing)| missing.as_slice());
            if !missing.is_empty() && before != Some(missing.as_slice()) {
                info!(%names, missing = missing.join("; "), "no certificate is ordered before DNS leads here");
            }
            self.seen.records.insert(names, (Instant::now(), missing));
        }
    }

    fn missing(&self, names: &Names) -> &[String] {
        self.seen.records.get(names).map(|(_, missing)| missing.as_slice()).unwrap_or_default()
    }

    fn next(&self, needs: &[(Names, Need)], attempts: &[Attempt]) -> Option<Task> {
        needs.iter().find_map(|(names, need)| match *need {
            Need::Order { authority, is_renewal } if self.missing(names).is_empty() => {
                Some(Task { names: names.clone(), authority, is_renewal, failures: failures(attempts, names) })
            }
            Need::Order { .. } | Need::Nothing { .. } | Need::Wait { .. } | Need::Nobody => None,
        })
    }

    async fn order(&mut self, task: Task) -> Result<(), StoreError> {
        let Task { names, authority, is_renewal, failures } = task;
        let authority = &self.authorities[authority];
        info!(%names, directory = authority.directory(), "ordering a certificate");
        let outcome = self.orders.pursue(&names, authority, failures).await;
        // What was looked up before the order is old by now.
        self.seen.records.remove(&names);
        let now = Timestamp::now();
        match outcome {
            Ok(certificate) => {
                info!(%names, until = %certificate.held.not_after, "a certificate was issued");
                self.seen.failures.remove(&names);
                self.seen.windows.forget(&names);
                self.control.order_completed(certificate, is_renewal, now).await
            }
            Err(OrderError::Store(error)) => Err(error),
            Err(error) => {
                let why = format!("{}: {error}", authority.directory());
                warn!(%names, why, "no certificate was issued");
                let not_until = authority.take_patience();
                let directory = authority.directory().to_owned();
                let outcome = Outcome::Failed { not_until };
                let attempt = Attempt { names: names.clone(), authority: directory, at: now, outcome };
                self.seen.failures.insert(names, why.clone());
                self.control.order_failed(attempt, why).await
            }
        }
    }

    fn rest(&self, needs: &[(Names, Need)], now: Timestamp) -> Duration {
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
        let rest = |(_, need): &(Names, Need)| match *need {
            Need::Nothing { renew_at } => until(renew_at),
            Need::Wait { until: at, .. } => until(at),
            // Its records are missing.
            Need::Order { .. } => self.look_again,
            Need::Nobody => LONGEST_WAIT,
        };
        // A moment longer: what is due in a fraction of a second is due then.
        needs.iter().map(rest).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT) + Duration::from_millis(10)
    }

    fn report(
        &self,
        needs: &[(Names, Need)],
        held: &[Held],
        attempts: &[Attempt],
        terms: &[AuthorityTerms],
        now: Timestamp,
    ) -> CertificateReport {
        let state = |names: &Names, need: Need| match need {
            Need::Nothing { renew_at } => CertificateState::Fine { renew_at },
            Need::Order { .. } if !self.missing(names).is_empty() => {
                CertificateState::Records { missing: self.missing(names).to_vec() }
            }
            Need::Order { authority, .. } => {
                CertificateState::Ordering { authority: terms[authority].directory.clone() }
            }
            Need::Wait { until, why: Pause::Budget } => CertificateState::Budget { until },
            Need::Wait { until, why: Pause::Failures } => {
                let why = self.seen.failures.get(names).cloned();
                let why = why.unwrap_or_else(|| "the last order failed: `doorward audit` says why".to_owned());
                CertificateState::Failed { why, next_try: until }
            }
            Need::Nobody => CertificateState::Nobody,
        };
        let set = |(names, need): &(Names, Need)| {
            let newest = held.iter().filter(|held| held.names == *names).map(|held| held.not_after).max();
            SetReport { names: names.to_string(), held_until: newest, state: state(names, *need) }
        };
        let authority = |terms: &AuthorityTerms| AuthorityReport {
            directory: terms.directory.clone(),
            weekly_used: weekly_use(attempts, &terms.directory, now),
            weekly: terms.weekly,
        };
        CertificateReport { sets: needs.iter().map(set).collect(), authorities: terms.iter().map(authority).collect() }
    }
}

/// How often these names failed since they last succeeded.
fn failures(attempts: &[Attempt], names: &Names) -> usize {
    let own = attempts.iter().rev().filter(|attempt| attempt.names == *names);
    own.take_while(|attempt| matches!(attempt.outcome, Outcome::Failed { .. })).count()
}
