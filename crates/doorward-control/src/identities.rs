//! Who somebody is at an identity provider. An account is found by issuer and subject, never by a name or an address that the provider
//! tells: those may be somebody else's tomorrow, or were chosen to be taken for somebody.

use crate::people::{self, insert};
use crate::sign_in::{First, HALF_WAY, HALF_WAY_FOR, HalfWay};
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, NewPerson, PersonEdit, Proven, Step};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::person::factors::Factor;
use doorward_core::person::provided::{Provided, ProviderRules};
use doorward_core::person::{Person, PersonStanding};
use doorward_core::{AccountId, IdentityId, Secret};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// For people: where somebody can sign in besides here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: IdentityId,
    pub issuer: String,
    pub subject: String,
    pub account: AccountId,
    /// The account was made when they first came by it.
    pub is_origin: bool,
    pub since: Timestamp,
    pub used_at: Timestamp,
}

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("nobody here is linked with this account of the provider")]
    Unknown,
    #[error("this account has ended or is disabled")]
    Over,
    #[error("this account of the provider is linked with somebody else here")]
    Taken,
    /// Without it they could not sign in any more.
    #[error("it is the only way to sign in that is left")]
    LastWay,
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self::Edit(error.into())
    }
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl ChangeError for IdentityError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Edit(error) => error.of_store(),
            Self::Unknown | Self::Over | Self::Taken | Self::LastWay => None,
        }
    }
}

const JOURNEY: &str = "ticket/journey";
/// A second device, a password that has to be found.
const JOURNEY_FOR: SignedDuration = SignedDuration::from_mins(20);
/// How many spellings of a name are tried.
const MOST_ALIKE: usize = 100;

impl Control {
    /// What a browser takes along to a provider and brings back.
    pub fn seal_journey(&self, journey: &impl Serialize, now: Timestamp) -> Secret<String> {
        self.seal_ticket(JOURNEY, journey, now, JOURNEY_FOR)
    }

    /// `None`: it is none of ours, or too old.
    pub fn open_journey<T: DeserializeOwned>(&self, sealed: &Secret<String>, now: Timestamp) -> Option<T> {
        self.open_ticket(JOURNEY, sealed, now)
    }

    /// Somebody for whom a provider vouches. Who is new comes in if the rules say so. Where they set up a second factor here, it is asked
    /// for unless the provider saw one that counts.
    pub async fn sign_in_as_provided(
        &self,
        provided: Provided,
        rules: ProviderRules,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Step, IdentityError> {
        let (factors, login_for) = (rules.factors_of(&provided), rules.login_for);
        let found = self.write(move |work| Box::pin(enter(work, provided, rules, source, now))).await;
        let (identity, account) = found.inspect_err(|error| {
            let reason = match error {
                IdentityError::Unknown => "unknown-identity",
                IdentityError::Over => "account-over",
                IdentityError::Taken | IdentityError::LastWay | IdentityError::Edit(_) => return,
            };
            self.refused(Deed::SignInRefused, Some(source), None, reason, now);
        })?;
        let has_second = factors.has(Factor::Totp) || factors.has(Factor::Passkey);
        if !has_second && self.second_factors_of(account).await?.is_any() {
            let first = First::Provider { identity, factors: factors.to_string(), login_seconds: login_for.as_secs() };
            let ticket = self.seal_ticket(HALF_WAY, &HalfWay { account, first }, now, HALF_WAY_FOR);
            return Ok(Step::CodeWanted(ticket));
        }
        Ok(Step::Done(Proven { account, factors, login_for }))
    }

    /// From now on this person signs in by it, too. Again is fine.
    pub async fn link_identity(
        &self,
        account: AccountId,
        provided: Provided,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        self.write(move |work| Box::pin(link(work, account, provided, source, now))).await
    }

    pub async fn unlink_identity(
        &self,
        account: AccountId,
        id: IdentityId,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        self.write(move |work| Box::pin(unlink(work, account, id, source, now))).await
    }

    /// The oldest first.
    pub async fn identities_of(&self, account: AccountId) -> Result<Vec<Identity>, StoreError> {
        let mut connection = self.0.store.readers().acquire().await?;
        all_of(&mut connection, account).await
    }

    /// Whether this person has a password here.
    pub async fn has_password(&self, account: AccountId) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM person_passwords WHERE account = $1").bind(account.0);
        Ok(count.fetch_one(self.0.store.readers()).await.map(|count: i64| count > 0)?)
    }
}

