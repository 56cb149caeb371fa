//! The task that owns one name.

use crate::address::Addresses;
use crate::answer::Answer;
use crate::memory::{self, Memory, MemoryError};
use crate::plan::{Next, Plan};
use crate::settings::{Settings, Way};
use crate::{dyndns2, rfc2136, template};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was told last.
    pub told: Addresses,
    pub told_at: Option<Timestamp>,
    /// Why the provider was not told, or not yet.
    pub trouble: Option<String>,
    /// Whether nothing is tried any more until the settings change.
    pub is_stopped: bool,
}

/// Dropping it ends the task. What was told stays told.
pub struct Updater {
    addresses: watch::Sender<Addresses>,
    reports: watch::Receiver<Report>,
    _task: JoinSet<()>,
}

impl Updater {
    pub async fn start(settings: Settings) -> Result<Self, MemoryError> {
        let mark = settings.mark();
        let path = settings.memory.clone();
        let read = tokio::task::spawn_blocking(move || memory::read(&path, &mark)).await;
        let memory = read.expect("reading does not panic")?;
        let plan = Plan::new(memory.told, memory.stopped.clone());
        let (addresses, wished) = watch::channel(Addresses::default());
        let (report, reports) = watch::channel(report(&plan, &memory));
        let mut task = JoinSet::new();
        task.spawn(Owner { settings, memory, plan, wished, report }.run());
        Ok(Self { addresses, reports, _task: task })
    }

    /// What the name shall point at from now on.
    pub fn point(&self, addresses: Addresses) {
        self.addresses.send_if_modified(|old| std::mem::replace(old, addresses) != addresses);
    }

    pub fn reports(&self) -> watch::Receiver<Report> {
        self.reports.clone()
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn report(plan: &Plan, memory: &Memory) -> Report {
    let trouble = plan.stopped().or(plan.late()).map(str::to_owned);
    Report { told: plan.told(), told_at: memory.told_at, trouble, is_stopped: plan.stopped().is_some() }
}

struct Owner {
    settings: Settings,
    memory: Memory,
    plan: Plan,
    wished: watch::Receiver<Addresses>,
    report: watch::Sender<Report>,
}

impl Owner {
    async fn run(mut self) {
        let (v4, v6) = self.settings.families();
        loop {
            let wished = self.wished.borrow_and_update().only(v4, v6);
            match self.plan.next(now(), &wished) {
                Next::Tell(addresses) if !addresses.is_empty() => self.tell(addresses).await,
                Next::Wait(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    changed = self.wished.changed() => if changed.is_err() { return },
                },
                Next::Rest | Next::Tell(_) => {
                    if self.wished.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn tell(&mut self, addresses: Addresses) {
        let name = &self.settings.name;
        let answer = match &self.settings.way {
            Way::Rfc2136(way) => rfc2136::tell(way, name, addresses).await,
            Way::Dyndns2(way) => dyndns2::tell(way, name, addresses).await,
            Way::Template(way) => template::tell(way, name, addresses).await,
        };
        match &answer {
            Answer::Taken => info!("the name {name} points here now"),
            Answer::Later { why, .. } => warn!("the name {name} is not yet kept: {why}"),
            Answer::Stopped { why } => warn!("the name {name} is kept no more, until the settings change: {why}"),
        }
        let told_at = if answer == Answer::Taken { Some(Timestamp::now()) } else { self.memory.told_at };
        self.plan.answered(now(), addresses, answer);
        self.save(told_at).await;
        self.report.send_replace(report(&self.plan, &self.memory));
    }

    async fn save(&mut self, told_at: Option<Timestamp>) {
        let (told, stopped) = (self.plan.told(), self.plan.stopped().map(str::to_owned));
        let memory = Memory { told, told_at, stopped, ..self.memory.clone() };
        if memory == self.memory {
            return;
        }
        self.memory = memory.clone();
        let path: PathBuf = self.settings.memory.clone();
        let written = tokio::task::spawn_blocking(move || memory::write(&path, &memory)).await;
        if let Err(error) = written.expect("writing does not panic") {
            warn!("after a restart the provider will be told again, since {error}");
        }
    }
}
