//! API tokens: logins of programs. They may do less than their person, end like every login, and are shown once.

use super::{LoginRequest, NewLogin, begin};
use crate::snapshot::Snapshot;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::access::Facts;
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::login::{Login, LoginKind};
use doorward_core::person::factors::Factors;
use doorward_core::{AccountId, LoginId, Secret, ServiceId};
use jiff::{SignedDuration, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::net::IpAddr;

#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub account: AccountId,
    /// What it is for, as people read it.
    pub title: String,
    pub limits: TokenLimits,
    pub length: SignedDuration,
    pub source: Option<IpAddr>,
}

/// A token for people: what it is, never the token itself.
#[derive(Clone, Debug)]
pub struct TokenSummary {
    pub login: Login,
    pub limits: TokenLimits,
    pub seen_at: Timestamp,
}

const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Control {
    pub async fn make_token(&self, request: TokenRequest, now: Timestamp) -> Result<NewLogin, EditError> {
        if request.length > LONGEST {
            return Err(EditError::Invalid("a token lasts a year at most: say how long, as 90d".into()));
        }
        if request.title.trim().is_empty() {
            return Err(EditError::Invalid("say what the token is for".into()));
        }
        let names_services = request.limits.services.as_ref().is_some_and(|services| !services.is_empty());
        if request.limits.scope == Scope::Visit && !names_services {
            return Err(EditError::Invalid("a token for visiting is for certain services: name them".into()));
        }
        self.write(move |work| Box::pin(make(work, request, now))).await
    }

    /// The newest first. `of`: whose; `None`: everybody's.
    pub fn tokens(&self, of: Option<AccountId>, now: Timestamp) -> Vec<TokenSummary> {
        let snapshot = self.snapshot();
        let is_wanted = |login: &&Login| login.kind == LoginKind::Token && login.counts(now);
        let summary = |login: &Login| {
            let seen_at = self.0.seen.last(login.id).unwrap_or(login.since);
            Some(TokenSummary { limits: snapshot.token_limits(login.id)?.clone(), login: login.clone(), seen_at })
        };
        let mut tokens: Vec<_> = match of {
            Some(account) => snapshot.logins_of(account).filter(is_wanted).filter_map(summary).collect(),
            None => snapshot.logins().filter(is_wanted).filter_map(summary).collect(),
        };
        tokens.sort_by_key(|token| std::cmp::Reverse(token.login.id));
        tokens
    }
}

impl Snapshot {
    /// What a token may do. `None`: it is none, or over.
    pub fn token_limits(&self, id: LoginId) -> Option<&TokenLimits> {
        self.login_record(id)?.limits.as_ref()
    }
}

impl Control {
    /// The login by which whoever shows this token comes in at this service; `None`: the token shows nothing there. Whether
    /// its person may is for the decision.
    pub fn visit_by_token(&self, token: &Secret<String>, service: ServiceId, now: Timestamp) -> Option<LoginId> {
        let snapshot = self.snapshot();
        let login = snapshot.login_by_token(token).filter(|login| login.counts(now))?;
        let id = snapshot.lets_in(login.id, service).then_some(login.id)?;
        self.login_seen(id, now);
        Some(id)
    }
}

async fn make(work: &mut Work, request: TokenRequest, now: Timestamp) -> Result<NewLogin, EditError> {
    let TokenRequest { account, title, limits, length, source } = request;
    let (kind, factors) = (LoginKind::Token, Factors::NONE);
    let login = LoginRequest { account, kind, factors, title, source, length };
    let made = begin(work, login, now).await?;
    let services = limits.services.map(|ids| serde_json::to_string(&ids).expect("numbers are always JSON"));
    sqlx::query("UPDATE logins SET scope = $1, services = $2 WHERE id = $3")
        .bind(limits.scope.word())
        .bind(services)
        .bind(made.id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_login(made.id).await?;
    Ok(made)
}

/// `None` for browsers. A token of which nothing was said may only look.
pub(super) fn read(row: &SqliteRow, kind: LoginKind) -> Result<Option<TokenLimits>, StoreError> {
    match kind {
        LoginKind::Browser | LoginKind::Certificate => Ok(None),
        LoginKind::Token => {
            let scope: Option<&str> = row.try_get("scope")?;
            let read = |word: &str| Scope::read(word).ok_or_else(|| words::strange("the scope of a token", word));
            let scope = scope.map_or(Ok(Scope::Read), read)?;
            let services: Option<&str> = row.try_get("services")?;
            let read = |text: &str| {
                serde_json::from_str::<Vec<ServiceId>>(text).map_err(|_| words::strange("a token's services", text))
            };
            Ok(Some(TokenLimits { scope, services: services.map(read).transpose()? }))
        }
    }
}
