//! Requests that somebody consent to a session. Answering one is a decision by the right that the answerer has at that moment;
//! what was asked under another policy is withdrawn.

use super::opening::{Consent, Manner, Opening, open};
use super::{SessionError, SessionRequest};
use crate::Control;
use crate::snapshot::{ServiceRecord, Snapshot};
use crate::store::{StoreError, words};
use crate::work::Work;
use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::access::{Approval, Facts};
use doorward_core::audit::Deed;
use doorward_core::notice::Notice;
use doorward_core::{AccountId, ApprovalId, Secret, ServiceId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::net::IpAddr;

/// One that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRequest {
    pub id: ApprovalId,
    pub service: ServiceId,
    /// Who asked.
    pub account: AccountId,
    pub length: SignedDuration,
    pub asked_at: Timestamp,
    pub until: Timestamp,
    /// The policy that it was made under.
    access: String,
}

#[derive(Clone, Copy)]
enum Ending {
    Approved,
    Refused,
    Withdrawn,
    Time,
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Time => "time",
        }
    }

    fn deed(self) -> Option<Deed> {
        match self {
            Self::Approved => Some(Deed::ApprovalGiven),
            Self::Refused => Some(Deed::ApprovalRefused),
            Self::Withdrawn => Some(Deed::ApprovalWithdrawn),
            Self::Time => None,
        }
    }
}

/// Of one person. Each asks for one service once.
const MOST_OF_ONE: i64 = 20;
const TOKEN_BYTES: usize = 24;
const SHORTEST_TOKEN: usize = 20;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, service, account, length_ms, access, asked_at, until FROM approvals WHERE ended_at IS NULL",
            $condition
        )
    };
}

impl Control {
    /// Those that can still be answered, the oldest first.
    pub async fn approval_requests(&self, now: Timestamp) -> Result<Vec<ApprovalRequest>, StoreError> {
        let rows = sqlx::query(select!(" ORDER BY id")).fetch_all(self.0.store.readers()).await?;
        let snapshot = self.snapshot();
        let requests = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(requests.into_iter().filter(|request| request.stands(&snapshot, now).is_some()).collect())
    }

