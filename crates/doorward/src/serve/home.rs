//! A gateway that stands at home: its router is asked to forward ports here, and names in DNS are told where here is.
//!
//! ```text
//! router's report ┐         ┌→ wishes, names' addresses
//! own addresses   ┼→ look ──┼→ what was given: the settings are read anew with it, so that links name the right port
//! names' reports  ┘         └→ report for people
//! ```
//!
//! All of it is level-triggered: each look begins with what there is now.

mod addresses;
mod plan;
mod words;

use crate::serve::settings::Given;
use anyhow::Context;
use doorward_control::{Control, HomeReport, MappingState, NameReport};
use doorward_dyndns::{Addresses, Updater};
use doorward_gateway::Bound;
use doorward_portmap::{PortMapper, Report, Settings, State};
use plan::Plan;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// What the settings say of it.
#[derive(Clone, Debug, Default)]
pub struct HomeSettings {
    pub mapping: Option<MappingSettings>,
    pub names: Vec<NameSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingSettings {
    /// Ports of the router, in turn.
    pub https: Vec<NonZeroU16>,
    pub quic: Vec<NonZeroU16>,
    pub http: Vec<NonZeroU16>,
    pub may_be_permanent: bool,
    pub lease: Duration,
    pub check: Duration,
}

#[derive(Clone, Debug)]
pub struct NameSettings {
    pub settings: doorward_dyndns::Settings,
    pub ipv4: bool,
    pub ipv6: bool,
}

impl MappingSettings {
    pub fn may_give_https(&self, port: u16) -> bool {
        self.https.iter().any(|asked| asked.get() == port)
    }

