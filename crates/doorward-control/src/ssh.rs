//! SSH keys: whose each is, and the gateway's own.

pub(crate) mod certificates;
pub(crate) mod passwords;

use crate::enrol::{self, EnrolError};
use crate::snapshot::{Device, KeyState};
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, NewPerson, accounts, people};
use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::audit::Deed;
use doorward_core::invite::SECRET_LENGTH;
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::ssh::PublicKey;
use doorward_core::{AccountId, DeviceId, Secret};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// SHA-256 of a key as it travels; written as ssh-keygen does, `SHA256:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(pub [u8; 32]);

impl KeyFingerprint {
    pub fn of(key: &PublicKey) -> Self {
        Self::of_blob(key.blob())
    }

    pub fn of_blob(blob: &[u8]) -> Self {
        Self(digest(&SHA256, blob).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", data_encoding::BASE64_NOPAD.encode(&self.0))
    }
}

impl FromStr for KeyFingerprint {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let encoded = text.strip_prefix("SHA256:").unwrap_or(text);
        let bytes = data_encoding::BASE64_NOPAD.decode(encoded.as_bytes()).ok();
        let wrong =
            || EditError::Invalid("a fingerprint looks like SHA256:… with 43 characters after the colon".into());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(wrong)
    }
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshHolder {
    Device(DeviceId),
    Person(AccountId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    pub fingerprint: KeyFingerprint,
    pub key: PublicKey,
    pub holder: SshHolder,
    pub(crate) state: KeyState,
    pub added_at: Timestamp,
}

/// What a key is good for now.
#[derive(Clone, Debug)]
pub enum SshStanding {
    Device(Arc<Device>),
    /// Their account may have ended.
    Person(Arc<Person>),
    /// Its device was revoked, or taken over by another machine; its person was disabled.
    Refused,
    Unknown,
}

/// Whose keys are added.
#[derive(Clone, Debug)]
pub enum NewHolder {
    /// By name; one that is not there yet is made.
    Device(Label),
    /// The same; as a member.
    Person(Label),
}

#[derive(Clone, Debug)]
pub struct SshEnrolment {
    pub secret: Secret<[u8; SECRET_LENGTH]>,
    pub key: PublicKey,
    pub suggested_name: String,
    pub source: IpAddr,
}

/// A key of the gateway's own.
#[derive(Debug)]
pub struct HostKey {
    /// As in the key: `ssh-ed25519`.
    pub kind: String,
    /// As in a .pub file, without a comment.
    pub public_key: String,
    /// In the OpenSSH format.
    pub private_key: Secret<String>,
}

const MAX_KEYS: usize = 100;

impl Control {
    /// A machine without an agent joins: its key becomes a new device's, or that of the device that the invite replaces.
    /// Idempotent, as for agents.
    pub async fn enrol_ssh(&self, enrolment: SshEnrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
        let source = enrolment.source;
        let joined = self.try_enrol_ssh(enrolment, now).await;
        if let Err(error) = &joined {
            self.refused(Deed::InviteRefused, Some(source), None, error.word(), now);
        }
        joined
    }

    async fn try_enrol_ssh(&self, enrolment: SshEnrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
        self.know_invite(&enrolment.secret).await?;
        self.write(move |work| Box::pin(enrol_key(work, enrolment, now))).await
    }

    /// Returns how many were new. All or none: one that is somebody else's refuses them all.
    pub async fn add_ssh_keys(
        &self,
        holder: NewHolder,
        keys: Vec<PublicKey>,
        now: Timestamp,
    ) -> Result<usize, EditError> {
        self.write(move |work| Box::pin(add(work, holder, keys, now))).await
    }

    pub async fn remove_ssh_key(&self, fingerprint: KeyFingerprint, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(remove(work, fingerprint, now))).await
    }

    /// The gateway's own keys, of each kind one; what `make` makes if there are none yet.
    pub async fn ssh_host_keys(
        &self,
        make: impl FnOnce() -> Vec<HostKey> + Send + 'static,
        now: Timestamp,
    ) -> Result<Vec<HostKey>, StoreError> {
        self.write(move |work| Box::pin(host_keys(work, make, now))).await
    }

    /// As in .pub files.
    pub async fn ssh_host_public_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut reader = self.0.store.readers().acquire().await?;
        let rows =
            sqlx::query("SELECT public_key FROM ssh_host_keys ORDER BY kind DESC").fetch_all(&mut *reader).await?;
        rows.iter().map(|row| Ok(row.try_get("public_key")?)).collect()
    }
}

