//! Keys by which people knock (`doorward_core::knock`): made for one person, for certain of the services that they may use,
//! shown once. What a key opens is decided anew each time, by each service's policy.

mod doorstep;
mod using;

pub(crate) use doorstep::Doorstep;
pub use using::{KnockError, Knocked, KnockedAt};

use crate::snapshot::Snapshot;
use crate::store::seal::Seal;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::audit::Deed;
use doorward_core::knock::{KeyId, KnockKey, KnockLine};
use doorward_core::names::{HostName, Label};
use doorward_core::site::Host;
use doorward_core::{AccountId, KnockKeyId, Secret, ServiceId};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct KnockKeyRequest {
    pub account: AccountId,
    /// What has it, as `phone`. One person's keys have different names.
    pub name: Label,
    /// None: it opens nothing, and shows the portal where that is hidden.
    pub services: Vec<ServiceId>,
    /// Whether knocks may leave open from where they come.
    pub may_be_seen: bool,
}

/// Shown once.
#[derive(Debug)]
pub struct NewKnockKey {
    pub id: KnockKeyId,
    pub line: KnockLine,
}

/// A key for people: what it is, never the key itself.
#[derive(Clone, Debug)]
pub struct KnockKeySummary {
    pub id: KnockKeyId,
    pub account: AccountId,
    pub name: Label,
    pub services: Vec<ServiceId>,
    pub may_be_seen: bool,
    pub since: Timestamp,
    pub used_at: Option<Timestamp>,
    /// From where, the last time.
    pub used_from: Option<IpAddr>,
}

/// One as packets are opened by it.
pub struct HeldKey {
    pub id: KnockKeyId,
    pub account: AccountId,
    pub name: Label,
    pub key: KnockKey,
    pub may_be_seen: bool,
    services: Vec<ServiceId>,
}

pub(crate) type HeldKeys = HashMap<KeyId, Arc<HeldKey>>;

const MOST_OF_ONE: usize = 20;
const MOST: usize = 10_000;
const MOST_SERVICES: usize = 16;

impl Control {
    pub async fn make_knock_key(&self, request: KnockKeyRequest, now: Timestamp) -> Result<NewKnockKey, EditError> {
        self.write(move |work| Box::pin(make(work, request, now))).await
    }

    /// The newest first. `of`: whose; `None`: everybody's.
    pub async fn knock_keys(&self, of: Option<AccountId>) -> Result<Vec<KnockKeySummary>, StoreError> {
        let rows = sqlx::query("SELECT * FROM knock_keys WHERE $1 IS NULL OR account = $1 ORDER BY id DESC");
        let rows = rows.bind(of.map(|account| account.0)).fetch_all(self.0.store.readers()).await?;
        rows.iter().map(read).collect()
    }

    /// It opens nothing from now on; what it opened stays. `of`: whose it must be.
    pub async fn remove_knock_key(
        &self,
        of: Option<AccountId>,
        id: KnockKeyId,
        now: Timestamp,
    ) -> Result<(), EditError> {
        self.write(move |work| Box::pin(remove(work, of, id, now))).await
    }
}

impl Snapshot {
    /// The key that a packet names.
    pub fn knock_key(&self, id: &KeyId) -> Option<&Arc<HeldKey>> {
        self.knock_keys.get(id)
    }
}

async fn make(work: &mut Work, request: KnockKeyRequest, now: Timestamp) -> Result<NewKnockKey, EditError> {
    let person = work.draft.shared_person(request.account);
    let person = person.ok_or_else(|| EditError::Unknown(format!("person number {}", request.account)))?;
    let (host, port) = place(work)?;
    leave_room(work, &request, &person.name).await?;
    let (id, number, secret) = (KnockKeyId(work.next_id("knock-key").await?), KeyId(random()), Secret::new(random()));
    insert(work, &request, id, number, &secret, now).await?;
    work.refresh_knock_keys().await?;
    let KnockKeyRequest { name, services, may_be_seen, .. } = request;
    let paths = services.iter().filter_map(|id| work.draft.service(*id)).map(|service| service.path());
    let detail = format!("{name}, for {}", paths.collect::<Vec<_>>().join(" "));
    work.write_down(Deed::KnockKeyMade, person.name.as_str(), &detail, now).await?;
    Ok(NewKnockKey { id, line: KnockLine { host, port, id: number, secret, may_be_seen } })
}

