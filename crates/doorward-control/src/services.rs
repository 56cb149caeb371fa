//! Registration: what a device declares over its link becomes services with names, ports and policies.
//!
//! A refusal concerns only what it names: the rest of the registration stands. Names and ports that a service once had
//! stay its own, whether the device still lists it or not. A registration that changes nothing writes nothing.

mod entrances;
mod reservations;

pub use entrances::Reach;
pub(crate) use entrances::{give_default_hosts, reach, why_not_share};
pub(crate) use reservations::prefix_text;

use crate::Control;
use crate::enrol::title;
use crate::settings::SiteSettings;
use crate::snapshot::{AccessHome, Device, HostEntrance, ServiceRecord};
use crate::store::{ChangeError, StoreError};
use crate::work::Work;
use doorward_core::access::{How, PolicyDocument, WhoDocument};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::service::{MAX_SERVICES, Offer, Standing};
use doorward_core::{DeviceId, ServiceId};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

/// What became of one offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub name: Label,
    /// `None`: the offer was refused as a whole; `problems` says why.
    pub service: Option<ServiceId>,
    pub reached_by: Vec<Reach>,
    /// What was refused, each complete in itself and with the way out.
    pub problems: Vec<String>,
    /// What is as it should be, but might surprise.
    pub notes: Vec<String>,
}

#[derive(Debug, Error)]
pub enum RegisterError {
    #[error("the device is unknown or was revoked")]
    NotADevice,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for RegisterError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NotADevice => None,
        }
    }
}

pub(crate) const MAX_TITLE: usize = 200;

impl Control {
    /// `offers` is all that the device offers now: what it offered before and does not list any more is withdrawn.
    /// Answers in the order of `offers`.
    pub async fn register(
        &self,
        device: DeviceId,
        offers: Vec<Offer>,
        now: Timestamp,
    ) -> Result<Vec<Registration>, RegisterError> {
        let registrations = self.write(move |work| Box::pin(register(work, device, offers, now))).await?;
        for refused in registrations.iter().filter(|r| !r.problems.is_empty()) {
            self.refused(Deed::ServiceRefused, None, refused.service, "registration", now);
        }
        Ok(registrations)
    }
}

async fn register(
    work: &mut Work,
    device: DeviceId,
    offers: Vec<Offer>,
    now: Timestamp,
) -> Result<Vec<Registration>, RegisterError> {
    let device = work.draft.device(device).filter(|d| d.revoked_at.is_none()).ok_or(RegisterError::NotADevice)?;
    let (mut registrations, accepted) = screen(work, &device, offers);
    make_room(work, &device, &accepted).await?;
    for (at, offer) in &accepted {
        registrations[*at].service = Some(write_service(work, &device, offer, now).await?);
    }
    for (at, offer) in &accepted {
        entrances::arrange(work, offer, &mut registrations[*at]).await?;
    }
    for (at, _) in &accepted {
        deny_where_inconsistent(work, &mut registrations[*at]).await?;
    }
    for (at, _) in &accepted {
        describe(work, &mut registrations[*at]);
    }
    Ok(registrations)
}

/// Takes the offers one by one; what cannot stand is left out or mended, and said. Accepted ones keep their index.
fn screen(work: &Work, device: &Device, offers: Vec<Offer>) -> (Vec<Registration>, Vec<(usize, Offer)>) {
    let known: BTreeSet<Label> = work.draft.services_of(device.id).map(|r| r.service.name.clone()).collect();
    let mut room = MAX_SERVICES.saturating_sub(known.len());
    let (mut names, mut virtual_ports, mut main) = (BTreeSet::new(), BTreeMap::new(), None);
    let (mut registrations, mut accepted) = (Vec::new(), Vec::new());
    for (at, mut offer) in offers.into_iter().enumerate() {
        let mut problems = Vec::new();
        let name = offer.name.clone();
        let is_new = !known.contains(&name);
        let is_accepted = if !names.insert(name.clone()) {
            problems.push(format!("the device lists \"{name}\" twice; the first one counts"));
            false
        } else if is_new && room == 0 {
            problems.push(format!(
                "a device has room for {MAX_SERVICES} services, withdrawn ones included: release some with `doorward release`"
            ));
            false
        } else {
            room -= usize::from(is_new);
            mend(&mut offer, &mut virtual_ports, &mut main, &mut problems);
            true
        };
        registrations.push(Registration { name, service: None, reached_by: Vec::new(), problems, notes: Vec::new() });
        if is_accepted {
            accepted.push((at, offer));
        }
    }
    (registrations, accepted)
}

