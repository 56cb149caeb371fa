//! Lines before services that one person has at a time. Rows, so that a restart takes nobody's place; brought up to date in the
//! writer's seat before anybody is let in, and by the housekeeping.

use super::SessionError;
use super::opening::Consent;
use crate::Control;
use crate::snapshot::Snapshot;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::access::{Denied, Facts, LONGEST_LINE, Step, Waiting, settle};
use doorward_core::names::Label;
use doorward_core::service::Service;
use doorward_core::session::{Session, SessionRefusal, grant};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// Where somebody stands who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub service: ServiceId,
    /// 1 is the next.
    pub place: usize,
    /// Until when somebody has it at the longest, if somebody has.
    pub taken_until: Option<Timestamp>,
    /// Their turn has come, and is kept so long.
    pub offered_until: Option<Timestamp>,
}

/// Who has a service, and who waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub holder: Option<Session>,
    pub waiting: Vec<Waiting>,
}

pub(super) struct Entry {
    pub(super) consent: Option<Consent>,
}

const ROWS: &str = "SELECT id, account, offered_until FROM waiting WHERE service = $1 ORDER BY id";

impl Control {
    /// Of a service that one person has at a time.
    pub async fn line(&self, service: ServiceId, now: Timestamp) -> Result<Line, StoreError> {
        let snapshot = self.snapshot();
        let is_exclusive = snapshot.service(service).is_some_and(|service| service.policy.exclusive.is_some());
        if !is_exclusive {
            return Ok(Line::default());
        }
        let holder = snapshot.holder(service, now).and_then(|id| snapshot.session(id)).cloned();
        let rows = sqlx::query(ROWS).bind(service.0).fetch_all(self.0.store.readers()).await?;
        Ok(Line { holder, waiting: rows.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// `None`: they do not wait.
    pub async fn turn(&self, service: ServiceId, who: AccountId, now: Timestamp) -> Result<Option<Turn>, StoreError> {
        let line = self.line(service, now).await?;
        Ok(turn_in(service, &line.waiting, line.holder.as_ref(), who))
    }

    /// Somebody waits no longer. That they did not is fine.
    pub async fn leave_line(&self, service: ServiceId, who: AccountId, now: Timestamp) -> Result<(), SessionError> {
        self.write(move |work| {
            Box::pin(async move {
                leave(work, service, who).await?;
                if let Some(service) = work.draft.service(service) {
                    settle_line(work, &service, now).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Gives turns to those who come next. Writes only if somebody waits.
    pub(crate) async fn settle_lines(&self, now: Timestamp) -> Result<(), StoreError> {
        let lines: Vec<i64> =
            sqlx::query_scalar("SELECT DISTINCT service FROM waiting").fetch_all(self.0.store.readers()).await?;
        if lines.is_empty() {
            return Ok(());
        }
        self.write(move |work| {
            Box::pin(async move {
                for id in lines.into_iter().map(ServiceId) {
                    match work.draft.service(id) {
                        Some(service) => drop(settle_line(work, &service, now).await?),
                        None => forget(work, id).await?,
                    }
                }
                Ok(())
            })
        })
        .await
    }
}

fn turn_in(service: ServiceId, line: &[Waiting], holder: Option<&Session>, who: AccountId) -> Option<Turn> {
    let place = line.iter().position(|waiting| waiting.account == who)?;
    let taken_until = holder.map(|holder| holder.until);
    Some(Turn { service, place: place + 1, taken_until, offered_until: line[place].offered_until })
}

/// The line as it is at `now`.
pub(super) async fn settle_line(
    work: &mut Work,
    service: &Service,
    now: Timestamp,
) -> Result<Vec<Waiting>, StoreError> {
    let Some(exclusive) = &service.policy.exclusive else {
        forget(work, service.id).await?;
        return Ok(Vec::new());
    };
    let mut line = rows(work.connection(), service.id).await?;
    let is_free = work.draft.holder(service.id, now).is_none();
    let steps = settle(&line, is_free, exclusive.claim, |who| may_come(&work.draft, service, who, now), now);
    for step in steps {
        match step {
            Step::Drop(id) => {
                sqlx::query("DELETE FROM waiting WHERE id = $1").bind(id).execute(work.connection()).await?;
                line.retain(|waiting| waiting.id != id);
            }
            Step::Offer { id, until } => {
                offer(work, id, Some(until)).await?;
                for waiting in line.iter_mut().filter(|waiting| waiting.id == id) {
                    waiting.offered_until = Some(until);
                }
            }
            Step::TakeBack(id) => {
                offer(work, id, None).await?;
                line.iter_mut().filter(|waiting| waiting.id == id).for_each(|waiting| waiting.offered_until = None);
            }
        }
    }
    Ok(line)
}

async fn offer(work: &mut Work, id: i64, until: Option<Timestamp>) -> Result<(), StoreError> {
    sqlx::query("UPDATE waiting SET offered_until = $1 WHERE id = $2")
        .bind(until.map(words::time))
        .bind(id)
        .execute(work.connection())
        .await?;
    Ok(())
}

/// Whether there is any use in their waiting. What may be otherwise in a while, or with another login, is no reason to go.
fn may_come(draft: &Snapshot, service: &Service, account: AccountId, now: Timestamp) -> bool {
    let until = now.checked_add(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MAX);
    let approved_by = service.policy.approval.as_ref().map(|approval| approval.by.clone());
    let asked =
        Session { id: SessionId(0), service: service.id, account, opened_at: now, until, approved_by, version: 1 };
    match grant(service, &asked, &[], None, draft, now) {
        Ok(_) => true,
        Err(SessionRefusal::Denied(denied)) => match denied {
            Denied::InUse | Denied::NeedsMore(_) | Denied::BudgetSpent { .. } | Denied::NotOffered => true,
            Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::ShareOver
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::SessionNeeded
            | Denied::SessionOver
            | Denied::ApprovalNeeded
            | Denied::ReadOnly
            | Denied::Full => false,
        },
        Err(
            SessionRefusal::NotNeeded
            | SessionRefusal::NoTime
            | SessionRefusal::OthersWait
            | SessionRefusal::NoTakeOver,
        ) => false,
    }
}

/// Puts somebody at the end, unless they stand in the line already.
pub(super) async fn join(
    work: &mut Work,
    service: &Service,
    who: AccountId,
    consent: Option<&Consent>,
    now: Timestamp,
) -> Result<Turn, SessionError> {
    let mut line = rows(work.connection(), service.id).await?;
    if !line.iter().any(|waiting| waiting.account == who) {
        if line.len() >= LONGEST_LINE {
            return Err(SessionError::Invalid(format!("{LONGEST_LINE} wait for it already: come back later")));
        }
        let id = work.next_id("waiting").await?;
        sqlx::query(
            "INSERT INTO waiting (id, service, account, approved_by, approver, asked_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(service.id.0)
        .bind(who.0)
        .bind(consent.map(|consent| consent.group.as_str().to_owned()))
        .bind(consent.map(|consent| consent.approver.0))
        .bind(words::time(now))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
        line = settle_line(work, service, now).await?;
    }
    let holder = work.draft.holder(service.id, now).and_then(|id| work.draft.session(id));
    turn_in(service.id, &line, holder, who).ok_or_else(|| SessionError::Unknown("place in the line".into()))
}

pub(super) async fn entry(
    connection: &mut SqliteConnection,
    service: ServiceId,
    who: AccountId,
) -> Result<Option<Entry>, StoreError> {
    let row = sqlx::query("SELECT approved_by, approver FROM waiting WHERE service = $1 AND account = $2");
    let Some(row) = row.bind(service.0).bind(who.0).fetch_optional(connection).await? else { return Ok(None) };
    let group: Option<Label> = row.try_get::<Option<&str>, _>("approved_by")?.map(words::read_label).transpose()?;
    let approver = row.try_get::<Option<i64>, _>("approver")?.map(AccountId);
    Ok(Some(Entry { consent: group.zip(approver).map(|(group, approver)| Consent { group, approver }) }))
}

pub(super) async fn leave(work: &mut Work, service: ServiceId, who: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM waiting WHERE service = $1 AND account = $2")
        .bind(service.0)
        .bind(who.0)
        .execute(work.connection())
        .await?;
    Ok(())
}

async fn forget(work: &mut Work, service: ServiceId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM waiting WHERE service = $1").bind(service.0).execute(work.connection()).await?;
    Ok(())
}

async fn rows(connection: &mut SqliteConnection, service: ServiceId) -> Result<Vec<Waiting>, StoreError> {
    sqlx::query(ROWS).bind(service.0).fetch_all(connection).await?.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Waiting, StoreError> {
    Ok(Waiting {
        id: row.try_get("id")?,
        account: AccountId(row.try_get("account")?),
        offered_until: words::read_optional_time(row.try_get("offered_until")?)?,
    })
}
