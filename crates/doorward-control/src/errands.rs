//! What somebody asks of a device itself: the end of its log, or that it start anew. Whoever holds the device's link takes such
//! errands to it. Nothing of them rests anywhere but a line in the audit, and whoever asks waits for a bounded time.

use crate::Control;
use crate::presence::LinkId;
use crate::store::StoreError;
use doorward_core::DeviceId;
use doorward_core::audit::Deed;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The last lines of its log.
    Log,
    Restart,
}

#[derive(Debug, Error)]
pub enum ErrandError {
    #[error("the device is offline")]
    Offline,
    #[error("the device has much to answer already")]
    Busy,
    #[error("the device did not answer in time")]
    Silent,
    /// In the agent's words.
    #[error("the device says: {0}")]
    Refused(String),
    #[error("the device's agent is of a release that cannot do this yet: update it")]
    TooOld,
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Answer = Result<Vec<String>, ErrandError>;

/// An errand on its way. Dropped without an answer, the device counts as gone.
#[derive(Debug)]
pub struct Asked {
    pub errand: Errand,
    answer: oneshot::Sender<Answer>,
}

/// What is asked of one device, for whoever holds its link. Dropped, nothing is asked there any more.
#[derive(Debug)]
pub struct Errands {
    inbox: mpsc::Receiver<Asked>,
    device: DeviceId,
    link: LinkId,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<HashMap<DeviceId, (LinkId, mpsc::Sender<Asked>)>>);

/// Of one device at once.
const MOST: usize = 4;
const LIMIT: Duration = Duration::from_secs(10);

impl Control {
    /// Asks the device, once that is written down. Its log is lines, the oldest first; a restart has none.
    pub async fn ask_device(
        &self,
        device: DeviceId,
        errand: Errand,
        now: Timestamp,
    ) -> Result<Vec<String>, ErrandError> {
        let named = self.snapshot().device(device).ok_or(ErrandError::Offline)?;
        let inbox = self.0.errands.of(device).ok_or(ErrandError::Offline)?;
        let deed = match errand {
            Errand::Log => Deed::DeviceLogShown,
            Errand::Restart => Deed::DeviceRestarted,
        };
        self.record(deed, named.name.to_string(), String::new(), None, now).await?;
        let (answer, answered) = oneshot::channel();
        inbox.try_send(Asked { errand, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ErrandError::Busy,
            mpsc::error::TrySendError::Closed(_) => ErrandError::Offline,
        })?;
        until_answered(answered).await
    }

    /// From now on errands go to this link.
    pub fn take_errands(&self, device: DeviceId, link: LinkId) -> Errands {
        let (sender, inbox) = mpsc::channel(MOST);
        self.0.errands.table().insert(device, (link, sender));
        Errands { inbox, device, link, desk: self.0.errands.clone() }
    }
}

async fn until_answered(answered: oneshot::Receiver<Answer>) -> Answer {
    match timeout(LIMIT, answered).await {
        Err(_) => Err(ErrandError::Silent),
        Ok(Err(_)) => Err(ErrandError::Offline),
        Ok(Ok(answer)) => answer,
    }
}

impl Desk {
    fn of(&self, device: DeviceId) -> Option<mpsc::Sender<Asked>> {
        self.table().get(&device).map(|(_, inbox)| inbox.clone())
    }

    fn table(&self) -> MutexGuard<'_, HashMap<DeviceId, (LinkId, mpsc::Sender<Asked>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Errands {
    /// `None`: another link of the device has them.
    pub async fn next(&mut self) -> Option<Asked> {
        self.inbox.recv().await
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        let mut table = self.desk.table();
        if table.get(&self.device).is_some_and(|(link, _)| *link == self.link) {
            table.remove(&self.device);
        }
    }
}

impl Asked {
    pub fn answer(self, answer: Result<Vec<String>, ErrandError>) {
        // Whoever gave up waiting misses nothing.
        let _ = self.answer.send(answer);
    }

    /// Whoever asked waits no more.
    pub fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_waits_for_ten_seconds_and_no_longer() {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { errand: Errand::Log, answer };
        let before = Instant::now();
        assert!(matches!(until_answered(answered).await, Err(ErrandError::Silent)));
        assert_eq!(before.elapsed(), LIMIT);
        assert!(asked.is_given_up());
    }
}
