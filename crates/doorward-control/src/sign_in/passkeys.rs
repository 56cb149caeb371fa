//! Passkeys (WebAuthn): a key in somebody's phone, computer or stick, which it uses only after it was unlocked, and only for our own host. By itself
//! one is enough to sign in, without name and password; beside a password it stands for the code of an app.

mod questions;
mod rows;

pub(crate) use questions::Questions;
pub(crate) use rows::forget;

use super::attempts::Guessed;
use super::recovery::{self, RecoveryCodes};
use super::{CredentialError, HALF_WAY, HalfWay, Proven};
use crate::Control;
use crate::store::{StoreError, words};
use doorward_core::audit::Deed;
use doorward_core::person::factors::Factor;
use doorward_core::{AccountId, PasskeyId, Secret};
use jiff::Timestamp;
use questions::{ANSWERED_WITHIN, Asked};
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::net::IpAddr;
use std::time::Instant;
use webauthn_rs::prelude::{DiscoverableKey, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid};
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// What a browser is asked.
#[derive(Debug)]
pub struct PasskeyQuestion {
    /// To be given back with the answer.
    pub ticket: Secret<String>,
    /// For `navigator.credentials`.
    pub options: Value,
}

#[derive(Clone, Debug)]
pub struct PasskeySummary {
    pub id: PasskeyId,
    pub title: String,
    pub since: Timestamp,
    pub used_at: Option<Timestamp>,
}

const MOST_OF_A_PERSON: usize = 20;

