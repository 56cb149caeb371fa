//! Hashing takes 19 MiB and some 20 ms each time: few at once, off the runtime's threads, and a line that does not grow for ever.

use super::CredentialError;
use crate::passwords;
use doorward_core::Secret;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Hashing {
    line: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    /// Of no password: what is compared where somebody has none.
    nobodys: Arc<OnceLock<String>>,
}

const WORKERS: usize = 2;
const LINE: usize = 300;
const PATIENCE: Duration = Duration::from_secs(20);

impl Default for Hashing {
    fn default() -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self { line: places(LINE), workers: places(WORKERS), nobodys: Arc::default() }
    }
}

impl Hashing {
    pub(crate) async fn hash(&self, password: Secret<String>) -> Result<String, CredentialError> {
        let turn = self.turn().await?;
        let hash = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            passwords::hash(&password)
        });
        hash.await.map_err(|_| CredentialError::Busy)
    }

    /// `None`: nobody's, which nothing fits.
    pub(crate) async fn verify(&self, phc: Option<String>, password: Secret<String>) -> Result<bool, CredentialError> {
        let turn = self.turn().await?;
        let nobodys = self.nobodys.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            match phc {
                Some(phc) => passwords::verify(&phc, &password),
                None => {
                    let nobodys = nobodys.get_or_init(|| passwords::hash(&Secret::new(String::new())));
                    std::hint::black_box(passwords::verify(nobodys, &password));
                    false
                }
            }
        });
        verified.await.map_err(|_| CredentialError::Busy)
    }

    async fn turn(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), CredentialError> {
        let place = self.line.clone().try_acquire_owned().map_err(|_| CredentialError::Busy)?;
        let worker = tokio::time::timeout(PATIENCE, self.workers.clone().acquire_owned()).await;
        let worker = worker.map_err(|_| CredentialError::Busy)?.map_err(|_| CredentialError::Busy)?;
        Ok((place, worker))
    }
}
