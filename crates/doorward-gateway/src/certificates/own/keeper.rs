//! Keeps the right authority in use: the one that was made for the domain, a new one where there is none, or where its
//! time is over, or where the owner dropped it. Whatever changes, it looks again.

use super::{SignError, Signer, make};
use crate::certificates::resolver::WebCertificates;
use crate::settings::CertificateSource;
use doorward_control::{Control, OwnAuthority, StoreError};
use doorward_core::certificates::Scope;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

pub(crate) struct Keeper {
    pub(crate) control: Control,
    pub(crate) certificates: Arc<WebCertificates>,
    pub(crate) source: watch::Receiver<CertificateSource>,
}

#[derive(Debug, Error)]
pub enum KeepError {
    #[error("the gateway's own authority: {0}")]
    Store(#[from] StoreError),
    #[error("the gateway's own authority could not be made: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error("the gateway's own authority, as the store has it, cannot sign: {0}")]
    Unusable(String),
}

/// A root ends after ten years, and wall clocks are set.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
const AFTER_FAILURE: Duration = Duration::from_secs(60);

impl Keeper {
    pub(crate) async fn run(mut self) {
        let mut in_use = self.control.own_authority();
        loop {
            in_use.mark_unchanged();
            let rest = match self.look().await {
                Ok(()) => LOOK_AGAIN,
                Err(error) => {
                    warn!("{error}");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                Ok(()) = self.source.changed() => {}
                Ok(()) = in_use.changed() => {}
                () = sleep(rest) => {}
            }
        }
    }

    /// Puts the right one in use.
    pub(crate) async fn look(&mut self) -> Result<(), KeepError> {
        let source = self.source.borrow_and_update().clone();
        let current = self.control.own_authority().borrow().clone();
        let scope = match source {
            CertificateSource::Own(scope) => scope,
            CertificateSource::Files { .. } => {
                if current.is_some() {
                    self.control.use_own_authority(None);
                }
                return Ok(());
            }
        };
        let now = Timestamp::now();
        let is_right = |authority: &OwnAuthority| authority.scope.domain == scope.domain && authority.not_after > now;
        if current.as_deref().is_some_and(is_right) {
            return Ok(());
        }
        let authority = self.find_or_make(scope, now).await?;
        let unusable = |error: SignError| KeepError::Unusable(error.to_string());
        self.certificates.sign_with(Signer::new(authority.clone()).map_err(unusable)?);
        self.control.use_own_authority(Some(authority));
        Ok(())
    }

    async fn find_or_make(&self, scope: Scope, now: Timestamp) -> Result<Arc<OwnAuthority>, KeepError> {
        // One that is not good yet is good: then this machine's clock is behind.
        if let Some(kept) = self.control.kept_authority(&scope.domain).await?.filter(|kept| kept.not_after > now) {
            return Ok(Arc::new(kept));
        }
        let made = Arc::new(make(scope, now)?);
        info!(scope = %made.scope, fingerprint = made.fingerprint(), "the gateway made an authority of its own");
        self.control.keep_authority(made.clone(), now).await?;
        Ok(made)
    }
}