impl Control {
    pub async fn passkeys_of(&self, account: AccountId) -> Result<Vec<PasskeySummary>, StoreError> {
        const THEIRS: &str = "SELECT id, title, since, used_at FROM passkeys WHERE account = $1 ORDER BY id";
        let rows = sqlx::query(THEIRS).bind(account.0).fetch_all(self.0.store.readers()).await?;
        let read = |row: &SqliteRow| {
            Ok(PasskeySummary {
                id: PasskeyId(row.try_get("id")?),
                title: row.try_get("title")?,
                since: words::read_time(row.try_get("since")?)?,
                used_at: words::read_optional_time(row.try_get("used_at")?)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// For a new one of somebody who is signed in.
    pub async fn ask_for_new_passkey(
        &self,
        account: AccountId,
        now: Timestamp,
    ) -> Result<PasskeyQuestion, CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        let known = self.stored_passkeys(account).await?;
        if known.len() >= MOST_OF_A_PERSON {
            return Err(CredentialError::Invalid(format!("one person has {MOST_OF_A_PERSON} passkeys at most")));
        }
        let known = known.iter().map(|(_, passkey)| passkey.cred_id().clone()).collect();
        let webauthn = self.webauthn()?;
        let begun =
            webauthn.start_passkey_registration(handle(account), person.name.as_str(), &person.title, Some(known));
        let (question, asked) = begun.map_err(refused)?;
        let mut options = options(&question)?;
        // Found by the browser without a name being typed, where it can.
        options["publicKey"]["authenticatorSelection"]["residentKey"] = "preferred".into();
        let ticket = self.0.sign_in.questions.ask(Asked::NewOf(account, asked), Instant::now());
        Ok(PasskeyQuestion { ticket, options })
    }

    /// Recovery codes come with the first one, if there are none: from then on a password alone is not enough.
    pub async fn add_passkey(
        &self,
        account: AccountId,
        ticket: &Secret<String>,
        answer: &str,
        title: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<RecoveryCodes>, CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        let asked = match self.0.sign_in.questions.take(ticket, Instant::now()) {
            Some(Asked::NewOf(of, asked)) if of == account => asked,
            Some(Asked::NewOf(..) | Asked::Anybody(_) | Asked::SecondOf(..)) | None => {
                return Err(CredentialError::Stale);
            }
        };
        let answer: RegisterPublicKeyCredential = serde_json::from_str(answer).map_err(unreadable)?;
        let passkey = self.webauthn()?.finish_passkey_registration(&answer, &asked).map_err(refused)?;
        let title = crate::enrol::title(title);
        let title = if title.is_empty() { "passkey".to_owned() } else { title };
        self.write(move |work| {
            Box::pin(async move {
                rows::insert(work, account, &passkey, &title, now).await?;
                let what = format!("passkey added: {title}");
                work.write_down_from(Deed::SecondFactorChanged, person.name.as_str(), &what, source, now).await?;
                if recovery::has_any(work, account).await? {
                    return Ok(None);
                }
                let codes = RecoveryCodes::make();
                recovery::put(work, account, &codes.digests()).await?;
                Ok(Some(codes))
            })
        })
        .await
    }

    pub async fn remove_passkey(
        &self,
        account: AccountId,
        id: PasskeyId,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), CredentialError> {
        let person = self.person_in_good_standing(account, now).ok_or(CredentialError::Stale)?;
        self.write(move |work| {
            Box::pin(async move {
                let removed =
                    sqlx::query("DELETE FROM passkeys WHERE id = $1 AND account = $2").bind(id.0).bind(account.0);
                let removed = removed.execute(work.connection()).await.map_err(StoreError::from)?;
                if removed.rows_affected() > 0 {
                    let name = person.name.as_str();
                    work.write_down_from(Deed::SecondFactorChanged, name, "passkey removed", source, now).await?;
                    recovery::forget_idle(work, account).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Whoever it is: the answer says so.
    pub fn ask_for_passkey(&self) -> Result<PasskeyQuestion, CredentialError> {
        let (question, asked) = self.webauthn()?.start_discoverable_authentication().map_err(refused)?;
        let ticket = self.0.sign_in.questions.ask(Asked::Anybody(asked), Instant::now());
        Ok(PasskeyQuestion { ticket, options: options(&question)? })
    }

    /// Instead of a code, of whoever gave the right password.
    pub async fn ask_for_second_passkey(
        &self,
        half_way: &Secret<String>,
        now: Timestamp,
    ) -> Result<PasskeyQuestion, CredentialError> {
        let half_way: HalfWay = self.open_ticket(HALF_WAY, half_way, now).ok_or(CredentialError::Stale)?;
        let known: Vec<_> = self.stored_passkeys(half_way.account).await?.into_iter().map(|(_, key)| key).collect();
        let (question, asked) = self.webauthn()?.start_passkey_authentication(&known).map_err(refused)?;
        let asked = Asked::SecondOf(half_way.account, asked);
        let ticket = self.0.sign_in.questions.ask(asked, Instant::now());
        Ok(PasskeyQuestion { ticket, options: options(&question)? })
    }

    pub async fn sign_in_by_passkey(
        &self,
        ticket: &Secret<String>,
        answer: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Proven, CredentialError> {
        let attempt = self.attempt(Guessed::Long, source, "", now)?;
        let proven = self.proven_by_passkey(ticket, answer, now).await;
        match &proven {
            Ok(_) => self.0.sign_in.attempts.was_right(attempt, Instant::now()),
            Err(_) => self.refused(Deed::SignInRefused, Some(source), None, "wrong-passkey", now),
        }
        proven
    }

    /// The second step of signing in by password.
    pub async fn give_passkey(
        &self,
        half_way: &Secret<String>,
        ticket: &Secret<String>,
        answer: &str,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Proven, CredentialError> {
        let half_way: HalfWay = self.open_ticket(HALF_WAY, half_way, now).ok_or(CredentialError::Stale)?;
        let first = self.first_step(&half_way).await?;
        let proven = self.sign_in_by_passkey(ticket, answer, source, now).await?;
        if proven.account != half_way.account {
            return Err(CredentialError::Wrong);
        }
        Ok(Proven { factors: first.factors.with(Factor::Passkey), ..first })
    }

    async fn proven_by_passkey(
        &self,
        ticket: &Secret<String>,
        answer: &str,
        now: Timestamp,
    ) -> Result<Proven, CredentialError> {
        let asked = self.0.sign_in.questions.take(ticket, Instant::now()).ok_or(CredentialError::Stale)?;
        let answer: PublicKeyCredential = serde_json::from_str(answer).map_err(unreadable)?;
        let (of, id, passkey) = self.stored_passkey(answer.get_credential_id()).await?.ok_or(CredentialError::Wrong)?;
        let webauthn = self.webauthn()?;
        let result = match asked {
            Asked::Anybody(asked) => {
                let (whose, _) = webauthn.identify_discoverable_authentication(&answer).map_err(refused)?;
                if whose != handle(of) {
                    return Err(CredentialError::Wrong);
                }
                let key = DiscoverableKey::from(&passkey);
                webauthn.finish_discoverable_authentication_v2(&answer, asked, &key).map_err(refused)?
            }
            Asked::SecondOf(account, asked) if account == of => {
                webauthn.finish_passkey_authentication(&answer, &asked).map_err(refused)?
            }
            Asked::SecondOf(..) | Asked::NewOf(..) => return Err(CredentialError::Wrong),
        };
        let person = self.person_in_good_standing(of, now).ok_or(CredentialError::Wrong)?;
        self.write(move |work| {
            Box::pin(async move { Ok::<_, CredentialError>(rows::used(work, id, passkey, &result, now).await?) })
        })
        .await?;
        Ok(Proven::by(person.id, Factor::Passkey))
    }

    /// For the portal's own host as it is now: keys are of a host, and count for no other.
    fn webauthn(&self) -> Result<Webauthn, CredentialError> {
        let no_place = || CredentialError::Invalid("passkeys need the portal to have a host name".to_owned());
        let origin = self.site().portal_url().and_then(|url| Url::parse(&url).ok()).ok_or_else(no_place)?;
        let host = origin.host_str().ok_or_else(no_place)?.to_owned();
        let builder = WebauthnBuilder::new(&host, &origin).map_err(refused)?;
        builder.rp_name(&host).timeout(ANSWERED_WITHIN).build().map_err(refused)
    }
}

fn handle(account: AccountId) -> Uuid {
    Uuid::from_u128(u128::from(account.0.unsigned_abs()))
}

fn options(question: &impl serde::Serialize) -> Result<Value, CredentialError> {
    serde_json::to_value(question).map_err(|_| CredentialError::Wrong)
}

fn refused(error: webauthn_rs::prelude::WebauthnError) -> CredentialError {
    tracing::debug!(%error, "a passkey was refused");
    CredentialError::Wrong
}

fn unreadable(error: serde_json::Error) -> CredentialError {
    tracing::debug!(%error, "an answer of a passkey cannot be read");
    CredentialError::Wrong
}
