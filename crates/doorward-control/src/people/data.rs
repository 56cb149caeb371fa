//! All that is known of one person, for them or for whoever must give it to them. Nothing by which somebody could become them:
//! of what they prove only that it is there.

use crate::audit::line_of;
use crate::identities::all_of;
use crate::store::{StoreError, words};
use crate::{Control, EditError};
use doorward_core::AccountId;
use doorward_core::audit::{Deed, Line};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PersonData {
    account: Account,
    groups: Vec<Label>,
    /// `null`: they have none.
    #[schemars(with = "Option<Instant>")]
    password_set_at: Option<Timestamp>,
    /// Of an app for codes; `null`: they have none.
    #[schemars(with = "Option<Instant>")]
    app_set_up_at: Option<Timestamp>,
    recovery_codes_left: i64,
    passkeys: Vec<Key>,
    identities: Vec<AtProvider>,
    ssh_keys: Vec<Key>,
    ssh_certificates: Vec<Certificate>,
    knock_keys: Vec<Key>,
    /// Signed-in browsers, and API tokens.
    logins: Vec<Login>,
    sessions: Vec<Session>,
    /// What is theirs, by its name.
    devices: Vec<String>,
    services: Vec<String>,
    /// Policies that say their name, by their service.
    named_by: Vec<String>,
    /// Lines of the audit that they did, or that speak of them, the oldest first.
    audit: Vec<Line>,
    /// Where the lines go on; `null`: these are all.
    audit_after: Option<i64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Account {
    number: AccountId,
    name: Label,
    title: String,
    role: Role,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
    #[schemars(with = "Option<Instant>")]
    disabled_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Key {
    /// A title, or the public key.
    what: String,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Option<Instant>")]
    used_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AtProvider {
    issuer: String,
    subject: String,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Instant")]
    used_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    serial: i64,
    key: String,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Login {
    id: i64,
    kind: String,
    title: String,
    source: Option<String>,
    by: String,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Instant")]
    seen_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Session {
    id: i64,
    /// `null`: it is gone.
    service: Option<String>,
    #[schemars(with = "Instant")]
    opened_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    #[schemars(with = "Instant")]
    used_at: Timestamp,
    #[schemars(with = "Option<Instant>")]
    ended_at: Option<Timestamp>,
    ending: Option<String>,
    /// From where they come, while it is open.
    sources: Vec<String>,
}

/// Lines of the audit in one answer.
const MOST_LINES: usize = 10_000;
/// Read at a time.
const PAGE: i64 = 2_000;

impl Control {
    /// `after`: lines of the audit from after this number on. That it was given out is itself a line of the audit.
    pub async fn export_person(
        &self,
        id: AccountId,
        after: Option<i64>,
        now: Timestamp,
    ) -> Result<PersonData, EditError> {
        let unknown = || EditError::Unknown(format!("person number {id}"));
        let person = self.snapshot().shared_person(id).ok_or_else(unknown)?;
        // What is counted in memory speaks of them, too.
        self.flush_audit().await?;
        if after.is_none() {
            let name = person.name.to_string();
            self.record(Deed::PersonExported, name, String::new(), None, now).await?;
        }
        Ok(self.gather(&person, after).await?)
    }

    async fn gather(&self, person: &Person, after: Option<i64>) -> Result<PersonData, StoreError> {
        // One moment for all of it.
        let mut transaction = self.0.store.readers().begin().await?;
        let (connection, snapshot) = (&mut *transaction, self.snapshot());
        let (audit, audit_after) = lines_about(connection, person, after.unwrap_or(0)).await?;
        let theirs = snapshot.devices_after(Some(person.id), None).map(|device| device.name.to_string()).collect();
        let owned = snapshot.services_for(crate::Audience::Owner(person.id), None);
        let naming = snapshot.services_for(crate::Audience::Person(person.name.clone()), None);
        let one = |statement: &'static str| sqlx::query_scalar::<_, Option<i64>>(statement).bind(person.id.0);
        let since = |at: Option<Option<i64>>| at.flatten().map(words::read_time).transpose();
        let password = "SELECT changed_at FROM person_passwords WHERE account = $1";
        let app = "SELECT since FROM person_totp WHERE account = $1";
        let codes = "SELECT COUNT(*) FROM recovery_codes WHERE account = $1 AND used_at IS NULL";
        Ok(PersonData {
            account: Account {
                number: person.id,
                name: person.name.clone(),
                title: person.title.clone(),
                role: person.role,
                created_at: person.created_at,
                ends_at: person.ends_at,
                disabled_at: person.disabled_at,
            },
            groups: person.groups.clone(),
            password_set_at: since(one(password).fetch_optional(&mut *connection).await?)?,
            app_set_up_at: since(one(app).fetch_optional(&mut *connection).await?)?,
            recovery_codes_left: one(codes).fetch_one(&mut *connection).await?.unwrap_or(0),
            passkeys: rows(connection, PASSKEYS, person.id.0, key).await?,
            identities: all_of(connection, person.id).await?.into_iter().map(AtProvider::from).collect(),
            ssh_keys: rows(connection, SSH_KEYS, person.id.0, key).await?,
            ssh_certificates: rows(connection, CERTIFICATES, person.name.to_string(), certificate).await?,
            knock_keys: rows(connection, KNOCK_KEYS, person.id.0, key).await?,
            logins: rows(connection, LOGINS, person.id.0, login).await?,
            sessions: rows(connection, SESSIONS, person.id.0, session).await?,
            devices: theirs,
            services: owned.map(|record| record.service.path()).collect(),
            named_by: naming.map(|record| record.service.path()).collect(),
            audit,
            audit_after,
        })
    }
}

const PASSKEYS: &str = "SELECT title AS what, since, used_at FROM passkeys WHERE account = $1 ORDER BY id";
const SSH_KEYS: &str =
    "SELECT key AS what, added_at AS since, NULL AS used_at FROM ssh_keys WHERE account = $1 ORDER BY added_at, key";
const KNOCK_KEYS: &str = "SELECT name AS what, since, used_at FROM knock_keys WHERE account = $1 ORDER BY id";
const CERTIFICATES: &str =
    "SELECT serial, key, created_at, until FROM ssh_certificates WHERE person = $1 ORDER BY serial";
const LOGINS: &str =
    "SELECT id, kind, title, source, factors, since, seen_at, until FROM logins WHERE account = $1 ORDER BY id";
const SESSIONS: &str = "SELECT s.id, d.name || '/' || v.name AS service, s.opened_at, s.until, s.used_at, s.ended_at, s.ending, \
                        (SELECT STRING_AGG(source, ' ') FROM session_sources WHERE session = s.id) AS sources \
                        FROM sessions s LEFT JOIN services v ON v.id = s.service LEFT JOIN devices d ON d.id = v.device \
                        WHERE s.account = $1 ORDER BY s.id";

async fn rows<T, V>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    whose: V,
    read: fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError>
where
    V: for<'q> sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'static,
{
    sqlx::query(statement).bind(whose).fetch_all(connection).await?.iter().map(read).collect()
}

fn key(row: &SqliteRow) -> Result<Key, StoreError> {
    Ok(Key {
        what: row.try_get("what")?,
        since: words::read_time(row.try_get("since")?)?,
        used_at: words::read_optional_time(row.try_get("used_at")?)?,
    })
}

fn certificate(row: &SqliteRow) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        serial: row.try_get("serial")?,
        key: row.try_get("key")?,
        created_at: words::read_time(row.try_get("created_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
    })
}

fn login(row: &SqliteRow) -> Result<Login, StoreError> {
    Ok(Login {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        title: row.try_get("title")?,
        source: row.try_get("source")?,
        by: row.try_get("factors")?,
        since: words::read_time(row.try_get("since")?)?,
        seen_at: words::read_time(row.try_get("seen_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
    })
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    let sources: Option<&str> = row.try_get("sources")?;
    Ok(Session {
        id: row.try_get("id")?,
        service: row.try_get("service")?,
        opened_at: words::read_time(row.try_get("opened_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
        used_at: words::read_time(row.try_get("used_at")?)?,
        ended_at: words::read_optional_time(row.try_get("ended_at")?)?,
        ending: row.try_get("ending")?,
        sources: sources.map(|list| list.split(' ').map(str::to_owned).collect()).unwrap_or_default(),
    })
}

impl From<crate::Identity> for AtProvider {
    fn from(identity: crate::Identity) -> Self {
        let crate::Identity { issuer, subject, since, used_at, .. } = identity;
        Self { issuer, subject, since, used_at }
    }
}

/// And the number after which they go on.
async fn lines_about(
    connection: &mut SqliteConnection,
    person: &Person,
    mut after: i64,
) -> Result<(Vec<Line>, Option<i64>), StoreError> {
    const ABOUT: &str = "SELECT * FROM audit WHERE id > $1 AND (person = $2 OR subject = $2 OR instr(detail, $2) > 0) \
                         ORDER BY id LIMIT $3";
    let (name, mut lines) = (person.name.as_str(), Vec::new());
    loop {
        let rows = sqlx::query(ABOUT).bind(after).bind(name).bind(PAGE).fetch_all(&mut *connection).await?;
        let is_last = rows.len() < PAGE as usize;
        for row in &rows {
            let line = line_of(row)?;
            after = line.id;
            if speaks_of(&line, name) {
                lines.push(line);
            }
            if lines.len() == MOST_LINES {
                return Ok((lines, Some(after)));
            }
        }
        if is_last {
            return Ok((lines, None));
        }
    }
}

/// `anna` stands neither in `johanna` nor in `anna-2`.
fn speaks_of(line: &Line, name: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    line.person == name || line.subject == name || line.detail.split(|c| !is_of_name(c)).any(|word| word == name)
}
