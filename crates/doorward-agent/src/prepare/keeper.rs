//! One service, for as long as the agent runs: rests, is made ready, is kept so, is let go.

use super::board::{Board, Progress};
use super::memory::Memory;
use super::plan::Plan;
use super::wished::Wished;
use super::{ready, steps};
use crate::settings::Settings;
use doorward_core::names::Label;
use doorward_core::prepare::Phase;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

pub(super) struct Keeper {
    pub(super) service: Label,
    pub(super) plan: Plan,
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) wished: watch::Receiver<Wished>,
    pub(super) board: watch::Sender<Board>,
    pub(super) memory: Arc<Memory>,
    pub(super) again: Duration,
}

/// A step that did not do, for the owner.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    /// From 1.
    pub(super) step: usize,
    pub(super) what: String,
    pub(super) error: String,
}

/// The pause after a failed step doubles up to so many times the first one.
const LONGEST_PAUSE: u32 = 16;

impl Keeper {
    pub(super) async fn run(self) {
        loop {
            if !self.memory.holds(&self.service) {
                self.show(Progress::resting());
                self.until_wanted().await;
            }
            tokio::select! {
                () = self.until_unwanted() => {}
                () = self.keep() => {}
            }
            if self.memory.holds(&self.service) {
                self.let_go().await;
            }
        }
    }

    /// Makes it ready whenever it is wanted and is not; never ends by itself.
    async fn keep(&self) {
        let mut failures = 0;
        loop {
            self.until_wanted().await;
            match self.make_ready().await {
                Ok(()) => {
                    failures = 0;
                    info!(service = %self.service, "ready");
                    self.show(Progress::of(Phase::Ready));
                    match &self.plan.ready {
                        Some(readiness) => ready::until_lost(readiness).await,
                        None => pending().await,
                    }
                    info!(service = %self.service, "it does not answer any more: it is made ready anew");
                }
                Err(failed) => {
                    self.note(Phase::Failed, &failed, failures).await;
                    failures += 1;
                }
            }
        }
    }

    /// What is ready already is left as it is: nothing was done for it, and nothing need be undone.
    async fn make_ready(&self) -> Result<(), Failed> {
        if let Some(readiness) = &self.plan.ready
            && ready::is_ready(readiness).await
        {
            return Ok(());
        }
        info!(service = %self.service, "somebody wants it: it is made ready");
        self.memory.begin(&self.service).await;
        let all = self.plan.prepare.len() + usize::from(self.plan.ready.is_some());
        self.run_steps(Phase::Preparing, &self.plan.prepare, all).await?;
        let Some(readiness) = &self.plan.ready else { return Ok(()) };
        self.show(Progress { step: all, steps: all, what: ready::WHAT.to_owned(), ..Progress::of(Phase::Preparing) });
        let waited = ready::wait(readiness, &self.plan.prepare).await;
        waited.map_err(|error| Failed { step: all, what: ready::WHAT.to_owned(), error })
    }

    /// Tried until it is done, or wanted again.
    async fn let_go(&self) {
        info!(service = %self.service, "nobody wants it any more: it is let go");
        for failures in 0.. {
            let steps = &self.plan.release;
            match self.run_steps(Phase::Releasing, steps, steps.len()).await {
                Ok(()) => return self.memory.end(&self.service).await,
                Err(failed) => tokio::select! {
                    () = self.note(Phase::Releasing, &failed, failures) => {}
                    () = self.until_wanted() => return,
                },
            }
        }
    }

    async fn run_steps(&self, phase: Phase, list: &[super::Step], all: usize) -> Result<(), Failed> {
        for (at, step) in list.iter().enumerate() {
            let what = step.words().to_owned();
            self.show(Progress { step: at + 1, steps: all, what: what.clone(), ..Progress::of(phase) });
            steps::run(step).await.map_err(|error| Failed { step: at + 1, what, error })?;
        }
        Ok(())
    }

    /// Tells of a failure and resolves when it is time to try again.
    async fn note(&self, phase: Phase, failed: &Failed, failures: u32) {
        let pause = self.again * LONGEST_PAUSE.min(1 << failures.min(8));
        let Failed { step, what, error } = failed.clone();
        warn!(service = %self.service, "step {step}, {what}: {error}; again in {} s", pause.as_secs());
        let retry_at = Some(Instant::now() + pause);
        let steps = match phase {
            Phase::Releasing => self.plan.release.len(),
            Phase::Resting | Phase::Preparing | Phase::Ready | Phase::Failed => {
                self.plan.prepare.len() + usize::from(self.plan.ready.is_some())
            }
        };
        self.show(Progress { step, steps, what, error: Some(error), retry_at, ..Progress::of(phase) });
        sleep(pause).await;
    }

    fn show(&self, progress: Progress) {
        self.board.send_modify(|board| board.put(&self.service, progress));
    }

    fn wanted_until(&self, wished: &Wished) -> Option<Instant> {
        wished.until(&self.service, &self.settings.borrow(), Instant::now())
    }

    async fn until_wanted(&self) {
        let mut wished = self.wished.clone();
        let wanted = wished.wait_for(|wished| self.wanted_until(wished).is_some()).await.is_ok();
        if !wanted {
            pending().await
        }
    }

    /// Resolves when nobody has wanted it for the linger. As long as nobody who could want it was heard, nobody knows.
    async fn until_unwanted(&self) {
        let mut wished = self.wished.clone();
        let mut unwanted_since = None;
        loop {
            let until = {
                let now = wished.borrow_and_update();
                match self.wanted_until(&now) {
                    Some(end) => {
                        unwanted_since = None;
                        Some(end)
                    }
                    None if now.is_heard(&self.service, &self.settings.borrow()) => {
                        let since = *unwanted_since.get_or_insert_with(Instant::now);
                        Some(since + self.plan.linger)
                    }
                    None => None,
                }
            };
            if unwanted_since.is_some() && until.is_some_and(|until| until <= Instant::now()) {
                return;
            }
            let time = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                changed = wished.changed() => if changed.is_err() { pending().await },
            }
        }
    }
}
