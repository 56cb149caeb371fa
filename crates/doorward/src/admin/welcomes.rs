//! `doorward people owner-link`, `link`, `invite`, `invitations` and `import`.

use super::client::segment;
use super::people::json;
use super::when::relative;
use super::{AskError, Form, Owner, Table};
use doorward_core::Secret;
use doorward_core::person::Role;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A link just made.
#[derive(Debug)]
pub struct Link {
    pub url: Secret<String>,
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LinkBody {
    url: String,
    expires_at: Timestamp,
}

/// What an invitation shall be good for; unsaid is the gateway's usual.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub title: Option<String>,
    pub uses: Option<u32>,
    pub expires_in: Option<SignedDuration>,
    pub role: Option<Role>,
    pub groups: Vec<String>,
    pub ends_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct WishBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csv: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Invitation {
    id: i64,
    title: String,
    role: Role,
    groups: Vec<String>,
    ends_at: Option<Timestamp>,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Imported {
    name: String,
    title: Option<String>,
    url: String,
}

/// For an owner who is locked out.
pub async fn owner_link(owner: &Owner, person: Option<&str>) -> Result<Link, AskError> {
    let body = person.map_or_else(|| json!({}), |person| json!({ "person": person }));
    link(owner.ask(Method::POST, "/owner-link", Some(body)).await?.read()?)
}

/// By which this person sets a new password.
pub async fn own_link(owner: &Owner, name: &str, expires_in: Option<SignedDuration>) -> Result<Link, AskError> {
    let body = seconds(expires_in).map_or_else(|| json!({}), |span| json!({ "expires-in": span }));
    link(owner.ask(Method::POST, &format!("/people/{}/link", segment(name)), Some(body)).await?.read()?)
}

pub async fn invite(owner: &Owner, wish: Wish) -> Result<Link, AskError> {
    link(owner.ask(Method::POST, "/invitations", Some(json(&wish.body(None))?)).await?.read()?)
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/invitations").await?;
    let invitations: Vec<Invitation> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if invitations.is_empty() {
        return Ok("Nobody is invited. `doorward people invite` makes a link for it.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "STATE", "LEFT", "EXPIRES", "AS", "ACCOUNTS END", "GROUPS", "TITLE"]);
    for invitation in invitations {
        let state = invitation.state(now).to_owned();
        let left = format!("{} of {}", invitation.uses_left, invitation.uses);
        let ends = invitation.ends_at.map(|at| relative(at, now)).unwrap_or_default();
        let (id, role) = (invitation.id.to_string(), invitation.role.word().to_owned());
        let expires = relative(invitation.expires_at, now);
        table.row([id, state, left, expires, role, ends, invitation.groups.join(", "), invitation.title]);
    }
    Ok(table.to_string())
}

pub async fn revoke(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/invitations/{id}"), None).await?;
    Ok(format!("Nobody comes by invitation {id} any more. Who came by it stays.\n"))
}

/// A list of its own with each one's link, for a letter to each.
pub async fn import(owner: &Owner, list: String, wish: Wish) -> Result<Secret<String>, AskError> {
    let answer = owner.ask(Method::POST, "/people/import", Some(json(&wish.body(Some(list)))?)).await?;
    let mut rows = String::from("name,title,link\n");
    for Imported { name, title, url } in answer.read::<Vec<Imported>>()? {
        let title = title.map(|title| format!("\"{}\"", title.replace('"', "\"\""))).unwrap_or_default();
        rows += &format!("{name},{title},{url}\n");
    }
    Ok(Secret::new(rows))
}

impl Wish {
    fn body(self, csv: Option<String>) -> WishBody {
        let Self { title, uses, expires_in, role, groups, ends_at } = self;
        WishBody { title, uses, expires_in: seconds(expires_in), role, groups, ends_at, csv }
    }
}

impl Invitation {
    fn state(&self, now: Timestamp) -> &'static str {
        match self {
            Self { is_usable: true, .. } => "usable",
            Self { revoked_at: Some(_), .. } => "revoked",
            Self { uses_left: 0, .. } => "used up",
            Self { expires_at, .. } if *expires_at <= now => "expired",
            _ => "over",
        }
    }
}

fn link(body: LinkBody) -> Result<Link, AskError> {
    Ok(Link { url: Secret::new(body.url), expires_at: body.expires_at })
}

fn seconds(span: Option<SignedDuration>) -> Option<String> {
    span.map(|span| format!("{}s", span.as_secs()))
}
