//! What shall be ready, worked out from what there is.

use super::{Attended, TELL_EVERY, VISIT_COUNTS, prepared_services};
use doorward_control::Snapshot;
use doorward_core::names::Label;
use doorward_core::service::Standing;
use doorward_core::{DeviceId, ServiceId};
use doorward_tunnel::messages::{Message, Wish, Wishes};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// By service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    service: Label,
    /// When the last of its sessions ends, if one is open.
    until: Option<Timestamp>,
    is_visited: bool,
}

/// What a device was told last.
pub(super) struct Told {
    wanted: Vec<Wanted>,
    at: Instant,
}

pub(super) fn of(
    device: DeviceId,
    snapshot: &Snapshot,
    now: Timestamp,
    is_visited: impl Fn(ServiceId) -> bool,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (service, offer) in prepared_services(snapshot, device) {
        match service.standing {
            Standing::Offered => {}
            Standing::Withdrawn | Standing::DeviceRevoked => continue,
        }
        let ends = snapshot.sessions_at(service.id).map(|session| session.until);
        let until = ends.filter(|until| now < *until).max();
        let is_visited = offer.on_visit && is_visited(service.id);
        if until.is_some() || is_visited {
            wanted.push(Wanted { service: service.name.clone(), until, is_visited });
        }
    }
    wanted
}

/// Tells it, if it is news or was told long ago.
pub(super) fn tell(attended: &mut Attended, wanted: Vec<Wanted>, now: Timestamp) {
    let is_due = |told: &Told| told.wanted != wanted || (!wanted.is_empty() && told.at.elapsed() >= TELL_EVERY);
    if !attended.told.as_ref().is_none_or(is_due) {
        return;
    }
    let services = wanted.iter().map(|wanted| Wish {
        service: wanted.service.to_string(),
        remaining_ms: u64::try_from(wanted.remaining(now).as_millis()).unwrap_or(u64::MAX),
    });
    let message = Message::Wishes(Wishes { services: services.collect() });
    // Where there is no room now, the next round finds it untold.
    let is_said = attended.link.upgrade().is_some_and(|link| link.mention(message));
    attended.told = is_said.then(|| Told { wanted, at: Instant::now() });
}

impl Wanted {
    fn remaining(&self, now: Timestamp) -> Duration {
        let left = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
        let of_visits = if self.is_visited { VISIT_COUNTS } else { Duration::ZERO };
        self.until.map(left).unwrap_or_default().max(of_visits)
    }
}
