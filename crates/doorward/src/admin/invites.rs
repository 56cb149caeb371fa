//! `doorward invite` and `doorward invites`.

use super::when::{relative, span};
use super::{AskError, Form, Owner, Table};
use doorward_core::Secret;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

/// What an invite shall be good for; unsaid is the gateway's usual.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub name: Option<String>,
    pub uses: Option<u32>,
    pub expires_in: Option<SignedDuration>,
}

#[derive(Deserialize)]
pub(super) struct Made {
    invite: String,
}

impl Made {
    pub(super) fn text(self) -> Secret<String> {
        Secret::new(self.invite)
    }
}

/// The invite's text.
pub async fn create(owner: &Owner, wish: Wish) -> Result<Secret<String>, AskError> {
    let expires_in = wish.expires_in.map(|span| format!("{}s", span.as_secs()));
    let mut body = json!({});
    for (key, value) in [
        ("name", wish.name.map(Into::into)),
        ("uses", wish.uses.map(Into::into)),
        ("expires-in", expires_in.map(Into::into)),
    ] {
        if let Some(value) = value {
            body[key] = value;
        }
    }
    Ok(owner.ask(Method::POST, "/invites", Some(body)).await?.read::<Made>()?.text())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Invite {
    id: i64,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    name: Option<String>,
    replaces: Option<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/invites").await?;
    let invites: Vec<Invite> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if invites.is_empty() {
        return Ok("There are no invites. `doorward invite` makes one.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "STATE", "LEFT", "MADE", "EXPIRES", "FOR"]);
    for invite in &invites {
        let left = format!("{} of {}", invite.uses_left, invite.uses);
        let expires = relative(invite.expires_at, now);
        let made = relative(invite.created_at, now);
        table.row([invite.id.to_string(), invite.state(now).to_owned(), left, made, expires, invite.purpose()]);
    }
    Ok(table.to_string())
}

impl Invite {
    fn state(&self, now: Timestamp) -> &'static str {
        match self {
            Self { is_usable: true, .. } => "usable",
            Self { revoked_at: Some(_), .. } => "revoked",
            Self { uses_left: 0, .. } => "used up",
            Self { expires_at, .. } if *expires_at <= now => "expired",
            _ => "not usable",
        }
    }

    fn purpose(&self) -> String {
        match (&self.replaces, &self.name) {
            (Some(device), _) => format!("taking the place of {device}"),
            (None, Some(name)) => name.clone(),
            (None, None) => "any machine".to_owned(),
        }
    }
}

pub async fn revoke(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/invites/{id}"), None).await?;
    Ok(format!("Invite {id} lets nobody in any more.\n"))
}

/// For the eyes beside the text: what it is good for.
pub fn describe(wish: &Wish) -> String {
    let machines = match wish.uses.unwrap_or(1) {
        1 => "one machine".to_owned(),
        many => format!("{many} machines"),
    };
    let within = span(wish.expires_in.unwrap_or(SignedDuration::from_hours(7 * 24)));
    format!("It lets {machines} in, within {within}.")
}
