//! Opening and extending. In the writer's seat, so that what was decided is still so when it is written.

use super::line::{self, Turn};
use super::{SessionError, SessionRequest, approval, end_quietly, ports, rows, sources, stored, write_down};
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::access::{Approval, Denied, Exclusive, Facts, Policy, Proof, is_turn_of};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::person::Person;
use doorward_core::service::Service;
use doorward_core::session::{Session, SessionEnd, SessionRefusal, grant};
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

/// What came of a wish for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Open(Session),
    /// Somebody else has it.
    InLine(Turn),
    /// Somebody must agree first.
    Asked(approval::ApprovalRequest),
}

impl Opening {
    /// For whoever cannot wait.
    pub fn at_once(self) -> Result<Session, SessionError> {
        match self {
            Self::Open(session) => Ok(session),
            Self::InLine(turn) => Err(SessionError::InLine(turn)),
            Self::Asked(request) => Err(SessionError::AwaitsApproval(Box::new(request))),
        }
    }
}

/// How somebody comes to a service that one person has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    InTurn,
    TakingOver,
}

/// That somebody of the policy's group agreed.
#[derive(Clone, Debug)]
pub(super) struct Consent {
    pub(super) group: Label,
    pub(super) approver: AccountId,
}

const MAX_OPEN_OF_ONE: usize = 100;
const MAX_REQUEST_ID: usize = 100;

pub(super) async fn open(
    work: &mut Work,
    request: SessionRequest,
    manner: Manner,
    consent: Option<Consent>,
    now: Timestamp,
) -> Result<Opening, SessionError> {
    if let Some(known) = known(work, &request).await? {
        return Ok(Opening::Open(known));
    }
    let id = request.id.clone();
    let opening = open_or_wait(work, request, manner, consent, now).await?;
    if let (Opening::Open(session), Some(id)) = (&opening, id) {
        rows::insert_request(work.connection(), session, &id, now).await?;
    }
    Ok(opening)
}

async fn open_or_wait(
    work: &mut Work,
    request: SessionRequest,
    manner: Manner,
    consent: Option<Consent>,
    now: Timestamp,
) -> Result<Opening, SessionError> {
    let (person, service) = both(work, request.account, request.service)?;
    let policy = service.policy.clone();
    if let Some(held) = standing(work, &person, &service, now).await? {
        return again(work, &held, &request, consent, now).await;
    }
    if work.draft.sessions_of(person.id).filter(|session| now < session.until).count() >= MAX_OPEN_OF_ONE {
        return Err(SessionError::Invalid(format!("one person has {MAX_OPEN_OF_ONE} open sessions at most")));
    }
    let waited = line::entry(work.connection(), service.id, person.id).await?;
    let consent = consent.or_else(|| waited.and_then(|waited| waited.consent)).filter(|c| counts(c, &policy));
    let asked = asked(&request, consent.as_ref(), now);
    let is_free = would_grant(work, &service, &asked, &request, consent.is_some(), now)?;
    if let (Some(approval), None) = (&policy.approval, &consent) {
        return approval::ask(work, &request, approval, now).await.map(Opening::Asked);
    }
    if let Some(exclusive) = &policy.exclusive {
        match manner {
            Manner::InTurn => {
                let line = line::settle_line(work, &service, now).await?;
                if !is_turn_of(person.id, &line, is_free) {
                    return line::join(work, &service, person.id, consent.as_ref(), now).await.map(Opening::InLine);
                }
            }
            Manner::TakingOver => take_over(work, &service, exclusive, &person, now).await?,
        }
        line::leave(work, service.id, person.id).await?;
    }
    let asked = Session { id: SessionId(work.next_id("session").await?), ..asked };
    let session = granted(work, &service, &asked, &request, consent.is_some(), now)?;
    rows::insert(work.connection(), &session, consent.as_ref(), now).await?;
    work.refresh_session(session.id).await?;
    let_approach(work, &session, request.source, now).await?;
    write_down(work, Deed::SessionOpened, &session, request.source, now).await?;
    if manner == Manner::TakingOver {
        line::settle_line(work, &service, now).await?;
    }
    Ok(Opening::Open(stored(work, session.id)))
}

