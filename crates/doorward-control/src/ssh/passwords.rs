//! Passwords by SSH: tokens of devices, and sender keys. Each is made here, of more random bits than anybody can try, and shown
//! once. So a fast hash of it may rest (there is nothing to be guessed), and finding one by its hash tells whoever measures
//! nothing: which hash they come to is not theirs to choose.

use crate::snapshot::{Device, Snapshot};
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, ssh};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::ssh::{Identity, Purpose};
use doorward_core::{DeviceId, Secret};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// SHA-256 of a password: what rests of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PasswordDigest([u8; 32]);

/// What an owner calls it by: `password-7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PasswordNumber(i64);

#[derive(Clone, Debug)]
pub struct SshPassword {
    pub number: PasswordNumber,
    pub digest: PasswordDigest,
    pub device: DeviceId,
    pub purpose: Purpose,
    pub added_at: Timestamp,
}

/// One that was just made, in clear for the only time.
#[derive(Debug)]
pub struct NewPassword {
    pub number: PasswordNumber,
    pub text: Secret<String>,
}

/// 160: beyond trying, and 32 letters without a rest.
const SECRET_BYTES: usize = 20;
const MOST_OF_A_DEVICE: usize = 100;

impl PasswordDigest {
    pub fn of(password: &str) -> Self {
        Self(digest(&SHA256, password.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDigest(…)")
    }
}

impl fmt::Display for PasswordNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "password-{}", self.0)
    }
}

impl FromStr for PasswordNumber {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let number = text.strip_prefix("password-").and_then(|number| number.parse().ok());
        number.map(Self).ok_or_else(|| EditError::Invalid("a password is called by its number, as password-7".into()))
    }
}

impl Control {
    /// By name; a device that is not there yet is made.
    pub async fn make_device_token(&self, device: Label, now: Timestamp) -> Result<NewPassword, EditError> {
        self.write(move |work| Box::pin(make_token(work, device, now))).await
    }

    /// For a device that is there: it is where the agent runs.
    pub async fn make_sender_key(&self, device: Label, port: u16, now: Timestamp) -> Result<NewPassword, EditError> {
        if port == 0 {
            return Err(EditError::Invalid("there is no port 0".into()));
        }
        self.write(move |work| Box::pin(make_sender_key(work, device, port, now))).await
    }

    /// What stands by it ends.
    pub async fn remove_ssh_password(&self, number: PasswordNumber, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(remove(work, number, now))).await
    }
}

impl Snapshot {
    /// Whose password this is, and what for; `None` if it is nobody's, or not this user's.
    pub fn ssh_password(&self, user: &str, digest: &PasswordDigest) -> Option<(Arc<SshPassword>, Identity)> {
        let (password, device) = self.standing_password(digest)?;
        let identity = password.purpose.identity(&device.name, user)?;
        Some((password, identity))
    }

    /// Whether it still counts, for those who came in by it.
    pub fn ssh_password_counts(&self, digest: &PasswordDigest) -> bool {
        self.standing_password(digest).is_some()
    }

    fn standing_password(&self, digest: &PasswordDigest) -> Option<(Arc<SshPassword>, Arc<Device>)> {
        let password = self.ssh_passwords.get(digest)?;
        let device = self.device(password.device).filter(|device| device.revoked_at.is_none())?;
        Some((password.clone(), device))
    }

    pub fn ssh_passwords(&self) -> impl Iterator<Item = &Arc<SshPassword>> {
        self.ssh_passwords.values()
    }
}

async fn make_token(work: &mut Work, device: Label, now: Timestamp) -> Result<NewPassword, EditError> {
    let id = ssh::device_named(work, &device, "by a device token that was made", now).await?;
    make(work, id, &device, Purpose::Token, now).await
}

async fn make_sender_key(work: &mut Work, device: Label, port: u16, now: Timestamp) -> Result<NewPassword, EditError> {
    let known = work.draft.device_by_name(&device).filter(|device| device.revoked_at.is_none());
    let id = known.ok_or_else(|| EditError::Unknown(format!("device {device}")))?.id;
    make(work, id, &device, Purpose::SenderKey { port }, now).await
}

async fn make(
    work: &mut Work,
    device: DeviceId,
    name: &Label,
    purpose: Purpose,
    now: Timestamp,
) -> Result<NewPassword, EditError> {
    if work.draft.ssh_passwords().filter(|password| password.device == device).count() >= MOST_OF_A_DEVICE {
        return Err(EditError::Invalid(format!("one device has {MOST_OF_A_DEVICE} passwords at most")));
    }
    let text = generate(purpose);
    let id = work.next_id("ssh-password").await?;
    sqlx::query("INSERT INTO ssh_passwords (id, digest, device, port, added_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(words::hex(&PasswordDigest::of(text.expose()).0))
        .bind(device.0)
        .bind(purpose.port().map(i64::from))
        .bind(words::time(now))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_ssh_passwords().await?;
    let number = PasswordNumber(id);
    work.write_down(Deed::SshPasswordMade, name.as_str(), &describe(number, purpose), now).await?;
    Ok(NewPassword { number, text })
}

fn generate(purpose: Purpose) -> Secret<String> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    let bytes = Secret::new(bytes);
    // Nothing that a shell, Python or a URL would read as anything but letters.
    Secret::new(format!("{}-{}", purpose.word(), BASE32_NOPAD.encode(bytes.expose()).to_ascii_lowercase()))
}

fn describe(number: PasswordNumber, purpose: Purpose) -> String {
    match purpose {
        Purpose::Token => format!("{number}, a device token"),
        Purpose::SenderKey { port } => format!("{number}, a sender key for port {port}"),
    }
}

async fn remove(work: &mut Work, number: PasswordNumber, now: Timestamp) -> Result<(), EditError> {
    let known = work.draft.ssh_passwords().find(|password| password.number == number).cloned();
    let known = known.ok_or_else(|| EditError::Unknown(format!("SSH password {number}")))?;
    sqlx::query("DELETE FROM ssh_passwords WHERE id = $1")
        .bind(number.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_ssh_passwords().await?;
    let device = work.draft.device(known.device).map(|device| device.name.to_string()).unwrap_or_default();
    work.write_down(Deed::SshPasswordRemoved, &device, &describe(number, known.purpose), now).await?;
    Ok(())
}

/// Another machine took the device over: what the old one knew lets nobody in. Those who send to it are the same.
pub(crate) async fn forget_tokens(work: &mut Work, device: DeviceId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM ssh_passwords WHERE device = $1 AND port IS NULL")
        .bind(device.0)
        .execute(work.connection())
        .await?;
    work.refresh_ssh_passwords().await
}

/// The device was revoked.
pub(crate) async fn forget_all(work: &mut Work, device: DeviceId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM ssh_passwords WHERE device = $1").bind(device.0).execute(work.connection()).await?;
    work.refresh_ssh_passwords().await
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<SshPassword>, StoreError> {
    let rows = sqlx::query("SELECT id, digest, device, port, added_at FROM ssh_passwords");
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<SshPassword, StoreError> {
    let purpose = match row.try_get::<Option<i64>, _>("port")? {
        None => Purpose::Token,
        Some(port) => Purpose::SenderKey { port: words::read_port(port)? },
    };
    Ok(SshPassword {
        number: PasswordNumber(row.try_get("id")?),
        digest: PasswordDigest(words::read_hex_32(row.try_get("digest")?)?),
        device: DeviceId(row.try_get("device")?),
        purpose,
        added_at: words::read_time(row.try_get("added_at")?)?,
    })
}
