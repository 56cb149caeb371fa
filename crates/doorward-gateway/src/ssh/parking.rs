//! Where senders wait for a viewer who is not there. ZeroMQ asks for a channel again five to eight times a second; one that
//! is neither opened nor refused keeps it quiet, and costs a task that looks now and then.

use super::Room;
use super::inward::{Failed, Found, find};
use super::session::Parked;
use doorward_core::access::Visitor;
use doorward_core::service::Standing;
use doorward_core::ssh::Destination;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

/// Shorter than the 30 s after which ZeroMQ gives a connection up that says nothing (ZMQ_HANDSHAKE_IVL).
const PATIENCE: Duration = Duration::from_secs(25);
/// How often is looked whether the device is there; that costs a few looks into tables.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a device that is there is asked again, as long as nothing listens behind it.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Of all connections together, and of one.
const MOST: usize = 1024;
pub(super) const MOST_OF_ONE: usize = 8;

pub(crate) struct Parking(Arc<Semaphore>);

impl Default for Parking {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Parking {
    /// A place for one of this connection's. `None`: too many wait already.
    fn enter(&self, own: &Arc<Semaphore>) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        Some((own.clone().try_acquire_owned().ok()?, self.0.clone().try_acquire_owned().ok()?))
    }
}

impl Room {
    /// Waits until `destination` can be reached, and opens it; else says how it failed at last. Ends with its connection.
    pub(super) async fn wait_for(
        &self,
        destination: &Destination,
        parked: &Parked,
        first: Failed,
        visitor: &Visitor,
    ) -> Result<Found, Failed> {
        let Some(_places) = self.parking.enter(&parked.places) else { return Err(first) };
        let (until, mut last) = (Instant::now() + PATIENCE, first);
        let waiting = async {
            loop {
                sleep(ASK_EVERY).await;
                while !self.is_there(destination) {
                    sleep(LOOK_EVERY).await;
                }
                match self.reach(destination, visitor, true).await {
                    Ok(found) => return Ok(found),
                    Err(failed) if failed.may_pass() => last = failed,
                    Err(failed) => return Err(failed),
                }
            }
        };
        let waited = parked.is_gone.run_until_cancelled(timeout_at(until, waiting)).await;
        match waited {
            Some(Ok(ended)) => ended,
            Some(Err(_)) | None => Err(last),
        }
    }

    fn is_there(&self, destination: &Destination) -> bool {
        let found = find(&self.admission.control.snapshot(), destination);
        found.is_some_and(|(service, _)| {
            service.standing == Standing::Offered && self.admission.links.is_reachable(service.device)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_and_all_together_have_so_many_places() {
        let parking = Parking::default();
        let own = || Arc::new(Semaphore::new(MOST_OF_ONE));
        let first = own();
        let mut held: Vec<_> = (0..MOST_OF_ONE).map(|_| parking.enter(&first).expect("there is room")).collect();
        assert!(parking.enter(&first).is_none());
        for _ in 1..MOST / MOST_OF_ONE {
            let own = own();
            held.extend((0..MOST_OF_ONE).map(|_| parking.enter(&own).expect("there is room")));
        }
        assert!(parking.enter(&own()).is_none());
        held.pop();
        assert!(parking.enter(&own()).is_some());
    }
}
