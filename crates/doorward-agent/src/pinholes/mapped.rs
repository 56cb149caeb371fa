//! Pinholes where no `doorward router` is: a port mapping at the home's router, and behind it a listener of ours. The owner's
//! file says for which services; gateways name sessions, sources and how long, and try from outside whether it works.

use super::door::{Common, Terms};
use super::mapping::Mapping;
use super::probes::Probes;
use super::wished::{One, Sight, Wished, closed, id, sources_of_four};
use crate::settings::{PortMappingSettings, Settings};
use crate::target::{Place, Target};
use doorward_core::names::Label;
use doorward_core::pinhole::PinholeId;
use doorward_core::site::Host;
use doorward_portmap::{Open, PortMapper, Report, State, local_address};
use doorward_tunnel::messages::{PinholeSeen, PinholeState, PinholeWish, PinholesSeen};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::warn;

pub(super) struct Mapped {
    ledger: PathBuf,
    mapper: Option<Mapper>,
    /// Why none could be started, as was said.
    trouble: Option<String>,
    doors: BTreeMap<PinholeId, Result<Mapping, String>>,
    common: Common,
    tasks: JoinSet<()>,
}

/// As many as a router is asked for.
const MOST: usize = 64;
struct Mapper {
    rules: PortMappingSettings,
    /// `Err`: why it cannot work.
    started: Result<(PortMapper, watch::Receiver<Report>), String>,
}

impl Mapped {
    /// `ledger`: what an earlier run left at a router is written there.
    pub(super) fn new(ledger: PathBuf, probes: Arc<Probes>) -> Self {
        let (doors, common, tasks) = (BTreeMap::new(), Common::new(probes), JoinSet::new());
        Self { ledger, mapper: None, trouble: None, doors, common, tasks }
    }