async fn known(work: &mut Work, request: &SessionRequest) -> Result<Option<Session>, SessionError> {
    let Some(id) = &request.id else { return Ok(None) };
    if id.is_empty() || id.len() > MAX_REQUEST_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SessionError::Invalid("a request's id is 1 to 100 characters of ASCII without blanks".into()));
    }
    Ok(rows::of_request(work.connection(), request.account, request.service, id).await?)
}

/// Their session, if it is one still. What is in the way of another one is written down as over.
async fn standing(
    work: &mut Work,
    person: &Person,
    service: &Service,
    now: Timestamp,
) -> Result<Option<Session>, StoreError> {
    let Some(held) = work.draft.session_for(person.id, service.id).cloned() else { return Ok(None) };
    if held.until <= now {
        end_quietly(work, held.id, SessionEnd::Time, held.until).await?;
        return Ok(None);
    }
    let is_shut_out = service.policy.exclusive.is_some() && work.draft.holder(service.id, now) != Some(held.id);
    if is_shut_out {
        end_quietly(work, held.id, SessionEnd::Gone, now).await?;
        return Ok(None);
    }
    Ok(Some(held).map(|held| Session::clone(&held)))
}

/// Whoever has one already has it for longer, as far as that needs nobody else.
async fn again(
    work: &mut Work,
    held: &Session,
    request: &SessionRequest,
    consent: Option<Consent>,
    now: Timestamp,
) -> Result<Opening, SessionError> {
    let (_, service) = both(work, held.account, held.service)?;
    if let (Some(approval), None) = (&service.policy.approval, &consent) {
        let is_enough = after(now, request.length) <= held.until && held.approved_by.as_ref() == Some(&approval.by);
        if !is_enough {
            return approval::ask(work, request, approval, now).await.map(Opening::Asked);
        }
    }
    match lengthen(work, held, request.length, &request.proofs, request.source, consent, now).await {
        // What they have stays theirs.
        Err(SessionError::Refused(SessionRefusal::OthersWait)) => Ok(Opening::Open(held.clone())),
        lengthened => lengthened.map(Opening::Open),
    }
}

/// Its number is given to it when it is opened.
fn asked(request: &SessionRequest, consent: Option<&Consent>, now: Timestamp) -> Session {
    Session {
        id: SessionId(0),
        service: request.service,
        account: request.account,
        opened_at: now,
        until: after(now, request.length),
        approved_by: consent.map(|consent| consent.group.clone()),
        version: 1,
    }
}

/// Whether it would be theirs at once, were everybody agreed.
fn would_grant(
    work: &Work,
    service: &Service,
    asked: &Session,
    request: &SessionRequest,
    is_agreed: bool,
    now: Timestamp,
) -> Result<bool, SessionError> {
    let by = service.policy.approval.as_ref().map(|approval| approval.by.clone());
    let agreed = Session { approved_by: by, ..asked.clone() };
    match granted(work, service, &agreed, request, is_agreed, now) {
        Ok(_) => Ok(true),
        Err(SessionRefusal::Denied(Denied::InUse)) => Ok(false),
        Err(refusal) => Err(refusal.into()),
    }
}

/// What the login needs was seen when consent was asked for, and is looked at with each visit.
fn granted(
    work: &Work,
    service: &Service,
    asked: &Session,
    request: &SessionRequest,
    is_agreed: bool,
    now: Timestamp,
) -> Result<Session, SessionRefusal> {
    if !is_agreed {
        return grant(service, asked, &request.proofs, request.source, &work.draft, now);
    }
    let policy = Policy { needs: Vec::new(), ..Policy::clone(&service.policy) };
    let service = Service { policy: Arc::new(policy), ..service.clone() };
    grant(&service, asked, &request.proofs, request.source, &work.draft, now)
}

/// A policy that asks somebody else now has not had its consent.
fn counts(consent: &Consent, policy: &Policy) -> bool {
    policy.approval.as_ref().is_none_or(|Approval { by, .. }| *by == consent.group)
}

