//! Logins: begun, found by their token, ended. A token is made here, of more random bits than anybody can try, and handed
//! out once; its hash is what rests. Whatever a login opened ends with it, since decisions look it up.

mod certificates;
mod rows;
mod seen;
mod tokens;

pub use certificates::{CertificateRequest as ClientCertificateRequest, NewCertificate, client_issuer};
pub use rows::LoginSummary;
pub(crate) use rows::{LoginRecord, load, load_one, seen};
pub(crate) use seen::Seen;
pub use tokens::{TokenRequest, TokenSummary};

use crate::enrol::title as readable;
use crate::store::StoreError;
use crate::work::Work;
use crate::{Control, EditError};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::access::Facts;
use doorward_core::audit::Deed;
use doorward_core::login::{Login, LoginKind, USUAL_LOGIN};
use doorward_core::person::factors::Factors;
use doorward_core::person::{Person, PersonStanding};
use doorward_core::{AccountId, LoginId, Secret};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// SHA-256 of a token: what rests of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest(pub(crate) [u8; 32]);

/// Somebody proved who they are.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    pub account: AccountId,
    pub kind: LoginKind,
    /// By what they proved it.
    pub factors: Factors,
    /// Which device or browser.
    pub title: String,
    pub source: Option<IpAddr>,
    pub length: SignedDuration,
}

/// One that was just begun, with its token in clear for the only time.
#[derive(Debug)]
pub struct NewLogin {
    pub id: LoginId,
    pub token: Secret<String>,
    pub until: Timestamp,
}

/// A person may sign in so often; then their oldest login of the same kind goes.
pub(crate) const MOST_OF_A_PERSON: usize = 50;

impl TokenDigest {
    pub(crate) fn of(token: &Secret<String>) -> Self {
        Self(digest(&SHA256, token.expose().as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

/// 256 bits, as text that stands in a cookie or header as it is.
pub(crate) fn random_token() -> Secret<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    Secret::new(BASE64URL_NOPAD.encode(&bytes))
}

impl Control {
    /// A browser of this person's is signed in from now on.
    pub async fn begin_login(
        &self,
        account: AccountId,
        title: &str,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<NewLogin, EditError> {
        let title = title.to_owned();
        let request = LoginRequest {
            account,
            kind: LoginKind::Browser,
            factors: Factors::NONE,
            title,
            source,
            length: USUAL_LOGIN,
        };
        self.begin_login_as(request, now).await
    }

    pub async fn begin_login_as(&self, request: LoginRequest, now: Timestamp) -> Result<NewLogin, EditError> {
        self.write(move |work| Box::pin(begin(work, request, now))).await
    }

    /// `of`: whose it must be; `None`: whoever's. What it opened is cut.
    pub async fn end_login(&self, of: Option<AccountId>, id: LoginId, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(end_one(work, of, id, now))).await
    }

    /// All of this person's, but for the one that they do it by.
    pub async fn end_logins_of(
        &self,
        account: AccountId,
        except: Option<LoginId>,
        now: Timestamp,
    ) -> Result<(), EditError> {
        self.write(move |work| Box::pin(async move { Ok(end_all_of(work, account, except, now).await?) })).await
    }

    /// Whose token this is, by the snapshot. Whether it counts still is for [`Control::signed_in`] or a decision.
    pub fn login_by_token(&self, token: &Secret<String>) -> Option<Login> {
        self.snapshot().login_by_token(token).cloned()
    }

    /// Who is signed in by this token at `now`: neither login nor account is over.
    pub fn signed_in(&self, token: &Secret<String>, now: Timestamp) -> Option<(Arc<Person>, Login)> {
        let snapshot = self.snapshot();
        let login = snapshot.login_by_token(token).filter(|login| login.counts(now))?.clone();
        let person = snapshot.shared_person(login.account)?;
        self.login_seen(login.id, now);
        (person.standing(now) == PersonStanding::Good).then_some((person, login))
    }
}

/// One that was just begun, by what nobody here makes up.
pub(crate) struct Begun {
    pub(crate) id: LoginId,
    pub(crate) until: Timestamp,
}

async fn begin(work: &mut Work, request: LoginRequest, now: Timestamp) -> Result<NewLogin, EditError> {
    let token = random_token();
    let Begun { id, until } = begin_by(work, request, TokenDigest::of(&token), now).await?;
    Ok(NewLogin { id, token, until })
}

async fn begin_by(
    work: &mut Work,
    request: LoginRequest,
    digest: TokenDigest,
    now: Timestamp,
) -> Result<Begun, EditError> {
    let person = work.draft.shared_person(request.account);
    let person = person.filter(|person| person.standing(now) == PersonStanding::Good);
    let person = person.ok_or_else(|| EditError::Unknown(format!("person number {} who may", request.account)))?;
    make_room(work, &request, now).await?;
    let until = now.checked_add(request.length).unwrap_or(Timestamp::MAX);
    if until <= now {
        return Err(EditError::Invalid("a login lasts some time: say how long, as 12h or 90d".into()));
    }
    let id = LoginId(work.next_id("login").await?);
    let title = readable(&request.title);
    let LoginRequest { account, kind, factors, source, .. } = request;
    let login = Login { id, account, kind, factors, title, source, since: now, until };
    rows::insert(work.connection(), &login, digest).await?;
    work.refresh_login(id).await?;
    write_down(work, Deed::LoginBegun, &person, &login, now).await?;
    Ok(Begun { id, until })
}

async fn make_room(work: &mut Work, request: &LoginRequest, now: Timestamp) -> Result<(), StoreError> {
    let theirs = work.draft.logins_of(request.account).filter(|login| login.kind == request.kind);
    let ids: Vec<_> = theirs.map(|login| login.id).collect();
    let too_many = (ids.len() + 1).saturating_sub(MOST_OF_A_PERSON);
    for id in ids.into_iter().take(too_many) {
        end(work, id, now).await?;
    }
    Ok(())
}

async fn end_one(work: &mut Work, of: Option<AccountId>, id: LoginId, now: Timestamp) -> Result<(), EditError> {
    let known = work.draft.login(id).filter(|login| of.is_none_or(|account| login.account == account));
    if known.is_none() {
        return Err(EditError::Unknown(format!("login {id}")));
    }
    Ok(end(work, id, now).await?)
}

/// By whatever this person is signed in.
pub(crate) async fn end_all_of(
    work: &mut Work,
    account: AccountId,
    except: Option<LoginId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let theirs: Vec<_> = work.draft.logins_of(account).map(|login| login.id).collect();
    for id in theirs.into_iter().filter(|id| Some(*id) != except) {
        end(work, id, now).await?;
    }
    Ok(())
}

async fn end(work: &mut Work, id: LoginId, now: Timestamp) -> Result<(), StoreError> {
    let Some(login) = work.draft.login(id).cloned() else { return Ok(()) };
    sqlx::query("DELETE FROM logins WHERE id = $1").bind(id.0).execute(work.connection()).await?;
    work.refresh_login(id).await?;
    work.shared.seen.forget(id);
    let Some(person) = work.draft.shared_person(login.account) else { return Ok(()) };
    write_down(work, Deed::LoginEnded, &person, &login, now).await
}

async fn write_down(
    work: &mut Work,
    deed: Deed,
    person: &Person,
    login: &Login,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = format!("login {}, {} ({})", login.id, login.title, login.kind.word());
    match (deed, login.source) {
        (Deed::LoginBegun, Some(source)) => {
            work.write_down_from(deed, person.name.as_str(), &detail, source, now).await
        }
        (_, _) => work.write_down(deed, person.name.as_str(), &detail, now).await,
    }
}
