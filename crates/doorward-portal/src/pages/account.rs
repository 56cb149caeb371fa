//! One's own account: password, app for codes, recovery codes. Whatever is weighty asks for the password once more.

use super::frame::{Frame, page, page_with};
use super::providers::{self, Linked, Shown};
use super::qr::picture;
use super::telling::{DIFFER, place_of, tell};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::Problem;
use crate::caller::{SignedIn, Source};
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use doorward_control::{CredentialError, NewTotp, PasskeySummary, RecoveryCodes, SecondFactors, TotpStanding};
use doorward_core::Secret;
use http::StatusCode;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage {
    frame: Frame,
    name: String,
    role: &'static str,
    ends_at: Option<String>,
    totp: TotpStanding,
    passkeys: Vec<PasskeySummary>,
    second: SecondFactors,
    has_password: bool,
    providers: Vec<Shown>,
    linked: Vec<Linked>,
    done: Option<&'static str>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "account_totp.html")]
struct TotpPage {
    frame: Frame,
    offer: NewTotp,
    /// Markup of our own making.
    picture: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "account_codes.html")]
struct CodesPage {
    frame: Frame,
    codes: RecoveryCodes,
}

#[derive(Deserialize)]
struct NewPassword {
    old: String,
    password: String,
    again: String,
}

#[derive(Deserialize)]
struct Confirmed {
    password: String,
}

#[derive(Deserialize)]
struct FirstCode {
    ticket: String,
    code: String,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/account", get(show))
        .route("/account/password", post(change_password))
        .route("/account/totp", post(offer_totp))
        .route("/account/totp/code", post(set_up_totp))
        .route("/account/totp/drop", post(drop_totp))
        .route("/account/recovery-codes", post(renew_codes))
}

#[cfg(test)]
pub(crate) const DONE: [&str; 2] = [CHANGED, DROPPED];
const CHANGED: &str = "Your password was changed. Your other browsers are signed out.";
const DROPPED: &str = "Codes are asked for no more.";

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Ok(page(&AccountPage::of(&state, frame, &signed_in).await?))
}

async fn change_password(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<NewPassword>,
) -> Result<Response, Problem> {
    let (old, new, again) = (Secret::new(given.old), Secret::new(given.password), Secret::new(given.again));
    let mut shown = AccountPage::of(&state, frame, &signed_in).await?;
    if new != again {
        shown.error = Some(shown.frame.say(DIFFER).to_owned());
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &shown));
    }
    let (account, now) = (signed_in.person.id, (state.clock)());
    if let Err(error) = state.control.change_password(account, &old, &new, place_of(source), now).await {
        return shown.refuse(error);
    }
    state.control.end_logins_of(account, Some(signed_in.login.id), now).await?;
    shown.done = Some(CHANGED);
    Ok(page(&shown))
}

async fn offer_totp(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    let (password, now) = (Secret::new(given.password), (state.clock)());
    let confirmed = state.control.confirm_password(signed_in.person.id, &password, place_of(source), now).await;
    if let Err(error) = confirmed {
        return AccountPage::of(&state, frame, &signed_in).await?.refuse(error);
    }
    match state.control.offer_totp(signed_in.person.id, now) {
        Some(offer) => {
            Ok(page(&TotpPage { frame, picture: picture(offer.url.expose()).unwrap_or_default(), offer, error: None }))
        }
        None => AccountPage::of(&state, frame, &signed_in).await?.refuse(CredentialError::Stale),
    }
}

async fn set_up_totp(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<FirstCode>,
) -> Result<Response, Problem> {
    let (ticket, now, account) = (Secret::new(given.ticket), (state.clock)(), signed_in.person.id);
    match state.control.set_up_totp(account, &ticket, &given.code, place_of(source), now).await {
        Ok(codes) => Ok(AccountPage::codes(frame, codes)),
        Err(error @ CredentialError::Wrong) => {
            let (status, told) = tell(&frame, error)?;
            match state.control.offered_totp(account, &ticket, now) {
                Some(offer) => Ok(page_with(
                    status,
                    &TotpPage {
                        frame,
                        picture: picture(offer.url.expose()).unwrap_or_default(),
                        offer,
                        error: Some(told),
                    },
                )),
                None => AccountPage::of(&state, frame, &signed_in).await?.refuse(CredentialError::Stale),
            }
        }
        Err(error) => AccountPage::of(&state, frame, &signed_in).await?.refuse(error),
    }
}

async fn drop_totp(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    let (password, now, account) = (Secret::new(given.password), (state.clock)(), signed_in.person.id);
    let done = match state.control.confirm_password(account, &password, place_of(source), now).await {
        Ok(()) => state.control.drop_totp(account, place_of(source), now).await,
        Err(error) => Err(error),
    };
    let mut shown = AccountPage::of(&state, frame, &signed_in).await?;
    match done {
        Ok(()) => {
            shown.done = Some(DROPPED);
            Ok(page(&shown))
        }
        Err(error) => shown.refuse(error),
    }
}

async fn renew_codes(
    Acting(state): Acting,
    frame: Frame,
    source: Source,
    signed_in: SignedIn,
    Sent(given): Sent<Confirmed>,
) -> Result<Response, Problem> {
    let (password, now, account) = (Secret::new(given.password), (state.clock)(), signed_in.person.id);
    let renewed = match state.control.confirm_password(account, &password, place_of(source), now).await {
        Ok(()) => state.control.renew_recovery_codes(account, place_of(source), now).await,
        Err(error) => Err(error),
    };
    match renewed {
        Ok(codes) => Ok(AccountPage::codes(frame, codes)),
        Err(error) => AccountPage::of(&state, frame, &signed_in).await?.refuse(error),
    }
}

impl AccountPage {
    pub(super) async fn of(state: &PortalState, frame: Frame, signed_in: &SignedIn) -> Result<Self, Problem> {
        let person = &signed_in.person;
        Ok(Self {
            name: person.name.to_string(),
            role: person.role.word(),
            ends_at: person.ends_at.map(|end| end.to_string()),
            totp: state.control.totp_of(person.id).await?,
            passkeys: state.control.passkeys_of(person.id).await?,
            second: state.control.second_factors_of(person.id).await?,
            has_password: state.control.has_password(person.id).await?,
            providers: providers::shown(state),
            linked: providers::linked(state, signed_in).await?,
            done: None,
            error: None,
            frame,
        })
    }

    /// They are shown this once.
    pub(super) fn codes(frame: Frame, codes: RecoveryCodes) -> Response {
        page(&CodesPage { frame, codes })
    }

    pub(super) fn refuse(self, error: CredentialError) -> Result<Response, Problem> {
        let (status, told) = tell(&self.frame, error)?;
        Ok(self.told(status, told))
    }

    pub(super) fn told(mut self, status: StatusCode, error: String) -> Response {
        self.error = Some(error);
        page_with(status, &self)
    }
}
