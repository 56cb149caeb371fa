//! The task that owns all mappings: wishes in, reports out.

use crate::keeper::{Deed, Keeper, Rules};
use crate::ledger::{self, Ledger, LedgerError};
use crate::report::Report;
use crate::route::{self, Network, NoRouter};
use crate::router::Router;
use crate::wish::Wishes;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the ledger lies. It belongs to this process alone.
    pub ledger: PathBuf,
    /// What routers are asked for at most; they may give another.
    pub lease: Duration,
    /// Whether a router that knows no leases may make mappings that only we end.
    pub may_be_permanent: bool,
    /// How often a router is asked whether it still knows.
    pub check: Duration,
    /// Whether it is asked for its address as often, also while nothing is mapped.
    pub asks_address: bool,
}

impl Settings {
    pub fn new(ledger: PathBuf) -> Self {
        Self {
            ledger,
            lease: Duration::from_secs(3600),
            may_be_permanent: true,
            check: Duration::from_secs(60),
            asks_address: false,
        }
    }
}

/// How often the routes are looked at, if nobody says that they changed.
const ROUTES: Duration = Duration::from_secs(15);
/// For taking everything back at the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// How the network is found out.
pub(crate) type Look = Box<dyn Fn() -> Result<Network, NoRouter> + Send>;

/// Dropping it ends the task at once; what is open then is withdrawn at the next start. [`PortMapper::stop`] withdraws.
pub struct PortMapper {
    wishes: watch::Sender<Wishes>,
    seen: watch::Sender<Option<Ipv4Addr>>,
    look: Arc<Notify>,
    stop: oneshot::Sender<()>,
    reports: watch::Receiver<Report>,
    task: JoinSet<()>,
}

impl PortMapper {
    /// Begins by taking back what an earlier process left.
    pub async fn start(settings: Settings) -> Result<Self, LedgerError> {
        Self::start_with(settings, Box::new(route::look)).await
    }

    pub(crate) async fn start_with(settings: Settings, look: Look) -> Result<Self, LedgerError> {
        let path = settings.ledger.clone();
        let read = tokio::task::spawn_blocking(move || ledger::read(&path)).await;
        let ledger = read.expect("reading does not panic")?.unwrap_or_else(|| Ledger::new(rand::random()));
        let (wishes, wished) = watch::channel(Wishes::new());
        let (seen, seen_from) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let notify = Arc::new(Notify::new());
        let rules = Rules {
            lease: settings.lease,
            may_be_permanent: settings.may_be_permanent,
            check: settings.check,
            asks_address: settings.asks_address,
        };
        let token = ledger.token.clone();
        let keeper = Keeper::new(rules, ledger, rand::random, now());
        let (report, reports) = watch::channel(keeper.report());
        let owner = Owner {
            path: settings.ledger,
            token,
            keeper,
            router: None,
            look,
            wished,
            seen_from,
            look_again: Arc::clone(&notify),
            report,
        };
        let mut task = JoinSet::new();
        task.spawn(owner.run(stopped));
        Ok(Self { wishes, seen, look: notify, stop, reports, task })
    }

    /// All there shall be, from now on.
    pub fn wish(&self, wishes: Wishes) {
        self.wishes.send_if_modified(|old| {
            let is_new = *old != wishes;
            *old = wishes;
            is_new
        });
    }

    /// Where the gateway sees this home come from: the source of a link that goes straight there by IPv4.
    pub fn seen_from(&self, address: Option<Ipv4Addr>) {
        self.seen.send_if_modified(|old| std::mem::replace(old, address) != address);
    }

    /// The network may be another one.
    pub fn look_again(&self) {
        self.look.notify_one();
    }

    pub fn reports(&self) -> watch::Receiver<Report> {
        self.reports.clone()
    }

