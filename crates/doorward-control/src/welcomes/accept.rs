//! Using a welcome: the account and its password are made in the transaction that takes one use of it.

use super::{Welcome, WelcomeKind, rows};
use crate::accounts::OWNER;
use crate::sign_in::{Proven, passkeys, passwords, totp};
use crate::store::{ChangeError, StoreError, words};
use crate::work::Work;
use crate::{Control, CredentialError, EditError, NewPerson, identities, logins, people, sessions};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::person::factors::{Factor, Factors};
use doorward_core::person::{Person, PersonStanding, Role};
use doorward_core::{AccountId, Secret};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// What somebody answers to a welcome.
#[derive(Clone, Debug)]
pub struct Answer {
    /// By which they sign in. An account's own welcome asks for none.
    pub name: Option<Label>,
    pub title: Option<String>,
    pub password: Secret<String>,
    pub source: IpAddr,
}

/// Somebody who can sign in, and just has.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub person: Arc<Person>,
    pub proven: Proven,
}

#[derive(Debug, Error)]
pub enum WelcomeError {
    #[error("this link leads nowhere: it was cut off when it was copied, or is too old to be known")]
    Unknown,
    #[error("this link was used already")]
    Used,
    #[error("this link is over")]
    Expired,
    #[error("this link was taken back")]
    Revoked,
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl WelcomeError {
    fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Credential(_) | Self::Edit(_) => "answer",
        }
    }
}

impl From<StoreError> for WelcomeError {
    fn from(error: StoreError) -> Self {
        Self::Edit(error.into())
    }
}

impl ChangeError for WelcomeError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Edit(error) => error.of_store(),
            Self::Credential(error) => error.of_store(),
            Self::Unknown | Self::Used | Self::Expired | Self::Revoked => None,
        }
    }
}

