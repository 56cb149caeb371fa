//! Holding a link: what the gateway says is answered, and what changes here is told.

use super::Connection;
use crate::counts::{TELL_EVERY, Told};
use crate::prepare::report;
use crate::settings::{Service, check_size};
use crate::status::{LinkState, ServiceStatus};
use crate::{ports, scan, upkeep};
use doorward_core::names::Label;
use doorward_core::service::Offer;
use doorward_tunnel::messages::{
    Additions, CheckPorts, Goodbye, KNOWS_WISHES, Leaving, Message, Services, ServicesReport, SiteStored,
};
use doorward_tunnel::{AgentLink, AgentStanding, HANDSHAKE_LIMIT, LinkEnd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// What became of a link.
pub(super) enum Outcome {
    Lost,
    /// The gateway goes, and another one or the same comes back: dial at once.
    Replaced,
    /// The gateway does not want this link; dialling at once would be refused.
    Unwanted,
    /// Another one stands.
    Climbed(AgentStanding),
    Stopped,
}

/// A link after which the ladder starts anew.
const LASTING: Duration = Duration::from_secs(600);

/// What a link being held needs beside the connection.
struct Held {
    link: Arc<AgentLink>,
    /// Of the last `Services`.
    revision: u64,
    checks: JoinSet<()>,
    told: Told,
    /// The scan that was asked for last.
    scan: u64,
    scans: JoinSet<()>,
    /// Whether the gateway knows of services that are made ready.
    knows_wishes: bool,
}

impl Connection {
    pub(super) async fn hold(&mut self, standing: AgentStanding) -> Outcome {
        let AgentStanding { link, welcome, visits, mut events, driver } = standing;
        let mut driver = AbortOnDropHandle::new(tokio::spawn(driver));
        self.visits.take(visits);
        let (knows_wishes, told) = (welcome.capability >= KNOWS_WISHES, Told::default());
        let (checks, scans) = (JoinSet::new(), JoinSet::new());
        let mut held = Held { link: link.clone(), revision: 0, checks, told, scan: 0, scans, knows_wishes };
        self.tell_services(&mut held).await;
        self.tell_preparations(&held).await;
        self.tell_additions(&held).await;
        self.enter(&link, &welcome.device_name).await;
        if let Some(site) = welcome.site {
            self.hear(Message::Site(site), &mut held).await;
        }
        let stood = Instant::now();
        let climber = self.climber(&link);
        let is_introducing = climber.is_introducing();
        let mut climbing = Box::pin(climber.climb());
        let stop = self.stop.clone();
        let mut telling = tokio::time::interval(TELL_EVERY);
        let mut pinholes = self.shared.pinholes.seen();
        // What was seen before is news to this gateway.
        pinholes.mark_changed();
        telling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // A goodbye before the end that follows it.
                biased;
                () = stop.cancelled() => {
                    link.say(Message::Goodbye(Goodbye { reason: Leaving::Stopping.into() })).await;
                    self.visits.drain(self.shared.tempo.drain).await;
                    self.counts.store_now().await;
                    link.close(Leaving::Stopping).await;
                    return Outcome::Stopped;
                }
                Some(message) = events.recv() => match self.hear(message, &mut held).await {
                    None => {}
                    Some(outcome @ Outcome::Replaced) => {
                        self.visits.retire(driver, events, self.shared.tempo.retire);
                        return outcome;
                    }
                    Some(outcome) => return outcome,
                },
                standing = &mut climbing => {
                    self.visits.retire(driver, events, self.shared.tempo.retire);
                    return Outcome::Climbed(standing);
                }
                end = &mut driver => {
                    if is_introducing.load(Ordering::Relaxed)
                        && let Ok(standing) = timeout(HANDSHAKE_LIMIT, &mut climbing).await
                    {
                        return Outcome::Climbed(standing);
                    }
                    return self.leave(end.ok(), stood);
                }
                Ok(()) = self.settings.changed() => {
                    self.tell_services(&mut held).await;
                    // The gateway knew nothing of a service that it was told of before.
                    self.tell_preparations(&held).await;
                    self.tell_additions(&held).await;
                }
                Ok(()) = self.board.changed() => self.tell_preparations(&held).await,
                Ok(()) = pinholes.changed() => {
                    let seen = pinholes.borrow_and_update().get(&self.gateway).cloned();
                    if let Some(seen) = seen {
                        link.say(Message::PinholesSeen(seen)).await;
                    }
                }
                Ok(()) = self.network.changed() => link.doubt(),
                Some(_) = held.checks.join_next() => {}
                _ = telling.tick() => self.tell_spending(&mut held).await,
                Some(_) = held.scans.join_next() => {}
            }
        }
    }

    async fn enter(&mut self, link: &AgentLink, device_name: &str) {
        let carrier = link.carrier();
        let device_name = Label::parse(device_name).unwrap_or_else(|_| self.site.device_name.clone());
        info!(gateway = %self.gateway, carrier = carrier.word(), device = %device_name, "connected");
        self.status.set_device_name(device_name.clone());
        self.status.set_state(LinkState::Online { carrier, since: Instant::now() });
        self.remember(carrier, device_name).await;
    }

    fn leave(&mut self, end: Option<LinkEnd>, stood: Instant) -> Outcome {
        let end = end.map(|end| end.to_string()).unwrap_or_default();
        info!(gateway = %self.gateway, "the link ended: {end}");
        if stood.elapsed() > LASTING {
            self.climbs.store(0, Ordering::Relaxed);
        }
        Outcome::Lost
    }

    async fn tell_services(&mut self, held: &mut Held) {
        held.revision = self.shared.revision.fetch_add(1, Ordering::Relaxed) + 1;
        let settings = self.settings.borrow_and_update().clone();
        let services: Vec<_> = settings.services_for(&self.gateway).collect();
        if let Err(error) = check_size(services.iter().copied()) {
            // What was lent by quick commands came on top of the file. More would cost the link.
            warn!(gateway = %self.gateway, "the services stay as they were: {error}");
            return;
        }
        if !held.knows_wishes && services.iter().any(|service| service.plan.is_some()) {
            // To its gateway such a service is one like any other; the key would have it refuse the service.
            warn!(gateway = %self.gateway, "this gateway is of a release that has no service made ready; update it");
        }
        let offer = |service: &&Service| {
            let offer = written(service, held.knows_wishes).inspect_err(|error| warn!(%error, "a service is lost"));
            Some((offer.ok()?, service.written_at.clone().unwrap_or_default()))
        };
        let (offers, written_at) = services.iter().filter_map(offer).unzip();
        let services = Services { revision: held.revision, offers, written_at };
        held.link.say(Message::Services(services)).await;
    }

    async fn tell_spending(&mut self, held: &mut Held) {
        let settings = self.settings.borrow().clone();
        let services = settings.services_for(&self.gateway).map(|service| &service.offer.name);
        if let Some(spending) = held.told.news(&self.counts, services, settings.reserve()) {
            held.link.say(Message::Spending(spending)).await;
        }
    }

    async fn tell_preparations(&mut self, held: &Held) {
        let preparations = report(&self.board.borrow_and_update(), &self.settings.borrow(), &self.gateway);
        if held.knows_wishes && !preparations.services.is_empty() {
            held.link.say(Message::Preparations(preparations)).await;
        }
    }

    async fn tell_additions(&self, held: &Held) {
        let report = self.shared.additions.report(&self.gateway, &self.settings.borrow());
        held.link.say(Message::AdditionsReport(report)).await;
    }

    async fn hear_additions(&self, additions: Additions, held: &mut Held) {
        self.shared.additions.hear(&self.gateway, additions.services).await;
        // It is repeated until its answer has come.
        if additions.scan == 0 || additions.scan == held.scan {
            return;
        }
        held.scan = additions.scan;
        let (link, looking) = (held.link.clone(), self.shared.looking.clone());
        let may_scan = self.settings.borrow().portal.may_scan;
        held.scans.spawn(async move {
            let found = if may_scan { scan::for_portal(&looking).await } else { Err(scan::NOT_ALLOWED.to_owned()) };
            link.say(Message::Findings(scan::told(additions.scan, found))).await;
        });
    }

    /// `Some`: the link is to be left.
    async fn hear(&mut self, message: Message, held: &mut Held) -> Option<Outcome> {
        match message {
            Message::ServicesReport(report) => self.note_report(report, held.revision),
            Message::Site(site) => {
                if self.learn(&site).await {
                    held.link.say(Message::SiteStored(SiteStored { revision: site.revision })).await;
                }
            }
            Message::CheckPorts(wanted) => self.check_ports(wanted, held),
            Message::Additions(additions) => self.hear_additions(additions, held).await,
            Message::Wishes(wishes) => self.shared.preparing.hear(&self.gateway, &wishes),
            Message::PinholesWished(wished) => self.shared.pinholes.hear(&self.gateway, wished, held.link.gateway()),
            Message::PinholeProbe(told) => self.shared.pinholes.hear_of_probe(&self.gateway, told),
            Message::LogWanted(wanted) => {
                let (upkeep, state) = (self.shared.upkeep.as_ref(), &self.shared.state);
                let told = upkeep::tell_log(upkeep, state, wanted.number, wanted.lines);
                held.link.say(Message::ErrandDone(told)).await;
            }
            Message::RestartWanted(wanted) => self.hear_restart(wanted.number, held).await,
            Message::Goodbye(goodbye) => return self.hear_goodbye(goodbye.reason()),
            other => debug!(kind = other.kind(), "the gateway said something that is not for an agent"),
        }
        None
    }

    async fn hear_restart(&mut self, number: u64, held: &Held) {
        let (done, restart) = upkeep::restart(self.shared.upkeep.as_ref(), &self.shared.state, number);
        held.link.say(Message::ErrandDone(done)).await;
        if let Some(restart) = restart {
            info!(gateway = %self.gateway, "starting anew, as was asked for at the gateway");
            restart.cancel();
        }
    }

    fn hear_goodbye(&mut self, reason: Leaving) -> Option<Outcome> {
        match reason {
            Leaving::Stopping => {
                info!(gateway = %self.gateway, "the gateway stops; looking for it again");
                Some(Outcome::Replaced)
            }
            Leaving::Revoked => {
                warn!(gateway = %self.gateway, "this device was revoked there");
                self.visits.cut();
                self.shared.pinholes.forget(&self.gateway);
                Some(Outcome::Replaced)
            }
            Leaving::TwoMachines => {
                warn!(gateway = %self.gateway, "another machine uses this device's key");
                self.visits.cut();
                Some(Outcome::Unwanted)
            }
            // The driver ends by itself when the gateway closes.
            Leaving::Superseded | Leaving::Unspecified => None,
        }
    }

    /// One check at a time; a gateway that asks more often is not answered.
    fn check_ports(&mut self, wanted: CheckPorts, held: &mut Held) {
        if !held.checks.is_empty() {
            return;
        }
        let (link, addresses) = (held.link.clone(), self.site.addresses.clone());
        held.checks.spawn(async move {
            let checked = ports::check(wanted, addresses, link.gateway()).await;
            link.say(Message::PortsChecked(checked)).await;
        });
    }

    fn note_report(&mut self, report: ServicesReport, revision: u64) {
        if report.revision < revision {
            return;
        }
        let services = report.services.into_iter().map(|service| ServiceStatus {
            name: service.name,
            reached_by: service.reached_by,
            problems: service.problems,
            notes: service.notes,
        });
        let services: Vec<_> = services.collect();
        if !self.status.set_services(services.clone()) {
            return;
        }
        for service in services {
            let name = &service.name;
            if !service.reached_by.is_empty() {
                info!(gateway = %self.gateway, "{name} is reached at {}", service.reached_by.join(", "));
            }
            for problem in &service.problems {
                warn!(gateway = %self.gateway, "{name}: {problem}");
            }
            for note in &service.notes {
                info!(gateway = %self.gateway, "{name}: {note}");
            }
        }
    }
}

/// An offer as it travels: to gateways that know nothing of services made ready, without a word of that.
fn written(service: &Service, knows_wishes: bool) -> serde_json::Result<String> {
    let prepare = service.offer.prepare.filter(|_| knows_wishes);
    serde_json::to_string(&Offer { prepare, ..service.offer.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::path::Path;

    #[test]
    fn an_older_gateway_takes_a_service_that_is_made_ready_as_one_like_any_other() {
        let text = "[[service]]\nname = \"pc\"\ntarget = \"tcp://a:1\"\n";
        let services = |more: &str| {
            let text = format!("{text}{more}");
            Settings::parse(&text, Path::new("agent.toml")).unwrap().services.remove(0)
        };
        let (plain, sleeper) = (services(""), services("prepare = [{ command = [\"/x\"] }]\n"));
        assert_eq!(written(&sleeper, false).unwrap(), written(&plain, true).unwrap());
        assert!(written(&sleeper, true).unwrap().contains(r#""prepare":{"limit":30}"#));
    }
}
