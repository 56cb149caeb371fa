//! What happens to an agent that arrives: it is known or enrols, takes its place, says what it offers, and is watched
//! until it ends.

use super::additions::AdditionsOf;
use super::errands::UnderWay;
use super::registration::Registered;
use super::takeover::{Claimant, Verdict, judge};
use super::{Held, Links};
use crate::listen::ports::PortNews;
use crate::pinholes::Pinholes;
use crate::preparing::Preparing;
use crate::site::SiteVoice;
use doorward_control::{
    Arrival as Seen, Control, Device, EnrolError, Enrolment, KeyStanding, LinkId, LinkReport, Protocol, Reachability,
    SpendingReport,
};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::service::MAX_SERVICES;
use doorward_core::{DeviceId, Secret};
use doorward_tunnel::messages::{Goodbye, Leaving, Message, PortsChecked, Refusal, ServiceSpending, Spending};
use doorward_tunnel::{Arrival, Claims, GatewayLink, Standing};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::{debug, info, warn};

/// Receives agents.
#[derive(Clone)]
pub(crate) struct Reception {
    pub(crate) control: Control,
    pub(crate) links: Arc<Links>,
    pub(crate) live: Arc<crate::live::Live>,
    pub(crate) voice: Arc<SiteVoice>,
    pub(crate) ports: PortNews,
    pub(crate) preparing: Arc<Preparing>,
    pub(crate) pinholes: Arc<Pinholes>,
}

/// How long the old holder of a link has to show that it lives.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// How long an old link has to show that it is of use to the streams on it.
const OLD_LINK_LIMIT: Duration = Duration::from_secs(1);
/// Those who cannot come in should not knock every second.
const LONG_PAUSE: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_secs(5);
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A replaced link may finish its streams for this long.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

struct No {
    reason: Refusal,
    message: String,
    pause: Duration,
}

impl Reception {
    /// Takes an agent from its proof to its end.
    pub(crate) async fn receive(&self, arrival: Arrival) {
        let (peer, carrier) = (arrival.peer(), arrival.carrier());
        let device = match self.identify(arrival.claims(), peer.ip()).await {
            Ok(device) => device,
            Err(no) => {
                debug!(%peer, reason = ?no.reason, "an agent was refused");
                return arrival.refuse(no.reason, &no.message, no.pause).await;
            }
        };
        let introduction = &arrival.claims().introduction;
        let claimant = Claimant { instance: introduction.instance, epoch: introduction.epoch };
        let (software, device_key) = (introduction.software.clone(), arrival.claims().device_key);
        if let Err(no) = self.make_way(device.id, claimant, &device).await {
            return arrival.refuse(no.reason, &no.message, no.pause).await;
        }
        let site = self.voice.site();
        let revision = site.revision;
        let standing = match arrival.welcome(&device.name, site).await {
            Ok(standing) => standing,
            Err(error) => return debug!(%error, %peer, "an agent went away while it was welcomed"),
        };
        let (number, before) = self.links.hold(device.id, standing.link.clone(), device_key, claimant);
        if let Some(ssh) = self.links.ssh_link(device.id) {
            // What comes without an agent gives way to it.
            ssh.openers().iter().for_each(|connection| connection.shared.break_off());
        }
        let site = self.voice.site();
        if site.revision != revision {
            // It changed before this link could be told like the others.
            standing.link.say(Message::Site(site)).await;
        }
        let source = peer.ip();
        let seen = Seen { device: device.id, link: LinkId(number), carrier, source, agent_version: software };
        self.control.presence().arrived(seen, Timestamp::now());
        info!(device = %device.name, carrier = carrier.word(), "the device is online");
        metrics::gauge!("doorward_links").set(self.links.count() as f64);
        tokio::join!(self.attend(device, number, standing), let_finish(before));
        metrics::gauge!("doorward_links").set(self.links.count() as f64);
    }

