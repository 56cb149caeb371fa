//! Using a share: one press, in the transaction that counts it.

use super::rows::{self, has_room};
use crate::logins::TokenDigest;
use crate::sign_in::attempts::Guessed;
use crate::snapshot::Snapshot;
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Control, CredentialError};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::service::Service;
use doorward_core::share::{Share, ShareUse};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// What a link that counts leads to.
#[derive(Clone, Debug)]
pub struct OpenShare {
    pub share: Share,
    pub service: Arc<Service>,
    pub until: Timestamp,
    /// Whether another browser may come by it.
    pub has_room: bool,
}

/// Somebody presses.
#[derive(Clone, Debug)]
pub struct SharePress {
    pub pin: Option<Secret<String>>,
    /// What tells this browser from others; pressing twice is one use.
    pub browser: Secret<String>,
    pub source: IpAddr,
}

#[derive(Debug, Error)]
pub enum UseError {
    /// Unknown, over, revoked or used up: whoever has the link is told no more.
    #[error("this link is over, or there never was one like it")]
    Over,
    #[error("this is not the PIN")]
    WrongPin,
    #[error("there were too many wrong attempts: try again in {} s", wait.as_secs().max(1))]
    TooMany { wait: Duration },
    #[error("too many people do this at once: try again in a moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for UseError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Over | Self::WrongPin | Self::TooMany { .. } | Self::Busy => None,
        }
    }
}

impl Control {
    /// Changes nothing. `None`: it leads nowhere, for whatever reason; that is counted, as other refusals are.
    pub async fn look_at_share(
        &self,
        secret: &Secret<String>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<OpenShare>, StoreError> {
        let found = find(&self.snapshot(), digest_of(secret), now);
        if found.is_none() {
            self.note_lost(secret, source, now).await?;
        }
        Ok(found)
    }

    /// One use of it, unless this browser has one already.
    pub async fn use_share(
        &self,
        secret: &Secret<String>,
        press: SharePress,
        now: Timestamp,
    ) -> Result<(OpenShare, ShareUse), UseError> {
        let Some(found) = self.look_at_share(secret, press.source, now).await? else { return Err(UseError::Over) };
        let (service, source, digest) = (found.service.id, press.source, digest_of(secret));
        let refuse = |reason| self.refused(Deed::ShareRefused, Some(source), Some(service), reason, now);
        self.check_pin(&found.share, &press).await.inspect_err(|error| match error {
            UseError::WrongPin => refuse("wrong-pin"),
            UseError::TooMany { .. } => refuse("too-many-pins"),
            UseError::Over | UseError::Busy | UseError::Store(_) => {}
        })?;
        let used = self.write(move |work| Box::pin(take(work, digest, press, now))).await;
        used.inspect_err(|error| match error {
            UseError::Over => refuse("used-up"),
            UseError::WrongPin | UseError::TooMany { .. } | UseError::Busy | UseError::Store(_) => {}
        })
    }

    async fn check_pin(&self, share: &Share, press: &SharePress) -> Result<(), UseError> {
        let Some(phc) = self.snapshot().share_record(share.id).and_then(|record| record.pin.clone()) else {
            return Ok(());
        };
        let (sign_in, name) = (&self.0.sign_in, format!("share {}", share.id));
        let begun = sign_in.attempts.begin(Guessed::Pin, press.source, &name, Instant::now());
        let attempt = begun.map_err(|wait| UseError::TooMany { wait })?;
        let given = Secret::new(press.pin.as_ref().map_or_else(String::new, |pin| pin.expose().trim().to_owned()));
        match sign_in.hashing.verify(Some(phc), given).await {
            Ok(true) => {
                sign_in.attempts.was_right(attempt, Instant::now());
                Ok(())
            }
            Ok(false) => Err(UseError::WrongPin),
            Err(CredentialError::Store(error)) => Err(error.into()),
            Err(
                CredentialError::Wrong
                | CredentialError::TooMany { .. }
                | CredentialError::Busy
                | CredentialError::Stale
                | CredentialError::Weak(_)
                | CredentialError::Invalid(_),
            ) => {
                sign_in.attempts.take_back(&attempt, Instant::now());
                Err(UseError::Busy)
            }
        }
    }

    async fn note_lost(&self, secret: &Secret<String>, source: IpAddr, now: Timestamp) -> Result<(), StoreError> {
        let mut connection = self.0.store.readers().acquire().await?;
        let why = rows::why_over(&mut connection, digest_of(secret)).await?;
        self.refused(Deed::ShareRefused, Some(source), None, why, now);
        Ok(())
    }
}

fn find(snapshot: &Snapshot, digest: TokenDigest, now: Timestamp) -> Option<OpenShare> {
    let share = snapshot.share_by_digest(digest)?.share.clone();
    let service = snapshot.service(share.service)?;
    let until = share.end(&service, snapshot, now)?;
    Some(OpenShare { has_room: has_room(&share), share, service, until })
}

/// In the writer's seat, so that of many who press at once no more come in than may.
async fn take(
    work: &mut Work,
    digest: TokenDigest,
    press: SharePress,
    now: Timestamp,
) -> Result<(OpenShare, ShareUse), UseError> {
    let found = find(&work.draft, digest, now).ok_or(UseError::Over)?;
    let share = &found.share;
    let browser = words::hex(&TokenDigest::of(&press.browser).0);
    if let Some(used) = rows::use_of(work.connection(), share.id, &browser).await? {
        return Ok((found, used));
    }
    if !found.has_room {
        return Err(UseError::Over);
    }
    let used = ShareUse { share: share.id, number: share.used + 1 };
    rows::insert_use(work.connection(), used, &browser, now).await?;
    work.refresh_share(share.id).await?;
    let of = share.uses.map(|uses| format!(" of {uses}")).unwrap_or_default();
    let detail = format!("share {}, use {}{of}", share.id, used.number);
    work.write_down_from(Deed::ShareUsed, &found.service.path(), &detail, press.source, now).await?;
    Ok((found, used))
}

fn digest_of(secret: &Secret<String>) -> TokenDigest {
    TokenDigest::of(&Secret::new(secret.expose().trim().to_ascii_lowercase()))
}