    /// Withdraws everything, within 10 s at most. What is left is withdrawn at the next start.
    pub async fn stop(mut self) {
        // It may have ended already.
        let _ended = self.stop.send(());
        while self.task.join_next().await.is_some() {}
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct Owner {
    path: PathBuf,
    token: String,
    keeper: Keeper,
    router: Option<Router>,
    look: Look,
    wished: watch::Receiver<Wishes>,
    seen_from: watch::Receiver<Option<Ipv4Addr>>,
    look_again: Arc<Notify>,
    report: watch::Sender<Report>,
}

impl Owner {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            self.learn();
            let deed = self.keeper.next(now());
            let may_be_done = self.write_before(&deed).await;
            self.tell();
            if let Deed::Wait(until) = deed {
                tokio::select! {
                    _ = &mut stopped => break,
                    () = self.pause(until) => continue,
                }
            }
            if may_be_done {
                self.act(deed).await;
            }
            // Whoever stops waits for one deed, which is bounded; the farewell takes back what it made.
            if stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
                break;
            }
        }
        if timeout(FAREWELL, self.say_farewell()).await.is_err() {
            warn!("the router is slow: port mappings that are left are withdrawn at the next start");
        }
    }

    /// What there is to know before deciding.
    fn learn(&mut self) {
        let network = (self.look)();
        if network.ok() != self.router.as_ref().map(|router| *router.network()) {
            info!("port mappings are asked of another router than before, or of none");
            self.router = network.ok().map(Router::new);
        }
        self.keeper.network(now(), network);
        self.keeper.seen_from(now(), *self.seen_from.borrow_and_update());
        let wishes = self.wished.borrow_and_update().clone();
        self.keeper.wish(now(), &wishes);
    }

    fn tell(&self) {
        let report = self.keeper.report();
        self.report.send_if_modified(|old| {
            let is_new = *old != report;
            *old = report;
            is_new
        });
    }

    async fn pause(&mut self, until: Option<Instant>) {
        let routes = now() + ROUTES;
        let until = until.map_or(routes, |until| until.min(routes));
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.look_again.notified() => {}
            // Whoever wishes is gone with the mapper, which ends this task.
            Ok(()) = self.wished.changed() => {}
            Ok(()) = self.seen_from.changed() => {}
        }
    }

    /// Nothing is asked, and nothing told, that is not on disk. Answers whether the deed may be done.
    async fn write_before(&mut self, deed: &Deed) -> bool {
        match self.save().await {
            Ok(()) => true,
            Err(error) => {
                warn!("{error}");
                self.keeper.unwritable(now(), deed, error.to_string())
            }
        }
    }

    async fn act(&mut self, deed: Deed) {
        let Some(router) = &mut self.router else { return };
        debug!(?deed, "asking the router");
        match &deed {
            Deed::Wait(_) => {}
            Deed::FindUpnp => {
                let udn = router.find_upnp().await;
                self.keeper.found_upnp(now(), udn);
            }
            Deed::Ask { line, attempt, lease, sources, .. } => {
                let answer = router.ask(line, *attempt, *lease, sources, &self.token).await;
                debug!(?answer, "the router answers");
                self.keeper.asked(now(), &deed, answer);
            }
            Deed::Check { name, line } => {
                let checked = router.check(line, &self.token).await;
                self.keeper.checked(now(), name, checked);
            }
            Deed::AskAddress => {
                let address = router.external_address().await;
                self.keeper.told_address(now(), address);
            }
            Deed::Withdraw { id, line } => {
                let withdrawn = router.withdraw(line, &self.token).await;
                debug!(?withdrawn, "the router answers");
                self.keeper.withdrawn(now(), *id, withdrawn);
            }
        }
    }

    async fn save(&mut self) -> Result<(), LedgerError> {
        let Some(ledger) = self.keeper.unwritten() else { return Ok(()) };
        let (path, ledger) = (self.path.clone(), ledger.clone());
        let written = tokio::task::spawn_blocking(move || ledger::write(&path, &ledger)).await;
        written.expect("writing does not panic")?;
        self.keeper.written();
        Ok(())
    }

    async fn say_farewell(&mut self) {
        self.keeper.end(now());
        loop {
            let deed = self.keeper.next(now());
            match deed {
                Deed::Withdraw { .. } => {
                    self.write_before(&deed).await;
                    self.act(deed).await;
                }
                Deed::Wait(_) | Deed::FindUpnp | Deed::Ask { .. } | Deed::Check { .. } | Deed::AskAddress => break,
            }
        }
        self.save().await.unwrap_or_else(|error| warn!("{error}"));
        self.tell();
    }
}