    async fn identify(&self, claims: &Claims, from: IpAddr) -> Result<Arc<Device>, No> {
        let now = Timestamp::now();
        let source = Some(from);
        match (self.control.snapshot().device_by_key(&claims.device_key), &claims.introduction.join) {
            (KeyStanding::Active(device), _) => Ok(device),
            (KeyStanding::Revoked, _) => {
                self.control.refused(Deed::DeviceRefused, source, None, "key-revoked", now);
                Err(no(Refusal::Revoked, "this device's key was revoked; it needs a new invite and `doorward join`"))
            }
            (KeyStanding::Replaced, _) => {
                self.control.refused(Deed::DeviceRefused, source, None, "key-replaced", now);
                Err(no(Refusal::Replaced, "another machine took this device's place (`devices replace`)"))
            }
            (KeyStanding::Unknown, None) => {
                self.control.refused(Deed::DeviceRefused, source, None, "key-unknown", now);
                Err(no(Refusal::UnknownKey, "this gateway does not know the device; join it with an invite first"))
            }
            (KeyStanding::Unknown, Some(join)) => {
                let Ok(secret) = join.secret.as_slice().try_into() else {
                    return Err(no(Refusal::Invite, "the invite's secret has the wrong length"));
                };
                let enrolment = Enrolment {
                    secret: Secret::new(secret),
                    key: claims.device_key,
                    suggested_name: join.suggested_name.chars().take(200).collect(),
                    source: from,
                };
                let joined = self.control.enrol(enrolment, now).await;
                joined.inspect(|device| info!(device = %device.name, "a device joined")).map_err(|e| unwelcome(&e))
            }
        }
    }

    /// Settles who holds the device's link.
    async fn make_way(&self, id: DeviceId, newcomer: Claimant, device: &Device) -> Result<(), No> {
        let mut answers = None;
        loop {
            let holder = self.links.holder(id);
            let contest = self.links.contested_since(id).map(|at| at.elapsed());
            match judge(holder.as_ref().map(|h| h.claimant), newcomer, answers, contest) {
                Verdict::Admit | Verdict::Succeed => return Ok(()),
                Verdict::Superseded => {
                    return Err(No {
                        reason: Refusal::Superseded,
                        message: "a newer connection of this agent stands already".into(),
                        pause: SHORT_PAUSE,
                    });
                }
                Verdict::ProbeFirst => {
                    answers = match holder {
                        Some(holder) => Some(holder.link.probe(PROBE_LIMIT).await),
                        None => None,
                    };
                }
                Verdict::Replace => {
                    self.links.close(id, Leaving::Superseded).await;
                    return Ok(());
                }
                Verdict::ReplaceContested => {
                    self.links.contest(id);
                    warn!(device = %device.name, "two machines use this device's key; the newest has the name for now");
                    let detail = "two machines use this key; the newer one was let in".to_owned();
                    self.audit(Deed::CloneParked, device, detail).await;
                    self.links.close(id, Leaving::TwoMachines).await;
                    return Ok(());
                }
                Verdict::Refuse => {
                    let now = Timestamp::now();
                    self.control.refused(Deed::CloneParked, None, None, "two-machines", now);
                    return Err(no(
                        Refusal::TwoMachines,
                        "two machines use this key: give the copy an identity of its own with a new invite",
                    ));
                }
            }
        }
    }

    /// Runs a link until it ends.
    async fn attend(&self, device: Arc<Device>, number: u64, standing: Standing) {
        let Standing { link, mut events, mut driver } = standing;
        let (id, link_id) = (device.id, LinkId(number));
        let mut report = tokio::time::interval(REPORT_EVERY);
        let (mut registered, mut turns) = (None, self.ports.turns());
        let mut additions = AdditionsOf::new(&self.control, id, link_id);
        let (mut errands, mut under_way) = (self.control.take_errands(id, link_id), UnderWay::default());
        let end = loop {
            tokio::select! {
                end = &mut driver => break end,
                _ = report.tick() => self.report(id, link_id, &link),
                message = events.recv() => match message {
                    Some(Message::Goodbye(goodbye)) => {
                        debug!(device = %device.name, reason = ?goodbye.reason(), "the agent says goodbye");
                        self.links.release(id, number);
                    }
                    Some(Message::AdditionsReport(report)) => additions.hear(report, &link).await,
                    Some(Message::Findings(found)) => additions.hear_of_scan(found),
                    Some(Message::ErrandDone(done)) => under_way.hear(done),
                    Some(Message::Unsupported(what)) => under_way.hear_unsupported(&what),
                    Some(message) => self.hear(id, &link, message, &mut registered).await,
                    None => {}
                },
                Some(asked) = errands.next() => under_way.send(asked, &link),
                Ok(()) = turns.changed() => self.tell(&link, &mut registered).await,
                () = additions.changed() => additions.tell(&link).await,
            }
            if self.links.holder(id).is_none_or(|held| held.number != number) {
                // Superseded, or leaving: no new visits come. Streams may finish.
                break match tokio::time::timeout(DRAIN_LIMIT, &mut driver).await {
                    Ok(end) => end,
                    Err(_) => doorward_tunnel::LinkEnd::ClosedHere,
                };
            }
        };
        self.links.release(id, number);
        self.preparing.left(id, &link);
        self.pinholes.left(id, &link);
        if self.control.presence().left(id, link_id, Timestamp::now()) {
            info!(device = %device.name, reason = %end, "the device is offline");
        }
    }