/// `whose`: for what is said about it.
async fn leave_room(work: &mut Work, request: &KnockKeyRequest, whose: &Label) -> Result<(), EditError> {
    if request.services.len() > MOST_SERVICES {
        return Err(EditError::Invalid(format!("one key opens {MOST_SERVICES} services at most")));
    }
    let theirs = sqlx::query_scalar("SELECT name FROM knock_keys WHERE account = $1").bind(request.account.0);
    let theirs: Vec<String> = theirs.fetch_all(work.connection()).await.map_err(StoreError::from)?;
    if theirs.len() >= MOST_OF_ONE || work.draft.knock_keys.len() >= MOST {
        return Err(EditError::Invalid(format!(
            "one person has {MOST_OF_ONE} knock keys at most, and all together {MOST}: remove one first"
        )));
    }
    if theirs.iter().any(|name| name == request.name.as_str()) {
        let why = format!("{whose} has a knock key {} already: remove that one first", request.name);
        return Err(EditError::Taken(why));
    }
    Ok(())
}

async fn insert(
    work: &mut Work,
    request: &KnockKeyRequest,
    id: KnockKeyId,
    number: KeyId,
    secret: &Secret<[u8; 32]>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sealed = work.shared.seal.seal(&place_of(id), secret.expose());
    sqlx::query(
        "INSERT INTO knock_keys (id, account, name, number, secret, may_be_seen, services, since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.0)
    .bind(request.account.0)
    .bind(request.name.as_str())
    .bind(words::hex(&number.0))
    .bind(sealed)
    .bind(i64::from(request.may_be_seen))
    .bind(serde_json::to_string(&request.services).expect("numbers are always JSON"))
    .bind(words::time(now))
    .execute(work.connection())
    .await?;
    Ok(())
}

/// Where to knock.
fn place(work: &Work) -> Result<(Host, u16), EditError> {
    let site = work.draft.site();
    let port = site.knock.port.ok_or_else(|| {
        EditError::TooEarly("this gateway hears no knocks: set `knock` under [listen] in gateway.toml first".into())
    })?;
    let domain = site.domain.clone().map(Host::Name);
    let localhost = || Host::Name(HostName::parse("localhost").expect("a constant name"));
    Ok((site.port_host.clone().or(domain).unwrap_or_else(localhost), port))
}

async fn remove(work: &mut Work, of: Option<AccountId>, id: KnockKeyId, now: Timestamp) -> Result<(), EditError> {
    let unknown = || EditError::Unknown(format!("knock key {id}"));
    let row = sqlx::query("SELECT * FROM knock_keys WHERE id = $1").bind(id.0).fetch_optional(work.connection()).await;
    let key = row.map_err(StoreError::from)?.as_ref().map(read).transpose()?.ok_or_else(unknown)?;
    if of.is_some_and(|account| account != key.account) {
        return Err(unknown());
    }
    let gone = sqlx::query("DELETE FROM knock_keys WHERE id = $1").bind(id.0).execute(work.connection()).await;
    gone.map_err(StoreError::from)?;
    work.refresh_knock_keys().await?;
    let person = work.draft.shared_person(key.account).map_or_else(String::new, |person| person.name.to_string());
    work.write_down(Deed::KnockKeyRemoved, &person, key.name.as_str(), now).await?;
    Ok(())
}

/// There are few.
pub(crate) async fn load(connection: &mut SqliteConnection, seal: &Seal) -> Result<HeldKeys, StoreError> {
    let rows = sqlx::query("SELECT * FROM knock_keys").fetch_all(connection).await?;
    rows.iter().map(|row| held(row, seal)).collect()
}

fn held(row: &SqliteRow, seal: &Seal) -> Result<(KeyId, Arc<HeldKey>), StoreError> {
    let KnockKeySummary { id, account, name, services, may_be_seen, .. } = read(row)?;
    let opened = seal.open(&place_of(id), row.try_get("secret")?)?;
    let unfit = || words::strange("a knock key", "of another length");
    let secret = Secret::new(<[u8; 32]>::try_from(opened.expose().as_slice()).map_err(|_| unfit())?);
    let number: &str = row.try_get("number")?;
    let number = words::read_hex(number)?.try_into().map_err(|_| unfit())?;
    let key = KnockKey::new(&secret);
    Ok((KeyId(number), Arc::new(HeldKey { id, account, name, key, may_be_seen, services })))
}

fn read(row: &SqliteRow) -> Result<KnockKeySummary, StoreError> {
    let (services, from): (&str, Option<&str>) = (row.try_get("services")?, row.try_get("used_from")?);
    let strange = |text: &str| words::strange("the address of a knock", text);
    Ok(KnockKeySummary {
        id: KnockKeyId(row.try_get("id")?),
        account: AccountId(row.try_get("account")?),
        name: words::read_label(row.try_get("name")?)?,
        services: serde_json::from_str(services).map_err(|_| words::strange("a knock key's services", services))?,
        may_be_seen: row.try_get::<i64, _>("may_be_seen")? != 0,
        since: words::read_time(row.try_get("since")?)?,
        used_at: words::read_optional_time(row.try_get("used_at")?)?,
        used_from: from.map(|text| text.parse().map_err(|_| strange(text))).transpose()?,
    })
}

fn place_of(id: KnockKeyId) -> String {
    format!("knock-key/{id}")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