async fn take_over(
    work: &mut Work,
    service: &Service,
    exclusive: &Exclusive,
    person: &Person,
    now: Timestamp,
) -> Result<(), SessionError> {
    if !exclusive.may_take_over(person, now) {
        return Err(SessionRefusal::NoTakeOver.into());
    }
    while let Some(id) = work.draft.holder(service.id, now) {
        end_quietly(work, id, SessionEnd::TakenOver, now).await?;
        sqlx::query("UPDATE sessions SET taken_by = $1 WHERE id = $2")
            .bind(person.id.0)
            .bind(id.0)
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
        let detail = format!("session {id}, by {}", person.name);
        work.write_down(Deed::SessionTakenOver, &service.path(), &detail, now).await?;
    }
    Ok(())
}

pub(super) async fn extend(
    work: &mut Work,
    id: SessionId,
    length: SignedDuration,
    source: Option<IpAddr>,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Opening, SessionError> {
    let held = work.draft.session(id).filter(|session| now < session.until).cloned();
    let held = held.ok_or_else(|| SessionError::Unknown(format!("session {id} that is open")))?;
    if version.is_some_and(|seen| seen != held.version) {
        return Err(SessionError::Stale { current: held.version });
    }
    let (_, service) = both(work, held.account, held.service)?;
    if let Some(approval) = &service.policy.approval {
        let (account, service) = (held.account, held.service);
        let request = SessionRequest { account, service, length, source, id: None, proofs: Vec::new() };
        return approval::ask(work, &request, approval, now).await.map(Opening::Asked);
    }
    lengthen(work, &held, length, &[], source, None, now).await.map(Opening::Open)
}

async fn lengthen(
    work: &mut Work,
    held: &Session,
    length: SignedDuration,
    proofs: &[Proof],
    source: Option<IpAddr>,
    consent: Option<Consent>,
    now: Timestamp,
) -> Result<Session, SessionError> {
    let (person, service) = both(work, held.account, held.service)?;
    let approved_by = consent.as_ref().map(|consent| consent.group.clone()).or_else(|| held.approved_by.clone());
    let asked = Session { until: after(now, length), approved_by, ..held.clone() };
    let request =
        SessionRequest { account: person.id, service: service.id, length, source, id: None, proofs: proofs.to_vec() };
    let session = granted(work, &service, &asked, &request, consent.is_some(), now)?;
    let_approach(work, held, source, now).await?;
    if session.until <= held.until && session.approved_by == held.approved_by {
        return Ok(held.clone());
    }
    if let Some(exclusive) = &service.policy.exclusive
        && !exclusive.may_take_over(&person, now)
        && !line::settle_line(work, &service, now).await?.is_empty()
    {
        return Err(SessionRefusal::OthersWait.into());
    }
    let until = session.until.max(held.until);
    sqlx::query(
        "UPDATE sessions SET until = $1, used_at = $2, approved_by = $3, approver = COALESCE($4, approver), \
         version = version + 1 WHERE id = $5",
    )
    .bind(words::time(until))
    .bind(words::time(now))
    .bind(session.approved_by.as_ref().map(Label::as_str))
    .bind(consent.map(|consent| consent.approver.0))
    .bind(held.id.0)
    .execute(work.connection())
    .await
    .map_err(StoreError::from)?;
    work.refresh_session(held.id).await?;
    work.shared.uses.note(held.id, now);
    write_down(work, Deed::SessionExtended, &Session { until, ..session }, source, now).await?;
    Ok(stored(work, held.id))
}

/// From where its person comes, and to which port.
async fn let_approach(
    work: &mut Work,
    session: &Session,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_noted = sources::note(work, session.id, from).await?;
    if ports::give(work, session, now).await? || is_noted {
        work.refresh_session(session.id).await?;
    }
    Ok(())
}

pub(super) fn both(
    work: &Work,
    account: AccountId,
    service: ServiceId,
) -> Result<(Arc<Person>, Arc<Service>), SessionError> {
    let person = work.draft.shared_person(account);
    let person = person.ok_or_else(|| SessionError::Unknown(format!("person number {account}")))?;
    let service = work.draft.service(service);
    Ok((person, service.ok_or_else(|| SessionError::Unknown("such service".into()))?))
}

/// What nobody can wait for is as long as there are times.
fn after(now: Timestamp, length: SignedDuration) -> Timestamp {
    now.checked_add(length).unwrap_or(Timestamp::MAX)
}
