//! A machine joins: its key is bound to a device, new or old, in one step with the use of the invite.

use crate::invites::{self, InviteSummary};
use crate::snapshot::{Device, KeyState};
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Control, services, ssh};
use doorward_core::audit::Deed;
use doorward_core::invite::SECRET_LENGTH;
use doorward_core::names::Label;
use doorward_core::{AccountId, DeviceId, Secret};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

#[derive(Clone, Debug)]
pub struct Enrolment {
    pub secret: Secret<[u8; SECRET_LENGTH]>,
    /// The machine's public key, which it has proved to hold.
    pub key: [u8; 32],
    /// What the machine calls itself: any text.
    pub suggested_name: String,
    pub source: IpAddr,
}

/// Why a machine may not join. The first is for strangers; the others are for whoever holds a real invite, and the log.
#[derive(Debug, Error)]
pub enum EnrolError {
    #[error("this gateway made no such invite")]
    UnknownInvite,
    #[error("the invite expired on {0}: make a new one on the gateway with `doorward invite`")]
    Expired(Timestamp),
    #[error("the invite was used already: make a new one on the gateway with `doorward invite`")]
    UsedUp,
    #[error("the invite was revoked: make a new one on the gateway with `doorward invite`")]
    InviteRevoked,
    #[error("this machine's key was revoked: remove the agent's key, so that it makes a new one, then join again")]
    KeyRevoked,
    #[error(
        "another machine took this one's place: remove the agent's key, so that it makes a new one, then join again"
    )]
    KeyReplaced,
    #[error(
        "this machine is already device \"{0}\": remove the agent's key, so that it makes a new one, then join again"
    )]
    KeyInUse(Label),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError for EnrolError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::UnknownInvite
            | Self::Expired(_)
            | Self::UsedUp
            | Self::InviteRevoked
            | Self::KeyRevoked
            | Self::KeyReplaced
            | Self::KeyInUse(_) => None,
        }
    }
}

impl EnrolError {
    /// A stable word for the audit.
    pub fn word(&self) -> &'static str {
        match self {
            Self::UnknownInvite => "unknown-invite",
            Self::Expired(_) => "invite-expired",
            Self::UsedUp => "invite-used-up",
            Self::InviteRevoked => "invite-revoked",
            Self::KeyRevoked => "key-revoked",
            Self::KeyReplaced => "key-replaced",
            Self::KeyInUse(_) => "key-in-use",
            Self::Store(_) => "store",
        }
    }
}

impl Control {
    /// Idempotent: a machine that lost the answer asks again and gets the same device, even after the invite's end.
    pub async fn enrol(&self, enrolment: Enrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
        let source = enrolment.source;
        let joined = self.try_enrol(enrolment, now).await;
        if let Err(error) = &joined {
            self.refused(Deed::InviteRefused, Some(source), None, error.word(), now);
        }
        joined
    }

    async fn try_enrol(&self, enrolment: Enrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
        self.know_invite(&enrolment.secret).await?;
        self.write(move |work| Box::pin(enrol(work, enrolment, now))).await
    }

    /// Strangers guessing secrets stay out of the writer's way.
    pub(crate) async fn know_invite(&self, secret: &Secret<[u8; SECRET_LENGTH]>) -> Result<(), EnrolError> {
        let mut reader = self.0.store.readers().acquire().await.map_err(StoreError::from)?;
        invites::find(&mut reader, secret).await?.map(drop).ok_or(EnrolError::UnknownInvite)
    }
}

async fn enrol(work: &mut Work, enrolment: Enrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
    let invite = invites::find(work.connection(), &enrolment.secret).await?.ok_or(EnrolError::UnknownInvite)?;
    if let Some(device) = already_bound(work, &invite, &enrolment.key)? {
        return Ok(device);
    }
    let Enrolment { secret, key: _, suggested_name, source } = &enrolment;
    let (device, invite) = admit(work, secret, suggested_name, now).await?;
    bind_key(work, device, &invite, &enrolment, now).await?;
    use_up(work, &invite).await?;
    joined(work, device, &invite, *source, now).await
}

/// The device that the invite is good for: a new one, or the one it replaces.
pub(crate) async fn admit(
    work: &mut Work,
    secret: &Secret<[u8; SECRET_LENGTH]>,
    suggested_name: &str,
    now: Timestamp,
) -> Result<(DeviceId, InviteSummary), EnrolError> {
    let invite = invites::find(work.connection(), secret).await?.ok_or(EnrolError::UnknownInvite)?;
    if invite.revoked_at.is_some() {
        return Err(EnrolError::InviteRevoked);
    }
    if invite.uses_left == 0 {
        return Err(EnrolError::UsedUp);
    }
    if now >= invite.expires_at {
        return Err(EnrolError::Expired(invite.expires_at));
    }
    let device = match invite.replaces {
        Some(device) => take_over(work, device).await?,
        None => new_device(work, &invite, suggested_name, now).await?,
    };
    Ok((device, invite))
}

pub(crate) async fn use_up(work: &mut Work, invite: &InviteSummary) -> Result<(), StoreError> {
    sqlx::query("UPDATE invites SET uses_left = uses_left - 1, version = version + 1 WHERE id = $1")
        .bind(invite.id.0)
        .execute(work.connection())
        .await?;
    Ok(())
}