async fn enrol_key(work: &mut Work, enrolment: SshEnrolment, now: Timestamp) -> Result<Arc<Device>, EnrolError> {
    let SshEnrolment { secret, key, suggested_name, source } = enrolment;
    let fingerprint = KeyFingerprint::of(&key);
    let bound = work.draft.ssh_key(&fingerprint);
    match bound.map(|bound| (bound.state, bound.holder.clone())) {
        None => {}
        Some((KeyState::Active, SshHolder::Device(device))) => {
            let device = work.draft.device(device).filter(|device| device.revoked_at.is_none());
            return device.ok_or(EnrolError::KeyRevoked);
        }
        Some((KeyState::Active, SshHolder::Person(id))) => {
            let name = work.draft.shared_person(id).map(|person| person.name.clone());
            return Err(name.map_or(EnrolError::KeyRevoked, EnrolError::KeyInUse));
        }
        Some((KeyState::Replaced, _)) => return Err(EnrolError::KeyReplaced),
        Some((KeyState::Revoked, _)) => return Err(EnrolError::KeyRevoked),
    }
    let (device, invite) = enrol::admit(work, &secret, &suggested_name, now).await?;
    insert(work, &key, &SshHolder::Device(device), now).await?;
    enrol::use_up(work, &invite).await?;
    enrol::joined(work, device, &invite, source, now).await
}

async fn add(work: &mut Work, holder: NewHolder, keys: Vec<PublicKey>, now: Timestamp) -> Result<usize, EditError> {
    if keys.is_empty() {
        return Err(EditError::Invalid("no key was given: paste the line of an id_ed25519.pub".into()));
    }
    let (holder, subject) = match holder {
        NewHolder::Person(name) => (SshHolder::Person(person_named(work, &name, now).await?), name),
        NewHolder::Device(name) => {
            (SshHolder::Device(device_named(work, &name, "by an SSH key that was added", now).await?), name)
        }
    };
    let held = work.draft.ssh_keys().filter(|key| key.holder == holder).count();
    if held + keys.len() > MAX_KEYS {
        return Err(EditError::Invalid(format!("one holder has {MAX_KEYS} keys at most")));
    }
    let mut added = 0;
    for key in keys {
        let fingerprint = KeyFingerprint::of(&key);
        match work.draft.ssh_key(&fingerprint) {
            Some(known) if known.holder == holder && known.state == KeyState::Active => continue,
            Some(_) => {
                return Err(EditError::Taken(format!(
                    "the key {fingerprint} is known already: `doorward ssh-keys` shows whose it is"
                )));
            }
            None => {}
        }
        insert(work, &key, &holder, now).await?;
        work.write_down(Deed::SshKeyAdded, subject.as_str(), &fingerprint.to_string(), now).await?;
        added += 1;
    }
    Ok(added)
}

/// `how` it joins if it is not there yet.
pub(crate) async fn device_named(
    work: &mut Work,
    name: &Label,
    how: &str,
    now: Timestamp,
) -> Result<DeviceId, EditError> {
    if let Some(device) = work.draft.device_by_name(name) {
        return match device.revoked_at {
            None => Ok(device.id),
            Some(_) => Err(EditError::Invalid(format!(
                "{name} was revoked: `doorward devices replace {name}` lets a machine take its place"
            ))),
        };
    }
    let id = enrol::insert_device(work, accounts::OWNER, name, name.as_str(), now).await?;
    work.refresh_device(id).await?;
    work.write_down(Deed::DeviceJoined, name.as_str(), how, now).await?;
    Ok(id)
}

async fn person_named(work: &mut Work, name: &Label, now: Timestamp) -> Result<AccountId, EditError> {
    if let Some(person) = work.draft.person_by_name(name) {
        return Ok(person.id);
    }
    let new = NewPerson { name: name.clone(), title: None, role: Role::Member, ends_at: None };
    people::insert(work, new, now).await
}

