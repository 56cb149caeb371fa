//! `doorward tokens`.

use super::client::segment;
use super::when::relative;
use super::{AskError, Form, Owner, Table};
use doorward_core::Secret;
use doorward_core::authority::Scope;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Token {
    id: i64,
    person: Option<String>,
    title: String,
    scope: Scope,
    services: Option<Vec<String>>,
    until: Timestamp,
    used_at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Wish {
    pub title: String,
    pub scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    token: String,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/tokens").await?;
    let tokens: Vec<Token> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if tokens.is_empty() {
        return Ok("There are no tokens.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "PERSON", "FOR", "MAY", "ENDS", "USED", "SERVICES"]);
    for token in tokens {
        let person = token.person.unwrap_or_else(|| "(gone)".to_owned());
        let services = token.services.map(|services| services.join(", ")).unwrap_or_default();
        let (ends, used) = (relative(token.until, now), relative(token.used_at, now));
        table.row([token.id.to_string(), person, token.title, token.scope.word().to_owned(), ends, used, services]);
    }
    Ok(table.to_string())
}

pub async fn make(owner: &Owner, wish: &Wish) -> Result<Secret<String>, AskError> {
    let body = super::people::json(wish)?;
    let made: Made = owner.ask(Method::POST, "/tokens", Some(body)).await?.read()?;
    Ok(Secret::new(made.token))
}

pub async fn revoke(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/tokens/{}", segment(&id.to_string())), None).await?;
    Ok(format!("Token {id} counts no more.\n"))
}