pub(crate) async fn joined(
    work: &mut Work,
    device: DeviceId,
    invite: &InviteSummary,
    source: IpAddr,
    now: Timestamp,
) -> Result<Arc<Device>, EnrolError> {
    let query = sqlx::query("UPDATE devices SET joined_by = $1 WHERE id = $2").bind(invite.id.0).bind(device.0);
    query.execute(work.connection()).await.map_err(StoreError::from)?;
    work.refresh_device(device).await?;
    work.refresh_services_of(device).await?;
    let device = work.draft.device(device).expect("it was just put there");
    let deed = if invite.replaces.is_some() { Deed::DeviceReplaced } else { Deed::DeviceJoined };
    let detail = format!("by invite {}", invite.id);
    work.write_down_from(deed, device.name.as_str(), &detail, source, now).await?;
    Ok(device)
}

/// A key that is already a device's needs no invite used up. One that was taken away stays away.
fn already_bound(work: &Work, invite: &InviteSummary, key: &[u8; 32]) -> Result<Option<Arc<Device>>, EnrolError> {
    let Some((device, state)) = work.draft.key(key) else { return Ok(None) };
    let device = work.draft.device(device).ok_or(EnrolError::KeyRevoked)?;
    match state {
        KeyState::Revoked => Err(EnrolError::KeyRevoked),
        KeyState::Replaced => Err(EnrolError::KeyReplaced),
        KeyState::Active if device.revoked_at.is_some() => Err(EnrolError::KeyRevoked),
        KeyState::Active if invite.replaces.is_some_and(|wanted| wanted != device.id) => {
            Err(EnrolError::KeyInUse(device.name.clone()))
        }
        KeyState::Active => Ok(Some(device)),
    }
}

/// The old key stops counting in the same step. A revoked device comes back by this: its owner made the invite after.
async fn take_over(work: &mut Work, device: DeviceId) -> Result<DeviceId, StoreError> {
    sqlx::query("UPDATE device_keys SET state = 'replaced' WHERE device = $1 AND state = 'active'")
        .bind(device.0)
        .execute(work.connection())
        .await?;
    sqlx::query("UPDATE devices SET revoked_at = NULL, version = version + 1 WHERE id = $1")
        .bind(device.0)
        .execute(work.connection())
        .await?;
    ssh::put_off(work, device, KeyState::Replaced).await?;
    ssh::passwords::forget_tokens(work, device).await?;
    Ok(device)
}

async fn new_device(
    work: &mut Work,
    invite: &InviteSummary,
    suggested_name: &str,
    now: Timestamp,
) -> Result<DeviceId, StoreError> {
    let name = free_name(work, invite.name.clone().unwrap_or_else(|| label_of(suggested_name)));
    let title = title(suggested_name);
    let title = if title.is_empty() { name.to_string() } else { title };
    insert_device(work, invite.account, &name, &title, now).await
}

pub(crate) async fn insert_device(
    work: &mut Work,
    account: AccountId,
    name: &Label,
    title: &str,
    now: Timestamp,
) -> Result<DeviceId, StoreError> {
    let id = work.next_id("device").await?;
    sqlx::query("INSERT INTO devices (id, account, name, title, joined_at, version) VALUES ($1, $2, $3, $4, $5, 1)")
        .bind(id)
        .bind(account.0)
        .bind(name.as_str())
        .bind(title)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    Ok(DeviceId(id))
}

async fn bind_key(
    work: &mut Work,
    device: DeviceId,
    invite: &InviteSummary,
    enrolment: &Enrolment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = words::hex(&enrolment.key);
    sqlx::query("INSERT INTO device_keys (key, device, state, bound_at, bound_by) VALUES ($1, $2, 'active', $3, $4)")
        .bind(&key)
        .bind(device.0)
        .bind(words::time(now))
        .bind(invite.id.0)
        .execute(work.connection())
        .await?;
    sqlx::query("INSERT INTO invite_uses (invite, key, used_at) VALUES ($1, $2, $3)")
        .bind(invite.id.0)
        .bind(&key)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    Ok(())
}

fn label_of(suggested: &str) -> Label {
    let label = Label::parse(suggested).ok().or_else(|| Label::suggest(suggested));
    label.unwrap_or_else(|| Label::parse("device").expect("it is a label"))
}

/// The name, or the first of `-2`, `-3`, … that no device has and whose host name nobody holds.
fn free_name(work: &Work, wish: Label) -> Label {
    let domain = work.draft.site().domain.as_ref();
    let is_free = |name: &Label| {
        let host = domain.and_then(|domain| domain.child(name.as_str()).ok());
        work.draft.device_by_name(name).is_none()
            && host.is_none_or(|host| work.draft.host_holder(&host, None).is_none())
    };
    std::iter::once(wish.clone())
        .chain((2..).map(|n| wish.numbered(n)))
        .find(is_free)
        .expect("there are more numbers than devices")
}

/// Any text, as one short line.
pub(crate) fn title(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(services::MAX_TITLE).collect::<String>().trim().to_owned()
}