    /// Opens and shuts what follows from the wishes. A router's daemon serves them all where there is one.
    pub(super) async fn follow(&mut self, all: &Wished, settings: &Settings) {
        let allowed = |(gateway, one): (&Label, &One)| {
            let to = leads_to(settings, gateway, &one.wish).ok()?;
            let terms = Terms { until: one.until, sources: sources_of_four(&one.wish).collect() };
            let is_meant = settings.router.is_none() && Instant::now() < one.until && !terms.sources.is_empty();
            is_meant.then_some((id(gateway, &one.wish.id)?, (to, terms, all.sight(gateway))))
        };
        let wanted: BTreeMap<_, _> = all.each().filter_map(allowed).collect();
        self.doors.retain(|id, _| wanted.contains_key(id));
        self.keep_mapper(&settings.port_mapping, !wanted.is_empty()).await;
        self.note_places();
        for (id, (to, terms, sight)) in wanted {
            self.keep_door(id, to, terms, sight).await;
        }
        let open = self.doors.iter().filter_map(|(id, door)| Some((id.as_str().to_owned(), door.as_ref().ok()?)));
        let wishes = open.map(|(name, mapping)| (name, mapping.wish.clone())).collect();
        if let Some((mapper, _)) = self.standing() {
            mapper.seen_from(all.home());
            mapper.wish(wishes);
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// What an earlier run left is taken back also where nothing is wished, or allowed any more.
    async fn keep_mapper(&mut self, rules: &PortMappingSettings, is_wanted: bool) {
        let is_other = |mapper: &Mapper| (mapper.rules.lease, mapper.rules.permanent) != (rules.lease, rules.permanent);
        match &self.mapper {
            Some(mapper) if is_wanted && (is_other(mapper) || mapper.started.is_err()) => self.stop_mapper().await,
            Some(_) => return,
            None if is_wanted || self.ledger.exists() => {}
            None => return,
        }
        let settings = doorward_portmap::Settings {
            lease: rules.lease,
            may_be_permanent: rules.permanent,
            ..doorward_portmap::Settings::new(self.ledger.clone())
        };
        let started = PortMapper::start(settings).await.map_err(|error| error.to_string());
        let trouble = started.as_ref().err().cloned();
        if let Some(why) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            warn!("no port mappings: {why}");
        }
        self.trouble = trouble;
        let started = started.map(|mapper| {
            let reports = mapper.reports();
            (mapper, reports)
        });
        self.mapper = Some(Mapper { rules: rules.clone(), started });
    }

    fn standing(&self) -> Option<&(PortMapper, watch::Receiver<Report>)> {
        self.mapper.as_ref()?.started.as_ref().ok()
    }

    fn note_places(&mut self) {
        let Some((_, reports)) = self.mapper.as_ref().and_then(|mapper| mapper.started.as_ref().ok()) else { return };
        let report = reports.borrow();
        for (id, mapping) in &mut self.doors {
            if let (Ok(mapping), Some(State::Open(open))) = (mapping, report.mappings.get(id.as_str())) {
                mapping.is_at(open);
            }
        }
    }

    /// At the address at which the router sees this machine; where that cannot be told now, at the one that it had.
    async fn keep_door(&mut self, id: PinholeId, to: Place, terms: Terms, sight: Sight) {
        let local = local_address();
        if let Some(Ok(mapping)) = self.doors.get_mut(&id)
            && mapping.door.to == to
            && local.as_ref().map_or(true, |local| *local == mapping.door.local)
        {
            return mapping.set(terms, sight);
        }
        let is_full = self.doors.values().filter(|door| door.is_ok()).count() >= MOST;
        let opened = match local {
            _ if is_full => Err(format!("the device has {MOST} port mappings already: using the relay instead")),
            Ok(local) => Mapping::open((id.clone(), local, to), (terms, sight), &self.common, &mut self.tasks)
                .await
                .map_err(|error| format!("the device cannot listen for it at {local}: {error}")),
            Err(why) => Err(format!("{why}: using the relay instead")),
        };
        self.doors.insert(id, opened);
    }

    /// What each gateway is told.
    pub(super) fn told(&self, all: &Wished, settings: &Settings) -> BTreeMap<Label, PinholesSeen> {
        let report = self.standing().map(|(_, reports)| reports.borrow().clone()).unwrap_or_default();
        all.told_as(|gateway, wish| match leads_to(settings, gateway, wish) {
            Err(why) => closed(wish, why.to_owned()),
            Ok(_) => self.seen(wish, id(gateway, &wish.id).as_ref(), &report),
        })
    }

    fn seen(&self, wish: &PinholeWish, id: Option<&PinholeId>, report: &Report) -> PinholeSeen {
        if let Some(Mapper { started: Err(why), .. }) = &self.mapper {
            return closed(wish, why.clone());
        }
        let door = match id.and_then(|id| self.doors.get(id)) {
            None => return closed(wish, "nobody may come by IPv4, or its time is over".to_owned()),
            Some(Err(why)) => return closed(wish, why.clone()),
            Some(Ok(mapping)) => &mapping.door,
        };
        match id.and_then(|id| report.mappings.get(id.as_str())) {
            None | Some(State::Asked) => closed(wish, "the home's router is being asked".to_owned()),
            Some(State::Failed(why)) => closed(wish, why.to_string()),
            Some(State::Open(Open { address, port, .. })) => {
                let state = if door.has_passed() { PinholeState::Passed } else { PinholeState::Untried };
                let (id, host) = (wish.id.clone(), Some(address.to_string()));
                PinholeSeen { id, state: state.into(), host, port: (*port).into(), why: None }
            }
        }
    }

    /// Resolves when there is something new to tell.
    pub(super) async fn changed(&mut self) {
        let reports = self.mapper.as_mut().and_then(|mapper| mapper.started.as_mut().ok()).map(|(_, reports)| reports);
        let reported = async {
            let Some(reports) = reports else { return std::future::pending().await };
            if reports.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = reported => {}
            () = self.common.bell.notified() => {}
        }
    }

    async fn stop_mapper(&mut self) {
        if let Some(Mapper { started: Ok((mapper, _)), .. }) = self.mapper.take() {
            mapper.stop().await;
        }
    }

    /// Shuts the doors and takes everything back from the router, within ten seconds at most; what is left is taken back at the
    /// next start. Whoever is inside is reset.
    pub(super) async fn stop(mut self) {
        self.doors.clear();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(CUT_LIMIT, ended).await;
        self.stop_mapper().await;
    }
}

/// For connections to be reset.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// Only what the owner's file offers and allows there; never what was added from a portal.
fn leads_to(settings: &Settings, gateway: &Label, wish: &PinholeWish) -> Result<Place, &'static str> {
    let is_it = |name: &Label| name.as_str() == wish.service && settings.shows(gateway, name);
    let service = settings.services.iter().find(|service| is_it(&service.offer.name));
    let service = service.ok_or("the device does not offer it")?;
    if !settings.port_mapping.allow.contains(&service.offer.name) {
        return Err("the device's agent.toml names no router ([router] socket) and allows no port mapping for it \
                    ([port-mapping] allow)");
    }
    match (&service.target, service.pinhole_to) {
        (Target::Tcp(_), Some(to)) => Ok(Place::Network { host: Host::Ip(to.ip()), port: to.port() }),
        (Target::Tcp(place), None) => Ok(place.clone()),
        (
            Target::Http(_)
            | Target::Https { .. }
            | Target::H2c(_)
            | Target::H2 { .. }
            | Target::Udp { .. }
            | Target::Camera(_),
            _,
        ) => Err("port mappings are for TCP services"),
    }
}