async fn insert(work: &mut Work, key: &PublicKey, holder: &SshHolder, now: Timestamp) -> Result<(), StoreError> {
    let fingerprint = KeyFingerprint::of(key);
    let (device, account) = match holder {
        SshHolder::Device(device) => (Some(device.0), None),
        SshHolder::Person(account) => (None, Some(account.0)),
    };
    const INSERT: &str = "INSERT INTO ssh_keys (fingerprint, key, device, account, state, added_at) \
                          VALUES ($1, $2, $3, $4, 'active', $5)";
    sqlx::query(INSERT)
        .bind(words::hex(&fingerprint.0))
        .bind(key.to_string())
        .bind(device)
        .bind(account)
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    work.refresh_ssh_keys().await
}

async fn remove(work: &mut Work, fingerprint: KeyFingerprint, now: Timestamp) -> Result<(), EditError> {
    let unknown = || EditError::Unknown(format!("SSH key {fingerprint}"));
    let key = work.draft.ssh_key(&fingerprint).ok_or_else(unknown)?;
    let subject = match &key.holder {
        SshHolder::Person(id) => work.draft.shared_person(*id).map(|p| p.name.to_string()).unwrap_or_default(),
        SshHolder::Device(device) => work.draft.device(*device).map(|d| d.name.to_string()).unwrap_or_default(),
    };
    sqlx::query("DELETE FROM ssh_keys WHERE fingerprint = $1")
        .bind(words::hex(&fingerprint.0))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_ssh_keys().await?;
    work.write_down(Deed::SshKeyRemoved, &subject, &fingerprint.to_string(), now).await?;
    Ok(())
}

/// With their device.
pub(crate) async fn put_off(work: &mut Work, device: DeviceId, state: KeyState) -> Result<(), StoreError> {
    sqlx::query("UPDATE ssh_keys SET state = $1 WHERE device = $2 AND state = 'active'")
        .bind(state.word())
        .bind(device.0)
        .execute(work.connection())
        .await?;
    work.refresh_ssh_keys().await
}

async fn host_keys(
    work: &mut Work,
    make: impl FnOnce() -> Vec<HostKey>,
    now: Timestamp,
) -> Result<Vec<HostKey>, StoreError> {
    let rows = sqlx::query("SELECT kind, public_key, sealed_key FROM ssh_host_keys ORDER BY kind DESC");
    let rows = rows.fetch_all(work.connection()).await?;
    if !rows.is_empty() {
        return rows.iter().map(|row| read_host_key(work, row)).collect();
    }
    let made = make();
    for key in &made {
        let sealed = work.shared.seal.seal(&place(&key.kind), key.private_key.expose().as_bytes());
        sqlx::query("INSERT INTO ssh_host_keys (kind, public_key, sealed_key, created_at) VALUES ($1, $2, $3, $4)")
            .bind(&key.kind)
            .bind(&key.public_key)
            .bind(sealed)
            .bind(words::time(now))
            .execute(work.connection())
            .await?;
    }
    Ok(made)
}

fn read_host_key(work: &Work, row: &SqliteRow) -> Result<HostKey, StoreError> {
    let kind: String = row.try_get("kind")?;
    let opened = work.shared.seal.open(&place(&kind), row.try_get("sealed_key")?)?;
    let text = String::from_utf8(opened.expose().clone());
    let text = text.map_err(|_| StoreError::Strange("an SSH host key that is not text".into()))?;
    Ok(HostKey { kind, public_key: row.try_get("public_key")?, private_key: Secret::new(text) })
}

fn place(kind: &str) -> String {
    format!("ssh_host_keys/{kind}")
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<SshKey>, StoreError> {
    let rows = sqlx::query("SELECT fingerprint, key, device, account, state, added_at FROM ssh_keys");
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<SshKey, StoreError> {
    let key: &str = row.try_get("key")?;
    let device = row.try_get::<Option<i64>, _>("device")?.map(|id| SshHolder::Device(DeviceId(id)));
    let person = row.try_get::<Option<i64>, _>("account")?.map(|id| SshHolder::Person(AccountId(id)));
    Ok(SshKey {
        fingerprint: KeyFingerprint(words::read_hex_32(row.try_get("fingerprint")?)?),
        key: key.parse().map_err(|_| words::strange("an SSH key", key))?,
        holder: device.or(person).ok_or_else(|| StoreError::Strange("an SSH key of nobody".into()))?,
        state: KeyState::read(row.try_get("state")?)?,
        added_at: words::read_time(row.try_get("added_at")?)?,
    })
}
