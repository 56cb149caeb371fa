//! How far each service is, for gateways to hear.

use doorward_core::names::Label;
use doorward_core::prepare::Phase;
use doorward_tunnel::messages::{Phase as SaidPhase, Preparation};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub(crate) struct Board(BTreeMap<Label, Progress>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) phase: Phase,
    /// From 1.
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) what: String,
    pub(super) since: Instant,
    pub(super) error: Option<String>,
    pub(super) retry_at: Option<Instant>,
}

impl Progress {
    pub(super) fn resting() -> Self {
        Self::of(Phase::Resting)
    }

    pub(super) fn of(phase: Phase) -> Self {
        Self { phase, step: 0, steps: 0, what: String::new(), since: Instant::now(), error: None, retry_at: None }
    }
}

impl Board {
    /// The time of a phase goes on from step to step.
    pub(super) fn put(&mut self, service: &Label, mut progress: Progress) {
        if let Some(before) = self.0.get(service).filter(|before| before.phase == progress.phase) {
            progress.since = before.since;
        }
        self.0.insert(service.clone(), progress);
    }

    pub(super) fn take_out(&mut self, service: &Label) {
        self.0.remove(service);
    }

    pub(super) fn message(&self, service: &Label) -> Option<Preparation> {
        let progress = self.0.get(service)?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Preparation {
            service: service.to_string(),
            phase: SaidPhase::from(progress.phase).into(),
            step: number(progress.step),
            steps: number(progress.steps),
            what: progress.what.clone(),
            for_ms: millis(progress.since.elapsed()),
            error: progress.error.clone(),
            retry_ms: progress.retry_at.map(|at| millis(at.saturating_duration_since(Instant::now()))),
        })
    }
}
