//! Codes of an app (RFC 6238: SHA-1, six digits, 30 s, which all apps know).

use super::attempts::Guessed;
use super::recovery::{RecoveryCodes, grouped, random};
use super::{CredentialError, recovery};
use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use doorward_core::audit::Deed;
use doorward_core::person::Person;
use doorward_core::person::factors::Factor;
use doorward_core::{AccountId, Secret};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use std::net::IpAddr;
use std::time::Instant;
use totp_rs::Builder;

/// What somebody has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TotpStanding {
    None,
    SetUp { since: Timestamp, recovery_codes_left: u32 },
}

impl TotpStanding {
    pub fn is_set_up(self) -> bool {
        match self {
            Self::None => false,
            Self::SetUp { .. } => true,
        }
    }
}

/// A secret for an app, not yet in use: the first code shows that it got there.
#[derive(Debug)]
pub struct NewTotp {
    /// `otpauth://totp/…`, for a QR code.
    pub url: Secret<String>,
    /// In groups, for typing.
    pub text: Secret<String>,
    /// For [`Control::set_up_totp`].
    pub ticket: Secret<String>,
}

#[derive(Serialize, Deserialize)]
struct Offered {
    account: AccountId,
    /// In hexadecimal, below the seal.
    secret: String,
}

const OFFERED: &str = "ticket/new-totp";
const OFFERED_FOR: SignedDuration = SignedDuration::from_mins(20);
/// RFC 4226 4 asks for 160 bits.
const SECRET_LENGTH: usize = 20;

impl Control {
    pub async fn totp_of(&self, account: AccountId) -> Result<TotpStanding, StoreError> {
        const STANDING: &str = "SELECT t.since, (SELECT COUNT(*) FROM recovery_codes r WHERE r.account = t.account AND r.used_at IS NULL) \
                                AS codes_left FROM person_totp t WHERE t.account = $1";
        let row = sqlx::query(STANDING).bind(account.0).fetch_optional(self.0.store.readers()).await?;
        let Some(row) = row else { return Ok(TotpStanding::None) };
        Ok(TotpStanding::SetUp {
            since: words::read_time(row.try_get("since")?)?,
            recovery_codes_left: u32::try_from(row.try_get::<i64, _>("codes_left")?).unwrap_or(u32::MAX),
        })
    }

    /// Nothing is kept of it until the first code comes back.
    pub fn offer_totp(&self, account: AccountId, now: Timestamp) -> Option<NewTotp> {
        let person = self.person_in_good_standing(account, now)?;
        let secret = random::<SECRET_LENGTH>();
        let offered = Offered { account, secret: HEXLOWER.encode(secret.expose()) };
        let ticket = self.seal_ticket(OFFERED, &offered, now, OFFERED_FOR);
        self.show_totp(&person, secret.expose(), ticket)
    }

    /// The same once more, after a code that did not fit.
    pub fn offered_totp(&self, account: AccountId, ticket: &Secret<String>, now: Timestamp) -> Option<NewTotp> {
        let offered: Offered = self.open_ticket(OFFERED, ticket, now)?;
        let person = self.person_in_good_standing(account, now).filter(|_| offered.account == account)?;
        let secret = Secret::new(words::read_hex(&offered.secret).ok()?);
        self.show_totp(&person, secret.expose(), ticket.clone())
    }

    fn show_totp(&self, person: &Person, secret: &[u8], ticket: Secret<String>) -> Option<NewTotp> {
        let issuer = self.site().domain.as_ref().map_or_else(|| "Doorward".to_owned(), ToString::to_string);
        let totp = builder(secret).with_issuer(Some(issuer)).with_account_name(person.name.as_str()).build().ok()?;
        let text = Secret::new(grouped(&BASE32_NOPAD.encode(secret)));
        Some(NewTotp { url: Secret::new(totp.to_url().ok()?), text, ticket })
    }