impl Control {
    /// What a link is for, and whose. Looking changes nothing.
    pub async fn look_at_welcome(
        &self,
        secret: &Secret<String>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(Welcome, Option<Arc<Person>>), WelcomeError> {
        let looked = async {
            let mut connection = self.0.store.readers().acquire().await.map_err(StoreError::from)?;
            let welcome = usable(rows::find(&mut connection, secret).await?, now)?;
            let account = match welcome.kind {
                WelcomeKind::First => Some(OWNER),
                WelcomeKind::Own(account) => Some(account),
                WelcomeKind::Invitation => None,
            };
            let person = account.and_then(|account| self.snapshot().shared_person(account));
            Ok((welcome, person))
        };
        looked.await.inspect_err(|error: &WelcomeError| self.note(error, source, now))
    }

    /// One use of it. Whoever was locked out gets in by a new password alone: what else they had proved counts no more.
    pub async fn accept_welcome(
        &self,
        secret: &Secret<String>,
        answer: Answer,
        now: Timestamp,
    ) -> Result<Accepted, WelcomeError> {
        let (_, person) = self.look_at_welcome(secret, answer.source, now).await?;
        let name = answer.name.as_ref().or(person.as_ref().map(|person| &person.name)).map_or("", Label::as_str);
        let title = answer.title.as_deref().or(person.as_ref().map(|person| person.title.as_str())).unwrap_or_default();
        let phc = self.hash_new(&answer.password, &[name, title]).await?;
        let (secret, source) = (secret.clone(), answer.source);
        let accepted = self.write(move |work| Box::pin(accept(work, secret, answer, phc, now))).await;
        accepted.inspect_err(|error| self.note(error, source, now))
    }

    fn note(&self, error: &WelcomeError, source: IpAddr, now: Timestamp) {
        match error {
            WelcomeError::Unknown | WelcomeError::Used | WelcomeError::Expired | WelcomeError::Revoked => {
                self.refused(Deed::WelcomeRefused, Some(source), None, error.word(), now);
            }
            WelcomeError::Credential(_) | WelcomeError::Edit(_) => {}
        }
    }
}

fn usable(found: Option<Welcome>, now: Timestamp) -> Result<Welcome, WelcomeError> {
    let welcome = found.ok_or(WelcomeError::Unknown)?;
    if welcome.revoked_at.is_some() {
        return Err(WelcomeError::Revoked);
    }
    if welcome.uses_left == 0 {
        return Err(WelcomeError::Used);
    }
    if welcome.is_usable(now) { Ok(welcome) } else { Err(WelcomeError::Expired) }
}

async fn accept(
    work: &mut Work,
    secret: Secret<String>,
    answer: Answer,
    phc: String,
    now: Timestamp,
) -> Result<Accepted, WelcomeError> {
    let welcome = usable(rows::find(work.connection(), &secret).await?, now)?;
    if !rows::take_one(work.connection(), welcome.id).await? {
        return Err(WelcomeError::Used);
    }
    let account = match welcome.kind {
        WelcomeKind::First => become_first(work, &answer, now).await?,
        WelcomeKind::Own(account) => begin_anew(work, account, now).await?,
        WelcomeKind::Invitation => come_in(work, &welcome, &answer, now).await?,
    };
    passwords::put(work, account, &phc, now).await?;
    let person = work.draft.shared_person(account).ok_or(WelcomeError::Unknown)?;
    if person.standing(now) != PersonStanding::Good {
        return Err(WelcomeError::Expired);
    }
    let how = match welcome.kind {
        WelcomeKind::First => "the first owner".to_owned(),
        WelcomeKind::Own(_) => "a new password".to_owned(),
        WelcomeKind::Invitation => format!("invitation {}", welcome.id),
    };
    work.write_down_from(Deed::WelcomeUsed, person.name.as_str(), &how, answer.source, now).await?;
    let factors = Factors::from(Factor::Password).with(Factor::Welcome);
    Ok(Accepted { person, proven: Proven::by(account, factors) })
}

/// Once. The first account has been there all the time, in the name of `owner`.
async fn become_first(work: &mut Work, answer: &Answer, now: Timestamp) -> Result<AccountId, WelcomeError> {
    if rows::is_set_up(work.connection()).await? {
        return Err(WelcomeError::Used);
    }
    sqlx::query("INSERT INTO setup (done_at) VALUES ($1)")
        .bind(words::time(now))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    rows::forget_firsts(work.connection()).await?;
    let owner = work.draft.shared_person(OWNER).ok_or(WelcomeError::Unknown)?;
    let name = answer.name.clone().unwrap_or_else(|| owner.name.clone());
    if name != owner.name {
        rename_first(work, &owner, &name).await?;
    }
    let title = answer.title.as_deref().map(crate::enrol::title).filter(|title| !title.is_empty());
    sqlx::query("UPDATE accounts SET title = $1, version = version + 1 WHERE id = $2")
        .bind(title.unwrap_or_else(|| name.to_string()))
        .bind(OWNER.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_person(OWNER).await?;
    Ok(OWNER)
}

/// Names are for ever, since policies and certificates say them: another one is chosen only while nothing has said this one.
async fn rename_first(work: &mut Work, owner: &Person, name: &Label) -> Result<(), WelcomeError> {
    if work.draft.person_by_name(name).is_some() {
        return Err(EditError::Taken(format!("there is a person \"{name}\" already")).into());
    }
    let says = |people: &[String]| people.iter().any(|said| said == owner.name.as_str());
    let mut services = work.draft.services();
    let is_said = services.any(|record| says(&record.access.people) || says(&record.offered_access.people));
    drop(services);
    let certificates: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ssh_certificates WHERE person = $1")
        .bind(owner.name.as_str())
        .fetch_one(work.connection())
        .await
        .map_err(StoreError::from)?;
    if is_said || certificates > 0 {
        let why = format!("policies or certificates name \"{}\" already: keep that name", owner.name);
        return Err(EditError::Invalid(why).into());
    }
    sqlx::query("UPDATE accounts SET name = $1 WHERE id = $2")
        .bind(name.as_str())
        .bind(owner.id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    Ok(())
}

async fn begin_anew(work: &mut Work, account: AccountId, now: Timestamp) -> Result<AccountId, WelcomeError> {
    totp::forget(work, account).await?;
    passkeys::forget(work, account).await?;
    identities::forget(work, account).await?;
    logins::end_all_of(work, account, None, now).await?;
    sessions::end_all_of(work, account, now).await?;
    Ok(account)
}

async fn come_in(
    work: &mut Work,
    welcome: &Welcome,
    answer: &Answer,
    now: Timestamp,
) -> Result<AccountId, WelcomeError> {
    let name = answer.name.clone().ok_or_else(|| EditError::Invalid("a name is needed".into()))?;
    if work.draft.person_by_name(&name).is_some() {
        return Err(EditError::Taken(format!("there is a person \"{name}\" already")).into());
    }
    // Whoever takes such a name would be let in by a policy that means somebody else.
    if work.draft.is_name_in_policies(&name) {
        return Err(EditError::Taken(format!("\"{name}\" is somebody whom a policy names already")).into());
    }
    let ends_at = welcome.account_ends_at;
    let new = NewPerson { name, title: answer.title.clone(), role: welcome.role, ends_at };
    Ok(enter(work, new, &welcome.groups, welcome.id.0, now).await?)
}

/// Somebody new, with their groups.
pub(super) async fn enter(
    work: &mut Work,
    new: NewPerson,
    groups: &[Label],
    came_by: i64,
    now: Timestamp,
) -> Result<AccountId, EditError> {
    let does_end = new.ends_at.is_some() && new.role != Role::Owner;
    let account = people::insert(work, new, now).await?;
    for name in groups {
        let group = work.draft.group_by_name(name).map(|group| group.id);
        let group = group.ok_or_else(|| EditError::Unknown(format!("group \"{name}\"")))?;
        sqlx::query("INSERT INTO memberships (person_group, account) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(group.0)
            .bind(account.0)
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
    }
    if does_end {
        sqlx::query("UPDATE accounts SET came_by = $1 WHERE id = $2")
            .bind(came_by)
            .bind(account.0)
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
    }
    work.refresh_person(account).await?;
    Ok(account)
}