fn mend(
    offer: &mut Offer,
    virtual_ports: &mut BTreeMap<u16, Label>,
    main: &mut Option<Label>,
    problems: &mut Vec<String>,
) {
    if let Some(port) = offer.virtual_port {
        if port == 0 {
            problems.push("virtual port 0 does not exist: it was left out".into());
            offer.virtual_port = None;
        } else if let Some(holder) = virtual_ports.get(&port) {
            problems.push(format!("virtual port {port} is {holder}'s already on this device: it was left out"));
            offer.virtual_port = None;
        } else {
            virtual_ports.insert(port, offer.name.clone());
        }
    }
    if offer.main {
        match main {
            None => *main = Some(offer.name.clone()),
            Some(first) => {
                problems.push(format!("{first} is this device's main service already; a device has one"));
                offer.main = false;
            }
        }
    }
    if let Err(error) = offer.access.to_policy_for(offer.kind) {
        problems.push(format!("{error}: nobody is admitted until this is mended"));
        offer.access = PolicyDocument::default();
    }
}

/// Withdraws what is not listed any more, and frees virtual ports for those who take them now.
async fn make_room(work: &mut Work, device: &Device, accepted: &[(usize, Offer)]) -> Result<(), StoreError> {
    let offers: BTreeMap<&Label, &Offer> = accepted.iter().map(|(_, offer)| (&offer.name, offer)).collect();
    for record in work.draft.services_of(device.id).collect::<Vec<_>>() {
        let id = record.service.id;
        match offers.get(&record.service.name) {
            None if record.service.standing == Standing::Offered => {
                withdraw(work, id).await?;
            }
            Some(offer) if record.virtual_port.is_some() && record.virtual_port != offer.virtual_port => {
                let query = sqlx::query("UPDATE services SET virtual_port = NULL WHERE id = $1").bind(id.0);
                query.execute(work.connection()).await?;
                work.refresh_service(id).await?;
            }
            None | Some(_) => {}
        }
    }
    Ok(())
}

/// It is offered no more; its names stay its own.
pub(crate) async fn withdraw(work: &mut Work, id: ServiceId) -> Result<(), StoreError> {
    let query = "UPDATE services SET standing = 'withdrawn', virtual_port = NULL, version = version + 1 WHERE id = $1";
    sqlx::query(query).bind(id.0).execute(work.connection()).await?;
    work.refresh_service(id).await
}

async fn write_service(
    work: &mut Work,
    device: &Device,
    offer: &Offer,
    now: Timestamp,
) -> Result<ServiceId, StoreError> {
    let title = offer.title.as_deref().map(title).filter(|t| !t.is_empty()).unwrap_or_else(|| offer.name.to_string());
    let old = work.draft.record_of(device.id, &offer.name);
    if let Some(old) = &old
        && is_unchanged(old, offer, &title)
    {
        return Ok(old.service.id);
    }
    let id = match &old {
        Some(old) => old.service.id,
        None => ServiceId(work.next_id("service").await?),
    };
    sqlx::query(
        "INSERT INTO services (id, device, account, name, title, kind, virtual_port, is_main, standing, offered_access, offered_web, \
         offered_prepare, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'offered', $9, $10, $11, 1) \
         ON CONFLICT (id) DO UPDATE SET title = excluded.title, kind = excluded.kind, \
         virtual_port = excluded.virtual_port, is_main = excluded.is_main, standing = 'offered', \
         offered_access = excluded.offered_access, offered_web = excluded.offered_web, \
         offered_prepare = excluded.offered_prepare, version = services.version + 1",
    )
    .bind(id.0)
    .bind(device.id.0)
    .bind(device.account.0)
    .bind(offer.name.as_str())
    .bind(title)
    .bind(offer.kind.word())
    .bind(offer.virtual_port.map(i64::from))
    .bind(i64::from(offer.main))
    .bind(serde_json::to_string(&offer.access).expect("a policy document can be written as JSON"))
    .bind(serde_json::to_string(&offer.web).expect("a web offer can be written as JSON"))
    .bind(offer.prepare.map(|prepare| serde_json::to_string(&prepare).expect("numbers can be written as JSON")))
    .execute(work.connection())
    .await?;
    work.refresh_service(id).await?;
    if old.is_none() {
        let subject = format!("{}/{}", device.name, offer.name);
        work.write_down(Deed::ServiceRegistered, &subject, offer.kind.word(), now).await?;
    }
    Ok(id)
}

