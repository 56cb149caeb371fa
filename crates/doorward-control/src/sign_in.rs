//! How people show who they are: a name with its password, then a code where they set that up.
//!
//! A wrong name, a wrong password and an account that does not count are one answer that takes one time: for each, a hash of the same cost
//! is computed. Between the two steps nothing is kept here: the page carries a sealed ticket.

pub(crate) mod attempts;
pub(crate) mod hashing;
pub(crate) mod passkeys;
pub(crate) mod passwords;
mod recovery;
pub(crate) mod ticket;
pub(crate) mod totp;

pub use passkeys::{PasskeyQuestion, PasskeySummary};
pub use recovery::RecoveryCodes;
pub use totp::{NewTotp, TotpStanding};

use crate::store::StoreError;
use crate::{Control, identities};
use attempts::{Attempt, Attempts, Guessed};
use doorward_core::audit::Deed;
use doorward_core::login::USUAL_LOGIN;
use doorward_core::names::Label;
use doorward_core::person::factors::{Factor, Factors};
use doorward_core::person::password::{Weak, normalise};
use doorward_core::person::{Person, PersonStanding};
use doorward_core::{AccountId, IdentityId, Secret};
use hashing::Hashing;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// What signing in shares over all requests.
#[derive(Default)]
pub(crate) struct SignIn {
    pub(crate) attempts: Attempts,
    pub(crate) hashing: Hashing,
    questions: passkeys::Questions,
}

#[derive(Clone, Debug)]
pub struct NameAndPassword {
    /// As typed.
    pub name: String,
    pub password: Secret<String>,
    pub source: IpAddr,
}

/// What came of a name and its password.
#[derive(Debug)]
#[must_use]
pub enum Step {
    Done(Proven),
    /// A code is wanted too; this says to [`Control::give_code`] who it is, for some minutes.
    /// Or a passkey, where there is one.
    CodeWanted(Secret<String>),
}

/// What somebody can show beside their password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactors {
    pub has_app: bool,
    pub has_passkey: bool,
}

impl SecondFactors {
    /// Whether a password alone is not enough.
    pub fn is_any(self) -> bool {
        self.has_app || self.has_passkey
    }
}

/// Somebody showed who they are. A login is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Proven {
    pub account: AccountId,
    pub factors: Factors,
    /// How long a login that is made of it lasts.
    pub login_for: SignedDuration,
}

impl Proven {
    pub(crate) fn by(account: AccountId, factors: impl Into<Factors>) -> Self {
        Self { account, factors: factors.into(), login_for: USUAL_LOGIN }
    }
}

/// Why something that somebody proves, or wants to prove from now on, was not taken.
#[derive(Debug, Error)]
pub enum CredentialError {
    #[error("this name and password, or this code, do not fit")]
    Wrong,
    #[error("there were too many wrong attempts: try again in {} s", wait.as_secs().max(1))]
    TooMany { wait: Duration },
    #[error("too many people sign in at this moment: try again")]
    Busy,
    /// The page was open for too long, or what it began with was changed elsewhere.
    #[error("this took too long: begin again")]
    Stale,
    #[error(transparent)]
    Weak(#[from] Weak),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl crate::store::ChangeError for CredentialError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Wrong | Self::TooMany { .. } | Self::Busy | Self::Stale | Self::Weak(_) | Self::Invalid(_) => None,
        }
    }
}

/// Between the first step and a code.
#[derive(Serialize, Deserialize)]
pub(crate) struct HalfWay {
    pub(crate) account: AccountId,
    pub(crate) first: First,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum First {
    /// A password that was changed meanwhile is another.
    Password {
        set_at: i64,
    },
    Provider {
        identity: IdentityId,
        factors: String,
        login_seconds: i64,
    },
}

pub(crate) const HALF_WAY: &str = "ticket/half-way";
pub(crate) const HALF_WAY_FOR: SignedDuration = SignedDuration::from_mins(5);

impl Control {
    pub async fn sign_in(&self, given: NameAndPassword, now: Timestamp) -> Result<Step, CredentialError> {
        let attempt = self.attempt(Guessed::Password, given.source, &given.name, now)?;
        let name = Label::parse(given.name.trim()).ok();
        let person = name.and_then(|name| self.snapshot().person_by_name(&name).cloned());
        let fits = self.password_fits(person.as_deref(), &given.password, &attempt).await?;
        let known = match (person, fits) {
            (Some(person), Some(password_of)) if person.standing(now) == PersonStanding::Good => (person, password_of),
            (Some(_) | None, _) => {
                self.refused(Deed::SignInRefused, Some(given.source), None, "wrong-password", now);
                return Err(CredentialError::Wrong);
            }
        };
        let (person, password_of) = known;
        self.renew_hash(person.id, &given.password, now).await;
        if self.second_factors_of(person.id).await?.is_any() {
            self.0.sign_in.attempts.take_back(&attempt, Instant::now());
            let half_way = HalfWay { account: person.id, first: First::Password { set_at: password_of } };
            return Ok(Step::CodeWanted(self.seal_ticket(HALF_WAY, &half_way, now, HALF_WAY_FOR)));
        }
        self.0.sign_in.attempts.was_right(attempt, Instant::now());
        Ok(Step::Done(Proven::by(person.id, Factor::Password)))
    }