    fn report(&self, id: DeviceId, link_id: LinkId, link: &GatewayLink) {
        let snapshot = self.control.snapshot();
        let counts = self.live.counts();
        let streams = snapshot.services_of(id).filter_map(|record| counts.get(&record.service.id)).sum();
        let count = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        let traffic = link.traffic();
        let report = LinkReport {
            rtt: link.round_trip(),
            streams,
            bytes_in: count(&traffic.up),
            bytes_out: count(&traffic.down),
        };
        self.control.presence().report(id, link_id, report);
    }

    /// Tells the agent what became of its services, where that is news.
    async fn tell(&self, link: &GatewayLink, registered: &mut Option<Registered>) {
        if let Some(report) = registered.as_mut().and_then(|registered| registered.news(self.control.presence())) {
            link.say(Message::ServicesReport(report)).await;
        }
    }

    async fn hear(&self, id: DeviceId, link: &Arc<GatewayLink>, message: Message, registered: &mut Option<Registered>) {
        match message {
            Message::Services(services) => {
                let new = Registered::register(&self.control, id, services).await;
                self.ports.settled(self.control.snapshot().generation()).await;
                *registered = Some(new);
                self.preparing.attend(id, link);
                self.pinholes.attend(id, link);
                self.tell(link, registered).await;
                if let Some(check) = self.voice.ports_to_check() {
                    link.say(Message::CheckPorts(check)).await;
                }
            }
            Message::SiteStored(stored) => self.voice.stored(id, stored.revision),
            Message::Preparations(preparations) => self.preparing.hear(id, preparations),
            Message::PinholesSeen(seen) => self.pinholes.hear(id, seen),
            Message::PortsChecked(checked) => self.ports_checked(&checked),
            Message::Spending(spending) => self.spent(id, spending).await,
            other => debug!(kind = other.kind(), "an agent said something out of place"),
        }
    }

    /// What the device counted.
    async fn spent(&self, device: DeviceId, spending: Spending) {
        let read = |service: ServiceSpending| Some((Label::parse(&service.name).ok()?, service.bytes));
        let counters = spending.services.into_iter().take(MAX_SERVICES).filter_map(read).collect();
        let reserve = u8::try_from(spending.reserve).unwrap_or(u8::MAX);
        let report = SpendingReport { reserve, counters };
        if let Err(error) = self.control.spent_reported(device, report, Timestamp::now()).await {
            debug!(%error, "what a device spent could not be written down");
        }
    }

    fn ports_checked(&self, checked: &PortsChecked) {
        for result in checked.results.iter().take(64) {
            let Ok(port) = u16::try_from(result.tcp) else { continue };
            let detail = result.detail.chars().take(200).collect();
            let reachability =
                if result.reachable { Reachability::Reachable } else { Reachability::Unreachable { detail } };
            if !result.reachable {
                warn!(port, "an agent outside cannot reach this TCP port; see `doorward doctor`");
            }
            self.control.presence().port_seen(Protocol::Tcp, port, reachability);
        }
    }

    async fn audit(&self, deed: Deed, device: &Device, detail: String) {
        let recorded = self.control.record(deed, device.name.to_string(), detail, None, Timestamp::now()).await;
        if let Err(error) = recorded {
            warn!(%error, "the audit could not be written");
        }
    }
}

/// The same process moved on: what runs on its old link may finish there, unless that is dead. Then nobody waits for
/// the silence to be long enough.
async fn let_finish(before: Option<Held>) {
    let Some(Held { link, .. }) = before else { return };
    let farewell = link.say(Message::Goodbye(Goodbye { reason: Leaving::Superseded.into() }));
    let _ = tokio::time::timeout(PROBE_LIMIT, farewell).await;
    if !link.probe(OLD_LINK_LIMIT).await {
        link.close(Leaving::Superseded).await;
    }
}

fn no(reason: Refusal, message: &str) -> No {
    No { reason, message: message.to_owned(), pause: LONG_PAUSE }
}

/// A stranger must not learn which invites exist; whoever holds one may know what became of it.
fn unwelcome(error: &EnrolError) -> No {
    match error {
        EnrolError::Store(error) => {
            debug!(%error, "a device could not be enrolled");
            let message = "the gateway cannot take devices at the moment; its log says why".to_owned();
            No { reason: Refusal::Busy, message, pause: SHORT_PAUSE }
        }
        other => no(Refusal::Invite, &other.to_string()),
    }
}