async fn enter(
    work: &mut Work,
    provided: Provided,
    rules: ProviderRules,
    source: IpAddr,
    now: Timestamp,
) -> Result<(IdentityId, AccountId), IdentityError> {
    let (id, account) = match find(work.connection(), &provided).await? {
        Some(identity) => {
            let person = in_good_standing(work, identity.account, now)?;
            if identity.is_origin {
                follow(work, &person, &provided, &rules, now).await?;
            }
            (identity.id, identity.account)
        }
        None => come_in(work, &provided, &rules, source, now).await?,
    };
    sqlx::query("UPDATE identities SET used_at = $1 WHERE id = $2")
        .bind(words::time(now))
        .bind(id.0)
        .execute(work.connection())
        .await?;
    Ok((id, account))
}

fn in_good_standing(work: &Work, account: AccountId, now: Timestamp) -> Result<Arc<Person>, IdentityError> {
    let person = work.draft.shared_person(account).ok_or(IdentityError::Unknown)?;
    if person.standing(now) == PersonStanding::Good { Ok(person) } else { Err(IdentityError::Over) }
}

async fn come_in(
    work: &mut Work,
    provided: &Provided,
    rules: &ProviderRules,
    source: IpAddr,
    now: Timestamp,
) -> Result<(IdentityId, AccountId), IdentityError> {
    let usual = rules.newcomers.role().ok_or(IdentityError::Unknown)?;
    let role = rules.role_of(provided).unwrap_or(usual);
    let name = free_name(work, provided).ok_or(IdentityError::Unknown)?;
    let new = NewPerson { name, title: provided.title.clone(), role, ends_at: None };
    let account = insert(work, new, now).await?;
    let person = in_good_standing(work, account, now)?;
    let id = put(work, account, provided, true, source, now).await?;
    follow(work, &person, provided, rules, now).await?;
    Ok((id, account))
}

/// Nobody's, and none that a policy or certificate says already: whoever got such a name would be let in as somebody else.
fn free_name(work: &Work, provided: &Provided) -> Option<Label> {
    let wished = provided.name.iter().chain(&provided.title).find_map(|name| Label::suggest(name));
    let wished = wished.or_else(|| Label::parse("person").ok())?;
    let numbered = (2..MOST_ALIKE).filter_map(|number| Label::suggest(&format!("{wished}-{number}")));
    let certified = |name: &Label| work.draft.ssh_certificates().any(|certificate| certificate.issued.person == *name);
    let is_free = |name: &Label| {
        work.draft.person_by_name(name).is_none() && !work.draft.is_name_in_policies(name) && !certified(name)
    };
    std::iter::once(wished.clone()).chain(numbered).find(is_free)
}