    /// From now on codes are asked for. An app that was set up before counts no more, nor do its recovery codes.
    pub async fn set_up_totp(
        &self,
        account: AccountId,
        ticket: &Secret<String>,
        code: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<RecoveryCodes, CredentialError> {
        let offered: Offered = self.open_ticket(OFFERED, ticket, now).ok_or(CredentialError::Stale)?;
        let person = self.person_in_good_standing(account, now).filter(|_| offered.account == account);
        let person = person.ok_or(CredentialError::Stale)?;
        let secret = Secret::new(words::read_hex(&offered.secret)?);
        let step = step_of(secret.expose(), code, now).ok_or(CredentialError::Wrong)?;
        let sealed = self.0.seal.seal(&place(account), secret.expose());
        let codes = RecoveryCodes::make();
        let digests = codes.digests();
        self.write(move |work| {
            Box::pin(async move {
                forget(work, account).await?;
                sqlx::query("INSERT INTO person_totp (account, secret, last_step, since) VALUES ($1, $2, $3, $4)")
                    .bind(account.0)
                    .bind(sealed)
                    .bind(step)
                    .bind(words::time(now))
                    .execute(work.connection())
                    .await
                    .map_err(StoreError::from)?;
                recovery::put(work, account, &digests).await?;
                work.write_down_from(Deed::SecondFactorChanged, person.name.as_str(), "app set up", source, now)
                    .await?;
                Ok::<_, CredentialError>(())
            })
        })
        .await?;
        Ok(codes)
    }

    /// Codes are asked for no more.
    pub async fn drop_totp(&self, account: AccountId, source: IpAddr, now: Timestamp) -> Result<(), CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        self.write(move |work| {
            Box::pin(async move {
                forget_app(work, account).await?;
                recovery::forget_idle(work, account).await?;
                work.write_down_from(Deed::SecondFactorChanged, person.name.as_str(), "app given up", source, now)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// A code counts once. By which kind of it they came in.
    pub(super) async fn use_code(
        &self,
        person: &Person,
        code: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Factor, CredentialError> {
        let typed: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let is_of_app = typed.len() <= 8;
        let guessed = if is_of_app { Guessed::Code } else { Guessed::Long };
        let attempt = self.attempt(guessed, source, person.name.as_str(), now)?;
        let account = person.id;
        let name = person.name.clone();
        let is_right = self
            .write(move |work| {
                Box::pin(async move {
                    if is_of_app {
                        use_app_code(work, account, &typed, now).await
                    } else {
                        let is_right = recovery::use_one(work, account, &typed, now).await?;
                        if is_right {
                            let what = "a recovery code was used";
                            work.write_down_from(Deed::SecondFactorChanged, name.as_str(), what, source, now).await?;
                        }
                        Ok(is_right)
                    }
                })
            })
            .await?;
        if !is_right {
            self.refused(Deed::SignInRefused, Some(source), None, "wrong-code", now);
            return Err(CredentialError::Wrong);
        }
        self.0.sign_in.attempts.was_right(attempt, Instant::now());
        Ok(if is_of_app { Factor::Totp } else { Factor::Recovery })
    }
}

/// In the writer's seat, so that of two who use the same code at once one comes in.
async fn use_app_code(
    work: &mut Work,
    account: AccountId,
    code: &str,
    now: Timestamp,
) -> Result<bool, CredentialError> {
    const SECRET: &str = "SELECT secret, last_step FROM person_totp WHERE account = $1";
    let row = sqlx::query(SECRET).bind(account.0).fetch_optional(work.connection()).await.map_err(StoreError::from)?;
    let Some(row) = row else { return Ok(false) };
    let sealed: String = row.try_get("secret").map_err(StoreError::from)?;
    let last: i64 = row.try_get("last_step").map_err(StoreError::from)?;
    let secret = work.shared.seal.open(&place(account), &sealed)?;
    let Some(step) = step_of(secret.expose(), code, now).filter(|step| *step > last) else { return Ok(false) };
    sqlx::query("UPDATE person_totp SET last_step = $1 WHERE account = $2")
        .bind(step)
        .bind(account.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    Ok(true)
}

/// The app with its recovery codes.
pub(crate) async fn forget(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    forget_app(work, account).await?;
    recovery::forget(work, account).await
}

async fn forget_app(work: &mut Work, account: AccountId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM person_totp WHERE account = $1").bind(account.0).execute(work.connection()).await?;
    Ok(())
}

/// The step that the code belongs to: this one, the one before or the one after, since clocks differ.
fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let totp = builder(secret).build().ok()?;
    let seconds = u64::try_from(now.as_second()).ok()?;
    let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    totp.check(&digits, seconds).and_then(|step| i64::try_from(step).ok())
}

fn builder(secret: &[u8]) -> Builder {
    Builder::new().with_secret(secret.to_vec()).with_skew(1)
}

fn place(account: AccountId) -> String {
    format!("person_totp/{account}")
}
