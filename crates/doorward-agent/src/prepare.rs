//! Services that are made ready when a gateway wishes it, and let go when none does any more.
//!
//! What a gateway says is level-triggered: all that it wishes, again and again, each wish with an end of its own. What is
//! done about it is this agent's alone ([`Plan`]). A wish may come twice, late or not at all, and either end may start
//! anew in between: a service that was made ready and not let go is remembered on disk.

mod board;
mod command;
mod hook;
mod keeper;
mod memory;
mod plan;
mod ready;
mod steps;
mod wished;

pub use plan::{Address, Command, Deed, Hook, Plan, Probe, Readiness, Step};

pub(crate) use board::Board;
use board::Progress;
use keeper::Keeper;
use memory::Memory;
use wished::Wished;

use crate::settings::Settings;
use crate::state::StateDir;
use doorward_core::names::Label;
use doorward_tunnel::messages::{Preparations, Wishes};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::error;

/// What gateways wish, and how far things are.
#[derive(Default)]
pub(crate) struct Preparing {
    wished: watch::Sender<Wished>,
    board: watch::Sender<Board>,
}

impl Preparing {
    /// The whole of what this gateway wishes from now on.
    pub(crate) fn hear(&self, gateway: &Label, wishes: &Wishes) {
        self.wished.send_modify(|wished| wished.hear(gateway, wishes, Instant::now()));
    }

    /// The gateway was left: what it wished counts no more.
    pub(crate) fn forget(&self, gateway: &Label) {
        self.wished.send_modify(|wished| wished.forget(gateway));
    }

    pub(crate) fn board(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// Looks after every service that has a plan, for as long as it is polled. `again`: after a failed step.
    pub(crate) async fn run(&self, mut settings: watch::Receiver<Arc<Settings>>, state: StateDir, again: Duration) {
        let memory = Arc::new(Memory::open(state));
        let (mut tasks, mut running) = (JoinSet::new(), HashMap::<Label, (Plan, AbortHandle)>::new());
        loop {
            let now = settings.borrow_and_update().clone();
            let plan_of = |name: &Label| now.services.iter().find(|s| s.offer.name == *name)?.plan.clone();
            // Another plan is another keeper, which finds out by itself how things stand.
            running.retain(|name, (plan, task)| {
                let is_same = plan_of(name).as_ref() == Some(plan);
                if !is_same {
                    task.abort();
                    self.board.send_modify(|board| board.take_out(name));
                }
                is_same
            });
            for service in &now.services {
                let (name, Some(plan)) = (service.offer.name.clone(), service.plan.clone()) else { continue };
                if running.contains_key(&name) {
                    continue;
                }
                self.board.send_modify(|board| board.put(&name, Progress::resting()));
                let keeper = Keeper {
                    service: name.clone(),
                    plan: plan.clone(),
                    settings: settings.clone(),
                    wished: self.wished.subscribe(),
                    board: self.board.clone(),
                    memory: memory.clone(),
                    again,
                };
                running.insert(name, (plan, tasks.spawn(keeper.run())));
            }
            tokio::select! {
                changed = settings.changed() => if changed.is_err() {
                    // Nothing changes any more; what runs goes on.
                    std::future::pending::<()>().await;
                },
                Some(Err(fault)) = tasks.join_next() => if fault.is_panic() {
                    error!(%fault, "a service is looked after no more by a mistake in Doorward; please report it");
                },
            }
        }
    }
}

/// For one gateway: how far the services are that it may see.
pub(crate) fn report(board: &Board, settings: &Settings, gateway: &Label) -> Preparations {
    let seen = settings.services_for(gateway).filter_map(|service| board.message(&service.offer.name));
    Preparations { services: seen.collect() }
}
