//! What a connection holds of its device's link, and gives back when it ends.

use super::Room;
use super::link::SshLink;
use doorward_control::{LinkId, LinkReport};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// What is to be done when the connection ends.
#[derive(Clone)]
pub(super) struct Leaving {
    pub(super) room: Arc<Room>,
    pub(super) number: u64,
    pub(super) links: Arc<Mutex<Vec<Arc<SshLink>>>>,
    /// Cancelled when it has ended.
    pub(super) is_gone: CancellationToken,
}

impl Leaving {
    pub(super) fn holds(&self, link: Arc<SshLink>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if !links.iter().any(|held| held.number == link.number) {
            links.push(link);
        }
    }

    pub(super) fn has_links(&self) -> bool {
        !self.links.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn report(&self) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (control, live) = (&self.room.admission.control, &self.room.admission.live);
        for link in links {
            let (snapshot, counts) = (control.snapshot(), live.counts());
            let streams = snapshot.services_of(link.device).filter_map(|record| counts.get(&record.service.id)).sum();
            let (bytes_in, bytes_out) =
                (link.traffic.up.load(Ordering::Relaxed), link.traffic.down.load(Ordering::Relaxed));
            let report = LinkReport { rtt: None, streams, bytes_in, bytes_out };
            control.presence().report(link.device, LinkId(link.number), report);
        }
    }

    pub(super) fn leave(&self) {
        self.is_gone.cancel();
        let links = std::mem::take(&mut *self.links.lock().unwrap_or_else(PoisonError::into_inner));
        for link in links {
            link.remove(self.number, |_| true);
            if self.room.reception.links.release_ssh(&link) {
                self.room.left(link.device, &link);
            } else {
                self.room.comes_from(&link);
            }
        }
    }
}