    /// The second step: a code of the app, or one of the recovery codes.
    pub async fn give_code(
        &self,
        ticket: &Secret<String>,
        code: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Proven, CredentialError> {
        let half_way: HalfWay = self.open_ticket(HALF_WAY, ticket, now).ok_or(CredentialError::Stale)?;
        let person = self.person_in_good_standing(half_way.account, now).ok_or(CredentialError::Stale)?;
        let first = self.first_step(&half_way).await?;
        let factor = self.use_code(&person, code, source, now).await?;
        Ok(Proven { factors: first.factors.with(factor), ..first })
    }

    /// What the first step proved, if it still does.
    async fn first_step(&self, half_way: &HalfWay) -> Result<Proven, CredentialError> {
        let (account, readers) = (half_way.account, self.0.store.readers());
        match &half_way.first {
            First::Password { set_at } if passwords::changed_at(readers, account).await? == Some(*set_at) => {
                Ok(Proven::by(account, Factor::Password))
            }
            First::Provider { identity, factors, login_seconds }
                if identities::is_of(readers, *identity, account).await? =>
            {
                let factors = Factors::read(factors).ok_or(CredentialError::Stale)?;
                Ok(Proven { account, factors, login_for: SignedDuration::from_secs(*login_seconds) })
            }
            First::Password { .. } | First::Provider { .. } => Err(CredentialError::Stale),
        }
    }

    /// Whether the person who is signed in knows their password, before something weighty is changed.
    pub async fn confirm_password(
        &self,
        account: AccountId,
        password: &Secret<String>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        let attempt = self.attempt(Guessed::Password, source, person.name.as_str(), now)?;
        if self.password_fits(Some(&person), password, &attempt).await?.is_none() {
            self.refused(Deed::SignInRefused, Some(source), None, "wrong-password", now);
            return Err(CredentialError::Wrong);
        }
        self.0.sign_in.attempts.was_right(attempt, Instant::now());
        Ok(())
    }

    pub async fn second_factors_of(&self, account: AccountId) -> Result<SecondFactors, StoreError> {
        const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM person_totp WHERE account = $1) AS apps, \
                              (SELECT COUNT(*) FROM passkeys WHERE account = $1) AS passkeys";
        let row = sqlx::query(COUNTS).bind(account.0).fetch_one(self.0.store.readers()).await?;
        let is_any = |column: &str| row.try_get::<i64, _>(column).map(|count| count > 0);
        Ok(SecondFactors { has_app: is_any("apps")?, has_passkey: is_any("passkeys")? })
    }

    /// Of whoever is between the two steps of signing in.
    pub async fn second_factors_at(
        &self,
        half_way: &Secret<String>,
        now: Timestamp,
    ) -> Result<SecondFactors, CredentialError> {
        let half_way: HalfWay = self.open_ticket(HALF_WAY, half_way, now).ok_or(CredentialError::Stale)?;
        Ok(self.second_factors_of(half_way.account).await?)
    }

    pub(crate) fn person_in_good_standing(&self, id: AccountId, now: Timestamp) -> Option<Arc<Person>> {
        self.snapshot().shared_person(id).filter(|person| person.standing(now) == PersonStanding::Good)
    }

    fn attempt(
        &self,
        guessed: Guessed,
        source: IpAddr,
        name: &str,
        now: Timestamp,
    ) -> Result<Attempt, CredentialError> {
        self.0.sign_in.attempts.begin(guessed, source, name.trim(), Instant::now()).map_err(|wait| {
            self.refused(Deed::SignInRefused, Some(source), None, "too-many", now);
            CredentialError::TooMany { wait }
        })
    }

    /// When the password that fits was set. As slow for nobody as for somebody.
    async fn password_fits(
        &self,
        person: Option<&Person>,
        password: &Secret<String>,
        attempt: &Attempt,
    ) -> Result<Option<i64>, CredentialError> {
        const NOBODY: AccountId = AccountId(0);
        let account = person.map_or(NOBODY, |person| person.id);
        let stored = passwords::stored(self.0.store.readers(), account).await?;
        let (phc, set_at) = stored.map_or((None, None), |(phc, at)| (Some(phc), Some(at)));
        match self.0.sign_in.hashing.verify(phc, normalise(password)).await {
            Ok(true) => Ok(set_at),
            Ok(false) => Ok(None),
            Err(busy) => {
                self.0.sign_in.attempts.take_back(attempt, Instant::now());
                Err(busy)
            }
        }
    }
}