    /// `approver` says yes, which opens the session or gives its asker a place in the line, or no.
    pub async fn answer_request(
        &self,
        id: ApprovalId,
        approver: AccountId,
        is_yes: bool,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Opening>, SessionError> {
        let answered = self.write(move |work| Box::pin(answer(work, id, approver, is_yes, source, now))).await;
        if let Err(SessionError::NoVoice(_)) = &answered {
            self.refused(Deed::ApprovalRefused, source, None, "no-voice", now);
        }
        // What stood in the way of the asker took the request with it.
        answered?
    }

    /// By whoever asked.
    pub async fn withdraw_request(&self, id: ApprovalId, asker: AccountId, now: Timestamp) -> Result<(), SessionError> {
        self.write(move |work| {
            Box::pin(async move {
                let request = one(work.connection(), id).await?.filter(|request| request.account == asker);
                let request = request.ok_or_else(|| unknown(id))?;
                Ok(finish(work, &request, Ending::Withdrawn, None, now).await?)
            })
        })
        .await
    }

    /// A word that answers this one request in the name of this one person, as long as both count.
    pub async fn approval_token(
        &self,
        id: ApprovalId,
        approver: AccountId,
        now: Timestamp,
    ) -> Result<Secret<String>, SessionError> {
        let mut bytes = [0; TOKEN_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
        let token = data_encoding::BASE64URL_NOPAD.encode(&bytes);
        let resting = resting(&token);
        self.write(move |work| {
            Box::pin(async move {
                let (request, approval) = standing(work, id, now).await?;
                hear(work, &approval, &request, approver, now)?;
                sqlx::query("INSERT INTO approval_links (digest, approval, approver) VALUES ($1, $2, $3)")
                    .bind(resting)
                    .bind(id.0)
                    .bind(approver.0)
                    .execute(work.connection())
                    .await
                    .map_err(StoreError::from)?;
                Ok::<_, SessionError>(())
            })
        })
        .await?;
        Ok(Secret::new(token))
    }

    /// What such a word answers, and in whose name. Looking changes nothing.
    pub async fn request_by_token(
        &self,
        token: &Secret<String>,
        now: Timestamp,
    ) -> Result<(ApprovalRequest, AccountId), SessionError> {
        let nothing = || SessionError::Unknown("request that this link answers".into());
        if token.expose().len() < SHORTEST_TOKEN {
            return Err(nothing());
        }
        let row = sqlx::query("SELECT approval, approver FROM approval_links WHERE digest = $1");
        let row = row.bind(resting(token.expose())).fetch_optional(self.0.store.readers()).await;
        let row = row.map_err(StoreError::from)?.ok_or_else(nothing)?;
        let id = ApprovalId(row.try_get("approval").map_err(StoreError::from)?);
        let approver = AccountId(row.try_get("approver").map_err(StoreError::from)?);
        let request = self.approval_requests(now).await?.into_iter().find(|request| request.id == id);
        Ok((request.ok_or_else(nothing)?, approver))
    }

    pub async fn answer_by_token(
        &self,
        token: &Secret<String>,
        is_yes: bool,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Opening>, SessionError> {
        let (request, approver) = self.request_by_token(token, now).await?;
        self.answer_request(request.id, approver, is_yes, source, now).await
    }

    /// Writes down which requests are over. Writes only if there is one.
    pub(crate) async fn end_lapsed_requests(&self, now: Timestamp) -> Result<(), StoreError> {
        let rows = sqlx::query(select!("")).fetch_all(self.0.store.readers()).await?;
        let snapshot = self.snapshot();
        let requests = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if requests.iter().all(|request| request.stands(&snapshot, now).is_some()) {
            return Ok(());
        }
        self.write(move |work| {
            Box::pin(async move {
                for request in all(work.connection()).await? {
                    if request.until <= now {
                        finish(work, &request, Ending::Time, None, request.until).await?;
                    } else if request.stands(&work.draft, now).is_none() {
                        finish(work, &request, Ending::Withdrawn, None, now).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }
}

impl ApprovalRequest {
    /// Whose consent it waits for, if it is one still: in time, and under the policy that it was made under.
    pub fn stands(&self, snapshot: &Snapshot, now: Timestamp) -> Option<Approval> {
        let record = snapshot.service_record(self.service).filter(|record| written(record) == self.access)?;
        snapshot.person(self.account)?;
        record.service.policy.approval.clone().filter(|_| now < self.until)
    }
}

fn written(record: &ServiceRecord) -> String {
    serde_json::to_string(&record.access).expect("a policy document can be written as JSON")
}

fn resting(token: &str) -> String {
    words::hex(digest(&SHA256, token.as_bytes()).as_ref())
}

fn unknown(id: ApprovalId) -> SessionError {
    SessionError::Unknown(format!("request {id} that waits for an answer"))
}

/// One for each person and service; asked again, it is the same.
pub(super) async fn ask(
    work: &mut Work,
    wish: &SessionRequest,
    approval: &Approval,
    now: Timestamp,
) -> Result<ApprovalRequest, SessionError> {
    let (account, service) = (wish.account, wish.service);
    let known = all(work.connection()).await?.into_iter().find(|r| r.account == account && r.service == service);
    if let Some(known) = known {
        if known.stands(&work.draft, now).is_some() && known.length == wish.length {
            return Ok(known);
        }
        let ending = if known.until <= now { Ending::Time } else { Ending::Withdrawn };
        finish(work, &known, ending, None, now).await?;
    }
    let open: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM approvals WHERE account = $1 AND ended_at IS NULL")
        .bind(account.0)
        .fetch_one(work.connection())
        .await
        .map_err(StoreError::from)?;
    if open >= MOST_OF_ONE {
        return Err(SessionError::Invalid(format!("one person has {MOST_OF_ONE} requests at most that wait")));
    }
    let record = work.draft.service_record(service).ok_or_else(|| SessionError::Unknown("such service".into()))?;
    let request = ApprovalRequest {
        id: ApprovalId(work.next_id("approval").await?),
        service,
        account,
        length: wish.length,
        asked_at: now,
        until: now.checked_add(approval.within).unwrap_or(Timestamp::MAX),
        access: written(&record),
    };
    insert(work.connection(), &request).await?;
    write_down(work, Deed::ApprovalAsked, &request, None, wish.source, now).await?;
    let link = work.draft.site().portal_url().map(|url| format!("{url}approvals"));
    let person = work.draft.person(wish.account).map(|person| person.name.to_string()).unwrap_or_default();
    work.alert(Notice::ApprovalWanted { person, service: record.service.path(), link }, now);
    one(work.connection(), request.id).await?.ok_or_else(|| unknown(request.id))
}

/// The inner error is about the asker, and is written down; the outer one leaves everything as it was.
async fn answer(
    work: &mut Work,
    id: ApprovalId,
    approver: AccountId,
    is_yes: bool,
    source: Option<IpAddr>,
    now: Timestamp,
) -> Result<Result<Option<Opening>, SessionError>, SessionError> {
    let (request, approval) = standing(work, id, now).await?;
    hear(work, &approval, &request, approver, now)?;
    if !is_yes {
        finish(work, &request, Ending::Refused, Some((approver, source)), now).await?;
        return Ok(Ok(None));
    }
    let ApprovalRequest { account, service, length, .. } = request;
    let wish = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
    let consent = Consent { group: approval.by, approver };
    match open(work, wish, Manner::InTurn, Some(consent), now).await {
        Ok(opening) => {
            finish(work, &request, Ending::Approved, Some((approver, source)), now).await?;
            Ok(Ok(Some(opening)))
        }
        Err(SessionError::Store(error)) => Err(error.into()),
        Err(refused) => {
            finish(work, &request, Ending::Withdrawn, None, now).await?;
            Ok(Err(refused))
        }
    }
}

async fn standing(
    work: &mut Work,
    id: ApprovalId,
    now: Timestamp,
) -> Result<(ApprovalRequest, Approval), SessionError> {
    let request = one(work.connection(), id).await?.ok_or_else(|| unknown(id))?;
    let approval = request.stands(&work.draft, now).ok_or_else(|| unknown(id))?;
    Ok((request, approval))
}

fn hear(
    work: &Work,
    approval: &Approval,
    request: &ApprovalRequest,
    approver: AccountId,
    now: Timestamp,
) -> Result<(), SessionError> {
    let person = work.draft.person(approver);
    let person = person.ok_or_else(|| SessionError::Unknown(format!("person number {approver}")))?;
    Ok(approval.hears(person, request.account, now)?)
}

async fn finish(
    work: &mut Work,
    request: &ApprovalRequest,
    ending: Ending,
    by: Option<(AccountId, Option<IpAddr>)>,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE approvals SET ended_at = $1, ending = $2, approver = $3 WHERE id = $4 AND ended_at IS NULL")
        .bind(words::time(at))
        .bind(ending.word())
        .bind(by.map(|(approver, _)| approver.0))
        .bind(request.id.0)
        .execute(work.connection())
        .await?;
    sqlx::query("DELETE FROM approval_links WHERE approval = $1").bind(request.id.0).execute(work.connection()).await?;
    let Some(deed) = ending.deed() else { return Ok(()) };
    write_down(work, deed, request, by.map(|(approver, _)| approver), by.and_then(|(_, source)| source), at).await
}

async fn write_down(
    work: &mut Work,
    deed: Deed,
    request: &ApprovalRequest,
    approver: Option<AccountId>,
    source: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let name = |id| work.draft.shared_person(id).map_or_else(String::new, |person| person.name.to_string());
    let by = approver.map(|approver| format!(", by {}", name(approver))).unwrap_or_default();
    let detail = format!("request {} of {}{by}", request.id, name(request.account));
    let subject = work.draft.service(request.service).map_or_else(|| request.service.to_string(), |s| s.path());
    match source {
        Some(source) => work.write_down_from(deed, &subject, &detail, source, now).await,
        None => work.write_down(deed, &subject, &detail, now).await,
    }
}

async fn insert(connection: &mut SqliteConnection, request: &ApprovalRequest) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO approvals (id, service, account, length_ms, access, asked_at, until) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(INSERT)
        .bind(request.id.0)
        .bind(request.service.0)
        .bind(request.account.0)
        .bind(i64::try_from(request.length.as_millis()).unwrap_or(i64::MAX))
        .bind(&request.access)
        .bind(words::time(request.asked_at))
        .bind(words::time(request.until))
        .execute(connection)
        .await?;
    Ok(())
}

async fn all(connection: &mut SqliteConnection) -> Result<Vec<ApprovalRequest>, StoreError> {
    sqlx::query(select!(" ORDER BY id")).fetch_all(connection).await?.iter().map(read).collect()
}

async fn one(connection: &mut SqliteConnection, id: ApprovalId) -> Result<Option<ApprovalRequest>, StoreError> {
    let row = sqlx::query(select!(" AND id = $1")).bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<ApprovalRequest, StoreError> {
    Ok(ApprovalRequest {
        id: ApprovalId(row.try_get("id")?),
        service: ServiceId(row.try_get("service")?),
        account: AccountId(row.try_get("account")?),
        length: SignedDuration::from_millis(row.try_get("length_ms")?),
        asked_at: words::read_time(row.try_get("asked_at")?)?,
        until: words::read_time(row.try_get("until")?)?,
        access: row.try_get("access")?,
    })
}

/// What was answered is history, and not kept for ever.
pub(crate) async fn forget_old(work: &mut Work, kept: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM approvals WHERE ended_at < $1").bind(words::time(kept)).execute(work.connection()).await?;
    Ok(())
}
