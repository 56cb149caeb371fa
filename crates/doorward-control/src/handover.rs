//! How a login at the portal comes to count on a service's own host, without the portal's cookie ever going there.
//!
//! The service's host keeps a secret in a cookie (the *state*) and sends the browser to the portal with the hash of it (the
//! *challenge*). Who is signed in there, and may come in, takes a *code* back: good once, for 30 s, for that host, login and
//! challenge. The gateway redeems it for whoever shows the state, and gives a *pass*: the service's own cookie. So a code
//! that was seen on its way is worth nothing without the state, and nobody can be handed somebody else's login.
//!
//! A pass is no row: it names its login and carries a MAC over login, service and host. It counts exactly as long as the
//! login does, and nowhere else. Codes are in memory: a restart costs one more redirect.

use crate::Control;
use crate::logins::{TokenDigest, random_token};
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::access::Facts;
use doorward_core::login::Login;
use doorward_core::names::HostName;
use doorward_core::share::ShareUse;
use doorward_core::{LoginId, Secret, ServiceId};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// SHA-256 of a state, in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

/// Whose pass it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// Somebody who is signed in.
    Login(LoginId),
    /// Somebody who used a share link (`shares::passes`).
    Share(ShareUse),
}

/// What a code is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    pub bearer: Bearer,
    pub service: ServiceId,
    pub host: HostName,
    pub challenge: Challenge,
}

/// Codes that nobody redeemed yet.
#[derive(Default)]
pub(crate) struct Codes(Mutex<HashMap<TokenDigest, (Handover, Timestamp)>>);

const CODE_LIFE: SignedDuration = SignedDuration::from_secs(30);
/// At once. Whoever floods the portal with a login of their own pushes their own codes out first.
const MOST_CODES: usize = 10_000;
const MOST_OF_A_LOGIN: usize = 20;
/// SHA-256 in base64url.
const CHALLENGE_LENGTH: usize = 43;

impl Challenge {
    pub fn of(state: &Secret<String>) -> Self {
        Self(BASE64URL_NOPAD.encode(&TokenDigest::of(state).0))
    }

    /// `None`: nothing that [`Challenge::of`] makes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == CHALLENGE_LENGTH && BASE64URL_NOPAD.decode(text.as_bytes()).is_ok();
        is_one.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Codes {
    fn add(&self, code: &Secret<String>, handover: Handover, now: Timestamp) {
        let until = now.saturating_add(CODE_LIFE).unwrap_or(Timestamp::MAX);
        let mut codes = self.table();
        codes.retain(|_, (_, until)| now < *until);
        let of_login = |(other, _): &&(Handover, Timestamp)| other.bearer == handover.bearer;
        if codes.values().filter(of_login).count() >= MOST_OF_A_LOGIN {
            codes.retain(|_, (other, _)| other.bearer != handover.bearer);
        }
        if codes.len() < MOST_CODES {
            codes.insert(TokenDigest::of(code), (handover, until));
        }
    }

    /// Whatever becomes of it, it is used up.
    fn take(&self, code: &Secret<String>, now: Timestamp) -> Option<Handover> {
        let (handover, until) = self.table().remove(&TokenDigest::of(code))?;
        (now < until).then_some(handover)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<TokenDigest, (Handover, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// For a browser that is signed in and on its way back to a service's host.
    pub fn hand_over(&self, handover: Handover, now: Timestamp) -> Secret<String> {
        let code = random_token();
        self.0.codes.add(&code, handover, now);
        code
    }

    /// Once, on that host, for whoever shows the state. `None` as a state uses the code up as a wrong one does. The login may
    /// have ended meanwhile; decisions see that.
    pub fn redeem(
        &self,
        code: &Secret<String>,
        host: &HostName,
        state: Option<&Secret<String>>,
        now: Timestamp,
    ) -> Option<Handover> {
        let handover = self.0.codes.take(code, now)?;
        let is_theirs = state.is_some_and(|state| handover.challenge == Challenge::of(state));
        (handover.host == *host && is_theirs).then_some(handover)
    }

    /// The cookie of a service's host, for as long as the login lasts. `None`: it is over.
    pub fn pass(&self, login: LoginId, service: ServiceId, host: &HostName) -> Option<(Secret<String>, Login)> {
        let login = self.snapshot().login(login)?.clone();
        let mac = hmac::sign(&self.pass_key(), &what_counts(login.id, service, host));
        Some((Secret::new(format!("{}.{}", login.id, BASE64URL_NOPAD.encode(mac.as_ref()))), login))
    }

    /// Which login a pass stands for. Whether that counts still is for the decision.
    pub fn login_by_pass(&self, pass: &Secret<String>, service: ServiceId, host: &HostName) -> Option<LoginId> {
        let (id, mac) = pass.expose().split_once('.')?;
        let (id, mac) = (LoginId(id.parse().ok()?), BASE64URL_NOPAD.decode(mac.as_bytes()).ok()?);
        hmac::verify(&self.pass_key(), &what_counts(id, service, host), &mac).ok()?;
        Some(id)
    }

    fn pass_key(&self) -> hmac::Key {
        self.0.seal.derive("passes of services")
    }
}

/// Ids are digits and host names have no slash: no two differ only by where one part ends.
fn what_counts(login: LoginId, service: ServiceId, host: &HostName) -> Vec<u8> {
    format!("{login}/{service}/{host}").into_bytes()
}
