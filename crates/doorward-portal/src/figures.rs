//! How a device and its services fare: what passed and who is there, for those whose device it is.

use crate::PortalState;
use doorward_control::Visits;
use doorward_core::access::Facts;
use doorward_core::{DeviceId, ServiceId};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Bytes, both ways together, by the days and months of each policy.
    pub(crate) today: u64,
    pub(crate) this_month: u64,
    /// Visits that are under way.
    pub(crate) visits: u32,
    /// Who is there, or has a session open: their names.
    pub(crate) people: Vec<String>,
}

impl Figures {
    pub(crate) fn of_service(state: &PortalState, service: ServiceId) -> Self {
        Self::of_all(state, [service])
    }

    pub(crate) fn of_device(state: &PortalState, device: DeviceId) -> Self {
        let snapshot = state.control.snapshot();
        let services: Vec<_> = snapshot.services_of(device).map(|record| record.service.id).collect();
        Self::of_all(state, services)
    }

    fn of_all(state: &PortalState, services: impl IntoIterator<Item = ServiceId>) -> Self {
        let (snapshot, now) = (state.control.snapshot(), (state.clock)());
        let (mut figures, mut accounts) = (Self::default(), Visits::default().people);
        for service in services {
            let visits = state.control.presence().visits(service);
            figures.visits = figures.visits.saturating_add(visits.count);
            let spent = state.control.spent(service);
            figures.today += spent.map_or(0, |spent| spent.day.spent(now));
            figures.this_month += spent.map_or(0, |spent| spent.month.spent(now));
            accounts.extend(visits.people);
            accounts.extend(snapshot.sessions_at(service).filter(|session| now < session.until).map(|s| s.account));
        }
        let named = |account| snapshot.person(account).map(|person| person.name.to_string());
        figures.people = accounts.into_iter().filter_map(named).collect();
        figures.people.sort();
        figures
    }
}