fn is_unchanged(old: &ServiceRecord, offer: &Offer, title: &str) -> bool {
    old.service.standing == Standing::Offered
        && old.service.title == title
        && old.service.kind == offer.kind
        && old.virtual_port == offer.virtual_port
        && old.is_main == offer.main
        && old.offered_access == offer.access
        && *old.service.web == offer.web
        && old.service.prepare == offer.prepare
}

/// Services on one host share one origin: pages of one read the other with the visitor's login. If they disagree on
/// who may use them, the one registered now admits nobody (inconsistent → deny).
async fn deny_where_inconsistent(work: &mut Work, registration: &mut Registration) -> Result<(), StoreError> {
    let Some(record) = registration.service.and_then(|id| work.draft.service_record(id)) else { return Ok(()) };
    let conflict = record
        .hosts
        .iter()
        .filter(|h| record.routes_host(h))
        .find_map(|h| why_not_share(&work.draft, &record, &h.host));
    let (Some(why), AccessHome::Device) = (conflict, record.access_home) else { return Ok(()) };
    registration.problems.push(format!("{why}; nobody is admitted until then"));
    let nobody = serde_json::to_string(&PolicyDocument::default()).expect("a policy document can be written as JSON");
    sqlx::query("UPDATE services SET offered_access = $1, version = version + 1 WHERE id = $2")
        .bind(nobody)
        .bind(record.service.id.0)
        .execute(work.connection())
        .await?;
    work.refresh_service(record.service.id).await
}

fn describe(work: &Work, registration: &mut Registration) {
    let Some(record) = registration.service.and_then(|id| work.draft.service_record(id)) else { return };
    registration.reached_by = entrances::reach(work.draft.site(), &record);
    registration.notes.extend(notes(&record));
    registration.notes.extend(note_on_session_ports(work.draft.site(), &record));
}

/// That sessions have no port is said beforehand.
fn note_on_session_ports(site: &SiteSettings, record: &ServiceRecord) -> Option<String> {
    let (path, policy) = (record.service.path(), &record.service.policy);
    if !record.wants_session_ports {
        None
    } else if policy.how == How::SignedIn {
        Some(format!("{path}: it has no sessions, so they have no ports: its policy needs none"))
    } else if !policy.needs.is_empty() {
        Some(format!("{path}: its sessions have no ports: whoever comes to one cannot prove what its policy needs"))
    } else if record.wants_pinholes && !record.has_pinholes() {
        Some(format!("{path}: nobody counts what passes by a pinhole, so with limits there is none"))
    } else if site.session_ports.is_none() {
        Some(format!("{path}: the gateway has no ports for sessions: its owner sets `ports` under [sessions]"))
    } else {
        None
    }
}

fn notes(record: &Arc<ServiceRecord>) -> Vec<String> {
    let mut notes = Vec::new();
    let path = record.service.path();
    match record.access_home {
        AccessHome::Store => {
            notes.push(format!("{path}: its access was set on the gateway; what the device declares does not count"));
        }
        AccessHome::Device => {}
    }
    match record.access.who {
        WhoDocument::Nobody => {
            notes.push(format!("{path}: nobody may use it yet: say who with `doorward access {path}`"));
        }
        WhoDocument::Password if record.ports.iter().any(|p| record.routes_port(p)) => {
            notes.push(format!("{path}: a raw port cannot ask for a password, so nobody is admitted there"));
        }
        WhoDocument::People if record.ports.iter().any(|p| record.routes_port(p)) => {
            notes.push(format!("{path}: a raw port cannot tell who comes, so nobody is admitted there"));
        }
        WhoDocument::Senders => notes.push(match record.virtual_port {
            Some(port) => {
                let place = format!("{}:{port}", record.service.device_name);
                format!("{path}: whoever has a key of `doorward sender-key {place}` on the gateway sends here, by SSH")
            }
            None => format!("{path}: senders come by its virtual port, and it has none: set virtual-port"),
        }),
        WhoDocument::Password
            if record.hosts.iter().any(|h| h.entrance == HostEntrance::Tls && record.routes_host(h)) =>
        {
            notes.push(format!("{path}: TLS that is passed through asks for no password, so nobody is admitted there"));
        }
        WhoDocument::Password | WhoDocument::Public | WhoDocument::People => {}
    }
    if record.service.prepare.is_some_and(|prepare| !prepare.on_visit) && record.service.policy.how == How::SignedIn {
        notes.push(format!(
            "{path}: nothing ever makes it ready: its policy needs no session, and wake-on-visit is not set in agent.toml"
        ));
    }
    notes
}