    pub fn may_give_http(&self, port: u16) -> bool {
        self.http.iter().any(|asked| asked.get() == port)
    }
}

/// The ledger of port mappings, in the data directory.
const LEDGER: &str = "mappings.json";
/// How often this machine's own addresses are looked at, if nothing else is new.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// It ends by [`Home::stop`], which has the router take back everything; dropped, it leaves that to the next start.
pub(super) struct Home {
    given: watch::Receiver<Given>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Home {
    /// `None`: there is nothing to look after.
    pub(super) async fn start(
        settings: HomeSettings,
        control: &Control,
        bound: &Bound,
    ) -> anyhow::Result<Option<Self>> {
        let ledger = control.directory().join(LEDGER);
        let is_wished = settings.mapping.is_some() || settings.names.iter().any(|name| name.ipv4);
        let mapper = start_mapper(&ledger, settings.mapping.as_ref(), is_wished).await.context("port mapping")?;
        if mapper.is_none() && settings.names.is_empty() {
            return Ok(None);
        }
        let mut names = Vec::new();
        for name in settings.names {
            let shown = name.settings.name.clone();
            let updater = Updater::start(name.settings).await.with_context(|| format!("dynamic DNS of {shown}"))?;
            names.push(Name { name: shown.to_string(), ipv4: name.ipv4, ipv6: name.ipv6, updater });
        }
        let plan = settings.mapping.map(|mapping| Plan::new(&mapping, bound)).unwrap_or_default();
        if let Some(mapper) = &mapper {
            mapper.wish(plan.wishes());
        }
        let (give, given) = watch::channel(Given::default());
        let stop = CancellationToken::new();
        let owner = Owner { control: control.clone(), plan, mapper, names, give };
        let task = AbortOnDropHandle::new(tokio::spawn(owner.run(stop.clone())));
        Ok(Some(Self { given, stop, task }))
    }

    pub(super) fn given(&self) -> Given {
        *self.given.borrow()
    }

    /// Once another port or address was given than at the last time this resolved.
    pub(super) async fn changed(&mut self) {
        if self.given.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Has the router take back what it was asked for, within ten seconds.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ended = self.task.await;
    }
}

/// Without a wish, too, if the ledger is there: what an earlier gateway left in the router is taken back.
async fn start_mapper(
    ledger: &Path,
    mapping: Option<&MappingSettings>,
    is_wished: bool,
) -> Result<Option<PortMapper>, doorward_portmap::LedgerError> {
    if !is_wished && !ledger.exists() {
        return Ok(None);
    }
    let usual = Settings { asks_address: is_wished, ..Settings::new(ledger.to_owned()) };
    let settings = match mapping {
        Some(mapping) => {
            Settings { lease: mapping.lease, may_be_permanent: mapping.may_be_permanent, check: mapping.check, ..usual }
        }
        None => usual,
    };
    PortMapper::start(settings).await.map(Some)
}

struct Name {
    name: String,
    ipv4: bool,
    ipv6: bool,
    updater: Updater,
}

struct Owner {
    control: Control,
    plan: Plan,
    mapper: Option<PortMapper>,
    names: Vec<Name>,
    give: watch::Sender<Given>,
}

impl Owner {
    async fn run(mut self, stop: CancellationToken) {
        let news = Arc::new(Notify::new());
        let mut listeners = JoinSet::new();
        if let Some(mapper) = &self.mapper {
            listeners.spawn(pass_on(mapper.reports(), news.clone()));
        }
        for name in &self.names {
            listeners.spawn(pass_on(name.updater.reports(), news.clone()));
        }
        loop {
            self.look();
            tokio::select! {
                () = stop.cancelled() => break,
                () = news.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
        if let Some(mapper) = self.mapper {
            mapper.stop().await;
        }
    }

    fn look(&mut self) {
        let router = self.mapper.as_ref().map(|mapper| mapper.reports().borrow().clone()).unwrap_or_default();
        if let Some(mapper) = &self.mapper
            && self.plan.learn(&router)
        {
            mapper.wish(self.plan.wishes());
        }
        let here = here(&router);
        for name in &self.names {
            let (v4, v6) = (here.v4().filter(|_| name.ipv4), here.v6().filter(|_| name.ipv6));
            name.updater.point(Addresses::public(v4, v6));
        }
        self.give(&router, here);
        let report = self.report(&router, here);
        tell_log(&self.control.home().borrow(), &report);
        self.control.tell_home(report);
    }

    /// A mapping that is lost for a while leaves its port in the links: it comes back there.
    fn give(&self, router: &Report, here: Addresses) {
        self.give.send_if_modified(|given| {
            let open = |listener| match router.mappings.get(listener) {
                Some(State::Open(open)) => Some(open.port),
                Some(State::Asked | State::Failed(_)) | None => None,
            };
            let now = Given {
                address: here.v4().or(given.address),
                https: open(plan::HTTPS).or(given.https),
                quic: open(plan::QUIC).or(given.quic),
            };
            std::mem::replace(given, now) != now
        });
    }

    fn report(&self, router: &Report, here: Addresses) -> HomeReport {
        let name = |name: &Name| {
            let report = name.updater.reports().borrow().clone();
            NameReport {
                name: name.name.clone(),
                ipv4: report.told.v4(),
                ipv6: report.told.v6(),
                told_at: report.told_at,
                trouble: report.trouble,
                is_stopped: report.is_stopped,
            }
        };
        HomeReport {
            ipv4: here.v4(),
            ipv6: here.v6(),
            mappings: self.plan.report(router),
            leftovers: router.leftovers,
            names: self.names.iter().map(name).collect(),
        }
    }
}

/// Where here is: the router's address, or this machine's own where it needs no router.
fn here(router: &Report) -> Addresses {
    let own = addresses::own();
    let v4 = own.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let v6 = own.iter().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    Addresses::public(router.external.or(v4), v6)
}

/// Tells whoever looks that there is something new to look at.
async fn pass_on<T>(mut reports: watch::Receiver<T>, news: Arc<Notify>) {
    while reports.changed().await.is_ok() {
        news.notify_one();
    }
}

/// What became otherwise.
fn tell_log(before: &HomeReport, now: &HomeReport) {
    for mapping in now.mappings.iter().filter(|mapping| !before.mappings.contains(mapping)) {
        let listener = &mapping.listener;
        match &mapping.state {
            MappingState::Asked => {}
            MappingState::Open { port, by } => {
                info!("the router forwards its {} {port} to {listener} here, as it says by {by}", words::kind(mapping));
            }
            MappingState::Failed { why, remedy } => warn!("{listener} is not forwarded: {why}; {remedy}"),
        }
    }
    if before.ipv4 != now.ipv4
        && let Some(ip) = now.ipv4
    {
        info!("the address that leads here is {ip}");
    }
}
