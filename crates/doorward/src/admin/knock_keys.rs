//! `doorward knock-keys`.

use super::client::segment;
use super::when::relative;
use super::{AskError, Form, Owner, ServicePath, Table};
use doorward_core::Secret;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KnockKey {
    id: i64,
    person: Option<String>,
    name: String,
    opens: Vec<String>,
    may_be_seen: bool,
    used_at: Option<Timestamp>,
    used_from: Option<String>,
}

#[derive(Debug)]
pub struct Wish {
    pub name: String,
    pub opens: Vec<ServicePath>,
    pub may_be_seen: bool,
    pub person: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct WishBody<'w> {
    name: &'w str,
    opens: Vec<String>,
    may_be_seen: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<&'w str>,
}

#[derive(Deserialize)]
struct Made {
    line: String,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/knock-keys").await?;
    let keys: Vec<KnockKey> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if keys.is_empty() {
        return Ok("There are no knock keys.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "PERSON", "NAME", "FROM", "USED", "OPENS"]);
    for key in keys {
        let person = key.person.unwrap_or_else(|| "(gone)".to_owned());
        let from = if key.may_be_seen { "anywhere" } else { "as said" }.to_owned();
        let used = match (key.used_at, key.used_from) {
            (Some(at), Some(from)) => format!("{} from {from}", relative(at, now)),
            (Some(at), None) => relative(at, now),
            (None, _) => "never".to_owned(),
        };
        let opens = if key.opens.is_empty() { "(the portal)".to_owned() } else { key.opens.join(", ") };
        table.row([key.id.to_string(), person, key.name, from, used, opens]);
    }
    Ok(table.to_string())
}

pub async fn make(owner: &Owner, wish: &Wish) -> Result<Secret<String>, AskError> {
    let Wish { name, opens, may_be_seen, person } = wish;
    let opens = opens.iter().map(ToString::to_string).collect();
    let body = super::people::json(&WishBody { name, opens, may_be_seen: *may_be_seen, person: person.as_deref() })?;
    let made: Made = owner.ask(Method::POST, "/knock-keys", Some(body)).await?.read()?;
    Ok(Secret::new(made.line))
}

pub async fn remove(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/knock-keys/{}", segment(&id.to_string())), None).await?;
    Ok(format!("Knock key {id} opens nothing any more. What it opened stays open until it ends.\n"))
}
