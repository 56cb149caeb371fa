//! Share links: made by whoever owns a service, used by whoever has the link, and taken back.
//!
//! Looking at a link changes nothing, so that previews and scanners may; [`Control::use_share`] takes a use of it. Only hashes of link
//! and PIN rest. What a browser that used one holds is a number with a MAC (`passes`); whether the share counts still is for decisions.

mod passes;
mod rows;
mod using;
mod viewers;

pub(crate) use rows::{ShareRecord, forget_old, load, load_one};
pub use rows::{ShareStanding, ShareSummary};
pub use using::{OpenShare, SharePress, UseError};
pub use viewers::Viewer;
pub(crate) use viewers::{ViewerSeat, Viewers};

use crate::snapshot::{HostEntrance, ServiceRecord};
use crate::store::{ChangeError, StoreError};
use crate::welcomes::random_text;
use crate::work::Work;
use crate::{Control, CredentialError, EditError};
use doorward_core::access::Facts;
use doorward_core::audit::Deed;
use doorward_core::names::{HostName, PathPrefix};
use doorward_core::share::{Share, ShareRefusal, ShareWish, grant};
use doorward_core::{AccountId, Secret, ServiceId, ShareId};
use jiff::Timestamp;
use thiserror::Error;

/// One that was just made, with link and PIN in clear for the only time.
#[derive(Debug)]
pub struct MadeShare {
    pub share: Share,
    pub url: Secret<String>,
    pub pin: Option<Secret<String>>,
}

#[derive(Debug, Error)]
pub enum ShareError {
    #[error("{0}")]
    Refused(#[from] ShareRefusal),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl From<StoreError> for ShareError {
    fn from(error: StoreError) -> Self {
        Self::Edit(error.into())
    }
}

impl ChangeError for ShareError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Edit(error) => error.of_store(),
            Self::Credential(error) => error.of_store(),
            Self::Refused(_) => None,
        }
    }
}

/// That count at once, of one service.
const MOST_OF_A_SERVICE: usize = 100;
/// Also where a link says nothing of it: each is remembered.
pub(crate) const MOST_USES: u32 = 10_000;
/// Of a million, no more than a thousand can be tried in a week (`sign_in::attempts`).
const PIN_DIGITS: usize = 6;

impl Control {
    /// In the name of `account`. A PIN is made, not chosen: what people choose is guessed first.
    pub async fn make_share(
        &self,
        service: ServiceId,
        account: AccountId,
        wish: ShareWish,
        now: Timestamp,
    ) -> Result<MadeShare, ShareError> {
        let pin = wish.has_pin.then(random_pin);
        let phc = match &pin {
            Some(pin) => Some(self.0.sign_in.hashing.hash(pin.clone()).await?),
            None => None,
        };
        let secret = random_text();
        let kept = secret.clone();
        let share = self.write(move |work| Box::pin(make(work, service, account, wish, (kept, phc), now))).await?;
        let portal = self.site().portal_url().unwrap_or_default();
        let url = Secret::new(format!("{portal}share/{}", secret.expose()));
        Ok(MadeShare { share, url, pin })
    }

    /// Nobody comes by it from now on, and who came by it is cut.
    pub async fn revoke_share(&self, id: ShareId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(revoke(work, id, version, now))).await
    }
}

impl ServiceRecord {
    /// Where browsers reach it.
    pub fn web_home(&self) -> Option<(&HostName, Option<&PathPrefix>)> {
        let mut routed = self.hosts.iter().filter(|held| held.entrance == HostEntrance::Web && self.routes_host(held));
        routed.next().map(|held| (&held.host, held.prefix.as_ref()))
    }
}

async fn make(
    work: &mut Work,
    service: ServiceId,
    account: AccountId,
    wish: ShareWish,
    (secret, pin): (Secret<String>, Option<String>),
    now: Timestamp,
) -> Result<Share, ShareError> {
    let unknown = || EditError::Unknown("such service".into());
    let record = work.draft.service_record(service).ok_or_else(unknown)?;
    let maker = work.draft.shared_person(account).ok_or_else(unknown)?;
    check(work, &record, &wish, now)?;
    let wish = ShareWish { title: crate::enrol::title(&wish.title), ..wish };
    let id = ShareId(work.next_id("share").await?);
    let share = grant(&record.service, wish, &maker, id, now)?;
    if work.draft.site().portal_url().is_none() {
        let why = "people open share links at the portal, which has no public address: give it one with [portal] host in gateway.toml";
        return Err(EditError::Invalid(why.into()).into());
    }
    rows::insert(work.connection(), &share, &secret, pin.as_deref()).await?;
    work.refresh_share(id).await?;
    work.write_down(Deed::ShareMade, &record.service.path(), &terms(&share), now).await?;
    Ok(share)
}

fn check(work: &Work, record: &ServiceRecord, wish: &ShareWish, now: Timestamp) -> Result<(), EditError> {
    if wish.uses.is_some_and(|uses| uses.get() > MOST_USES) {
        return Err(EditError::Invalid(format!("a share link is good for 1 to {MOST_USES} browsers")));
    }
    let standing = work.draft.shares_at(record.service.id);
    if standing.filter(|share| share.end(&record.service, &work.draft, now).is_some()).count() >= MOST_OF_A_SERVICE {
        return Err(EditError::Invalid(format!("one service has {MOST_OF_A_SERVICE} share links at most")));
    }
    Ok(())
}

/// What the audit says of it.
fn terms(share: &Share) -> String {
    let uses = share.uses.map(|uses| format!(", {uses} uses")).unwrap_or_default();
    let looking = if share.is_read_only { ", read-only" } else { "" };
    let pin = if share.has_pin { ", with a PIN" } else { "" };
    format!("share {} until {}{uses}{looking}{pin}", share.id, share.until)
}

async fn revoke(work: &mut Work, id: ShareId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
    let known = rows::standing(work.connection(), id).await?;
    let (share, revoked_at) = known.ok_or_else(|| EditError::Unknown(format!("share link {id}")))?;
    if version.is_some_and(|seen| seen != share.version) {
        return Err(EditError::Stale { current: share.version });
    }
    if revoked_at.is_some() {
        return Ok(());
    }
    rows::revoke(work.connection(), id, now).await?;
    work.refresh_share(id).await?;
    let service = work.draft.service(share.service).map_or_else(|| share.service.to_string(), |s| s.path());
    Ok(work.write_down(Deed::ShareRevoked, &service, &format!("share {id}"), now).await?)
}

fn random_pin() -> Secret<String> {
    const BELOW: u32 = 10_u32.pow(PIN_DIGITS as u32);
    // Beyond the last whole million some PINs would come more often than others.
    const FAIR: u32 = u32::MAX - u32::MAX % BELOW;
    loop {
        let mut bytes = [0; 4];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
        let drawn = u32::from_le_bytes(bytes);
        if drawn < FAIR {
            return Secret::new(format!("{:0PIN_DIGITS$}", drawn % BELOW));
        }
    }
}

impl Control {
    /// One that was not revoked.
    pub fn share(&self, id: ShareId) -> Option<Share> {
        self.snapshot().share(id).cloned()
    }
}
