//! The site key: what agents pin. A successor is announced over the links before it takes over, so that rotating the
//! key, or moving the gateway, visits no device.

use crate::snapshot::{Device, Snapshot};
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, Presence};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::site::Fingerprint;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::sync::Arc;

/// An Ed25519 key pair.
#[derive(Debug)]
pub struct SiteKey {
    /// PKCS#8 v2 (RFC 5958), DER.
    pub pkcs8: Secret<Vec<u8>>,
    pub fingerprint: Fingerprint,
}

#[derive(Clone, Debug)]
pub struct SiteKeys {
    pub active: Arc<SiteKey>,
    /// Announced to agents, not yet in use.
    pub successor: Option<Arc<SiteKey>>,
}

/// Whether devices that would be locked out by a new site key hold it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    OnceStored,
    /// Devices that do not know the new key must join anew.
    Anyway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Active,
    Successor,
    Retired,
}

impl KeyState {
    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Successor => "successor",
            Self::Retired => "retired",
        }
    }
}

/// What stands before the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410, 4 and 10.1).
const ED25519_SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl SiteKey {
    pub(crate) fn generate() -> Self {
        let pair = Ed25519KeyPair::generate().expect("the operating system has random bytes");
        let document = pair.to_pkcs8().expect("a key just made can be written");
        Self { pkcs8: Secret::new(document.as_ref().to_vec()), fingerprint: fingerprint(&pair) }
    }

    fn read(pkcs8: Vec<u8>) -> Result<Self, StoreError> {
        let pkcs8 = Secret::new(pkcs8);
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose())
            .map_err(|_| StoreError::Strange("a site key that is not Ed25519 in PKCS#8".into()))?;
        Ok(Self { fingerprint: fingerprint(&pair), pkcs8 })
    }
}

fn fingerprint(pair: &Ed25519KeyPair) -> Fingerprint {
    let spki = [&ED25519_SPKI_HEAD[..], pair.public_key().as_ref()].concat();
    let hash = digest(&SHA256, &spki);
    Fingerprint(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

impl Control {
    /// Makes the key that will follow, or returns the one already made. Agents learn it over their links.
    pub async fn prepare_successor(&self, now: Timestamp) -> Result<Fingerprint, EditError> {
        self.write(move |work| Box::pin(prepare(work, now))).await
    }

    /// Puts the successor in the place of the active key.
    pub async fn activate_successor(&self, how: Activation, now: Timestamp) -> Result<Fingerprint, EditError> {
        self.write(move |work| Box::pin(activate(work, how, now))).await
    }

    /// The devices that are not known to have stored the successor, by name; none where none is prepared.
    pub fn devices_without_successor(&self) -> Vec<Arc<Device>> {
        without_successor(&self.snapshot(), self.presence())
    }
}

async fn prepare(work: &mut Work, now: Timestamp) -> Result<Fingerprint, EditError> {
    if let Some(successor) = &work.draft.site_keys().successor {
        return Ok(successor.fingerprint);
    }
    let key = SiteKey::generate();
    insert(work.connection(), &key, KeyState::Successor, now).await.map_err(StoreError::from)?;
    work.refresh_site_keys().await?;
    Ok(key.fingerprint)
}

fn without_successor(snapshot: &Snapshot, presence: &Presence) -> Vec<Arc<Device>> {
    let Some(successor) = &snapshot.site_keys().successor else { return Vec::new() };
    let lacks = |device: &&Arc<Device>| {
        device.revoked_at.is_none() && !presence.has_successor(device.id, successor.fingerprint)
    };
    let mut devices: Vec<_> = snapshot.devices().filter(lacks).cloned().collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

async fn activate(work: &mut Work, how: Activation, now: Timestamp) -> Result<Fingerprint, EditError> {
    let Some(successor) = work.draft.site_keys().successor.clone() else {
        return Err(EditError::Invalid(
            "no successor of the site key is prepared: `doorward site-key rotate` makes one".into(),
        ));
    };
    let lacking = without_successor(&work.draft, &work.shared.presence);
    if how == Activation::OnceStored && !lacking.is_empty() {
        let names: Vec<_> = lacking.iter().map(|device| device.name.as_str()).collect();
        return Err(EditError::TooEarly(format!(
            "the new site key is not known to be stored by {}: with it in use they could not come back by themselves",
            names.join(", ")
        )));
    }
    let old = work.draft.site_keys().active.fingerprint;
    for (key, state) in [(old, KeyState::Retired), (successor.fingerprint, KeyState::Active)] {
        sqlx::query("UPDATE site_keys SET state = $1 WHERE fingerprint = $2")
            .bind(state.word())
            .bind(key.to_string())
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
    }
    work.refresh_site_keys().await?;
    let detail = format!("{old} was followed by {}", successor.fingerprint);
    work.write_down(Deed::SiteKeyRotated, "site key", &detail, now).await?;
    Ok(successor.fingerprint)
}

pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    key: &SiteKey,
    state: KeyState,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO site_keys (fingerprint, pkcs8, state, created_at) VALUES ($1, $2, $3, $4)")
        .bind(key.fingerprint.to_string())
        .bind(words::hex(key.pkcs8.expose()))
        .bind(state.word())
        .bind(words::time(now))
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<SiteKeys, StoreError> {
    let rows = sqlx::query("SELECT pkcs8, state FROM site_keys WHERE state <> 'retired'").fetch_all(connection).await?;
    let (mut active, mut successor) = (None, None);
    for row in rows {
        let key = Arc::new(SiteKey::read(words::read_hex(row.try_get("pkcs8")?)?)?);
        match row.try_get("state")? {
            "active" => active = Some(key),
            "successor" => successor = Some(key),
            other => return Err(words::strange("the state of a site key", other)),
        }
    }
    let active = active.ok_or_else(|| StoreError::Strange("no active site key".into()))?;
    Ok(SiteKeys { active, successor })
}
