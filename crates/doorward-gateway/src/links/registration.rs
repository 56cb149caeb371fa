//! What a device declares, and what it is told became of it: its names and ports, and whether the ports could be
//! opened. The latter changes while the link stands, so it is looked up anew for each report.

use doorward_control::{Control, PortState, Presence, Protocol, Reach, RegisterError, Registration};
use doorward_core::DeviceId;
use doorward_core::service::Offer;
use doorward_tunnel::messages::{ServiceReport, Services, ServicesReport};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use tracing::debug;

/// What came of one `Services`.
pub(super) struct Registered {
    revision: u64,
    services: Vec<Told>,
    last: Option<ServicesReport>,
}

struct Told {
    name: String,
    reached_by: Vec<Reach>,
    problems: Vec<String>,
    notes: Vec<String>,
}

type PortStates = BTreeMap<(Protocol, u16), PortState>;

/// More than a device has room for, so that whoever has a few too many learns which. A report on any number of them
/// would not fit the link.
const MAX_OFFERS: usize = 256;
/// Characters of where a policy is written, in the device's own words.
const MAX_PLACE: usize = 300;
/// Characters of a problem: it may quote the device's own words.
const MAX_PROBLEM: usize = 500;

impl Registered {
    pub(super) async fn register(control: &Control, device: DeviceId, services: Services) -> Self {
        let (mut told, mut offers, mut written_at) = (Vec::new(), Vec::new(), HashMap::new());
        for (index, json) in services.offers.iter().take(MAX_OFFERS).enumerate() {
            match serde_json::from_str::<Offer>(json) {
                Ok(offer) => {
                    let place = services.written_at.get(index).filter(|place| !place.is_empty());
                    written_at.insert(offer.name.clone(), place.map(|place| place.chars().take(MAX_PLACE).collect()));
                    offers.push(offer);
                }
                Err(error) => {
                    let name = format!("service {}", index + 1);
                    told.push(Told::refused(name, format!("this gateway cannot read it: {error}")));
                }
            }
        }
        if let Some(rest) = services.offers.len().checked_sub(MAX_OFFERS).filter(|rest| *rest > 0) {
            told.push(Told::refused("the rest".into(), format!("{rest} services too many were left out")));
        }
        match control.register(device, offers, Timestamp::now()).await {
            Ok(registrations) => {
                for registration in &registrations {
                    let place: Option<String> = written_at.get(&registration.name).cloned().flatten();
                    if let Some(service) = registration.service {
                        control.presence().service_written(service, place);
                    }
                }
                told.extend(registrations.into_iter().map(Told::from));
            }
            Err(error @ (RegisterError::NotADevice | RegisterError::Store(_))) => {
                debug!(%error, "a device's services could not be registered");
                told.push(Told::refused("services".into(), error.to_string()));
            }
        }
        Self { revision: services.revision, services: told, last: None }
    }

    /// The report as it is now, unless it is the last one.
    pub(super) fn news(&mut self, presence: &Presence) -> Option<ServicesReport> {
        let ports = presence.ports();
        let services = self.services.iter().map(|told| told.report(&ports)).collect();
        let report = Some(ServicesReport { revision: self.revision, services });
        if report == self.last {
            return None;
        }
        self.last = report;
        self.last.clone()
    }
}

impl From<Registration> for Told {
    fn from(registration: Registration) -> Self {
        let Registration { name, service: _, reached_by, problems, notes } = registration;
        Self { name: name.to_string(), reached_by, problems, notes }
    }
}

impl Told {
    fn refused(name: String, problem: String) -> Self {
        Self { name, reached_by: Vec::new(), problems: vec![problem], notes: Vec::new() }
    }

    fn report(&self, ports: &PortStates) -> ServiceReport {
        let (mut reached_by, mut problems) = (Vec::new(), self.problems.clone());
        for reach in &self.reached_by {
            match unopened(reach, ports) {
                None => reached_by.push(reach.to_string()),
                Some(problem) => problems.push(problem),
            }
        }
        let problems = problems.iter().map(|problem| problem.chars().take(MAX_PROBLEM).collect()).collect();
        ServiceReport { name: self.name.clone(), reached_by, problems, notes: self.notes.clone() }
    }
}

/// Why nobody gets in there, if the port could not be opened.
fn unopened(reach: &Reach, ports: &PortStates) -> Option<String> {
    let Reach::Port { protocol, port, .. } = reach else { return None };
    let Some(PortState::Failed { why }) = ports.get(&(*protocol, *port)) else { return None };
    Some(format!(
        "{} port {port} cannot be opened on the gateway ({why}): free it there, or wish for another one; it is tried \
         again every few seconds",
        protocol.word()
    ))
}