/// Of the groups and roles that the owner let the provider have a say in. Whoever was here before it is none of its business.
async fn follow(
    work: &mut Work,
    person: &Person,
    provided: &Provided,
    rules: &ProviderRules,
    now: Timestamp,
) -> Result<(), IdentityError> {
    for (name, is_in) in rules.groups_of(provided) {
        if person.is_in(&name) == is_in {
            continue;
        }
        let Some(group) = work.draft.group_by_name(&name).map(|group| group.id) else {
            tracing::warn!(group = %name, "a provider's rules name a group that there is not");
            continue;
        };
        let statement = if is_in {
            "INSERT INTO memberships (person_group, account) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM memberships WHERE person_group = $1 AND account = $2"
        };
        sqlx::query(statement).bind(group.0).bind(person.id.0).execute(work.connection()).await?;
        work.refresh_person(person.id).await?;
        let what = format!("{}: {}, by their provider", if is_in { "added" } else { "removed" }, person.name);
        work.write_down(Deed::GroupChanged, name.as_str(), &what, now).await?;
    }
    let Some(role) = rules.role_of(provided).filter(|role| *role != person.role) else { return Ok(()) };
    let edit = PersonEdit { role: Some(role), ..PersonEdit::default() };
    match people::change(work, person.id, edit, None, now).await {
        Ok(_) => Ok(()),
        // The last owner stays one, whatever a provider says.
        Err(EditError::Invalid(why)) => {
            tracing::warn!("a provider's role for somebody is not taken over: {why}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn link(
    work: &mut Work,
    account: AccountId,
    provided: Provided,
    source: IpAddr,
    now: Timestamp,
) -> Result<(), IdentityError> {
    in_good_standing(work, account, now)?;
    match find(work.connection(), &provided).await? {
        Some(identity) if identity.account == account => Ok(()),
        Some(_) => Err(IdentityError::Taken),
        None => put(work, account, &provided, false, source, now).await.map(drop),
    }
}

async fn put(
    work: &mut Work,
    account: AccountId,
    provided: &Provided,
    is_origin: bool,
    source: IpAddr,
    now: Timestamp,
) -> Result<IdentityId, IdentityError> {
    const INSERT: &str = "INSERT INTO identities (id, issuer, subject, account, is_origin, since, used_at) \
                          VALUES ($1, $2, $3, $4, $5, $6, $6)";
    let id = IdentityId(work.next_id("identity").await?);
    sqlx::query(INSERT)
        .bind(id.0)
        .bind(&provided.issuer)
        .bind(&provided.subject)
        .bind(account.0)
        .bind(i64::from(is_origin))
        .bind(words::time(now))
        .execute(work.connection())
        .await?;
    let name = work.draft.shared_person(account).map(|person| person.name.to_string()).unwrap_or_default();
    work.write_down_from(Deed::IdentityLinked, &name, &provided.issuer, source, now).await?;
    Ok(id)
}

async fn unlink(
    work: &mut Work,
    account: AccountId,
    id: IdentityId,
    source: IpAddr,
    now: Timestamp,
) -> Result<(), IdentityError> {
    const OTHERS: &str = "SELECT (SELECT COUNT(*) FROM person_passwords WHERE account = $1) \
                          + (SELECT COUNT(*) FROM passkeys WHERE account = $1) \
                          + (SELECT COUNT(*) FROM identities WHERE account = $1 AND id <> $2)";
    let Some(identity) = all_of(work.connection(), account).await?.into_iter().find(|identity| identity.id == id)
    else {
        return Ok(());
    };
    let others: i64 = sqlx::query_scalar(OTHERS).bind(account.0).bind(id.0).fetch_one(work.connection()).await?;
    if others == 0 {
        return Err(IdentityError::LastWay);
    }
    sqlx::query("DELETE FROM identities WHERE id = $1").bind(id.0).execute(work.connection()).await?;
    let name = work.draft.shared_person(account).map(|person| person.name.to_string()).unwrap_or_default();
    work.write_down_from(Deed::IdentityUnlinked, &name, &identity.issuer, source, now).await?;
    Ok(())
}

/// Whoever begins anew does so by what they have here.
pub(crate) async fn forget(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM identities WHERE account = $1").bind(account.0).execute(work.connection()).await?;
    Ok(())
}

/// Whether it is linked with this account still.
pub(crate) async fn is_of(readers: &SqlitePool, id: IdentityId, account: AccountId) -> Result<bool, StoreError> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM identities WHERE id = $1 AND account = $2");
    Ok(count.bind(id.0).bind(account.0).fetch_one(readers).await.map(|count: i64| count > 0)?)
}

async fn find(connection: &mut SqliteConnection, provided: &Provided) -> Result<Option<Identity>, StoreError> {
    let row = sqlx::query("SELECT * FROM identities WHERE issuer = $1 AND subject = $2");
    let row = row.bind(&provided.issuer).bind(&provided.subject).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn all_of(connection: &mut SqliteConnection, account: AccountId) -> Result<Vec<Identity>, StoreError> {
    let rows = sqlx::query("SELECT * FROM identities WHERE account = $1 ORDER BY id").bind(account.0);
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Identity, StoreError> {
    Ok(Identity {
        id: IdentityId(row.try_get("id")?),
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        account: AccountId(row.try_get("account")?),
        is_origin: row.try_get::<i64, _>("is_origin")? != 0,
        since: words::read_time(row.try_get("since")?)?,
        used_at: words::read_time(row.try_get("used_at")?)?,
    })
}
