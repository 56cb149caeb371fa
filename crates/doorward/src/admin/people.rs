//! `doorward people`.

use super::client::segment;
use super::when::relative;
use super::{AskError, Form, Owner, Table};
use doorward_core::person::Role;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Person {
    name: String,
    title: String,
    role: Role,
    standing: String,
    ends_at: Option<Timestamp>,
    groups: Vec<String>,
    ssh_keys: usize,
    open_sessions: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct New {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

/// What is `None` stays.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// `Some(None)`: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

impl Change {
    pub fn disabled(disabled: bool) -> Self {
        Self { disabled: Some(disabled), ..Self::default() }
    }
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/people").await?;
    let people: Vec<Person> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    let mut table = Table::new(&["NAME", "TITLE", "ROLE", "ENDS", "KEYS", "OPEN", "GROUPS"]);
    for person in people {
        let title = if person.title == person.name { String::new() } else { person.title.clone() };
        let ends = match (person.standing.as_str(), person.ends_at) {
            ("disabled", _) => "disabled".to_owned(),
            (_, Some(at)) => relative(at, now),
            (_, None) => String::new(),
        };
        let number = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        let (keys, open) = (number(person.ssh_keys), number(person.open_sessions));
        table.row([person.name, title, person.role.word().to_owned(), ends, keys, open, person.groups.join(", ")]);
    }
    Ok(table.to_string())
}

pub async fn add(owner: &Owner, new: New) -> Result<String, AskError> {
    let person: Person = owner.ask(Method::POST, "/people", Some(json(&new)?)).await?.read()?;
    let name = &person.name;
    Ok(format!(
        "{}\n`doorward people add-key {name}` gives them SSH keys, `doorward access … set --person {name}` a service.\n",
        said(&person)
    ))
}

pub async fn edit(owner: &Owner, name: &str, change: Change) -> Result<String, AskError> {
    let person: Person = owner.ask(Method::PATCH, &place(name), Some(json(&change)?)).await?.read()?;
    Ok(format!("{}\n", said(&person)))
}

pub async fn remove(owner: &Owner, name: &str) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &place(name), None).await?;
    Ok(format!(
        "{name} is gone, with keys, memberships and sessions. Lines of the audit stay until their time is over.\n"
    ))
}

/// All that is known of somebody, as JSON. Long audits come in pieces, which are joined here.
pub async fn export(owner: &Owner, name: &str) -> Result<String, AskError> {
    let mut whole: Map<String, Value> = owner.get(&format!("{}/data", place(name))).await?.read()?;
    while let Some(after) = whole.get("audit-after").and_then(Value::as_i64) {
        let piece = owner.get(&format!("{}/data?audit-after={after}", place(name))).await?;
        let mut piece: Map<String, Value> = piece.read()?;
        if let (Some(Value::Array(lines)), Some(Value::Array(more))) = (whole.get_mut("audit"), piece.get_mut("audit"))
        {
            lines.append(more);
        }
        whole.insert("audit-after".to_owned(), piece.remove("audit-after").unwrap_or_default());
    }
    whole.remove("audit-after");
    Ok(format!("{:#}\n", Value::Object(whole)))
}

fn said(person: &Person) -> String {
    let until = person.ends_at.map(|at| format!(" until {at}")).unwrap_or_default();
    let disabled = if person.standing == "disabled" { ", disabled" } else { "" };
    format!("{} is {}{until}{disabled}.", person.name, role_with_article(person.role))
}

fn role_with_article(role: Role) -> &'static str {
    match role {
        Role::Owner => "an owner",
        Role::Member => "a member",
        Role::Guest => "a guest",
    }
}

fn place(name: &str) -> String {
    format!("/people/{}", segment(name))
}

pub(super) fn json(value: &impl Serialize) -> Result<serde_json::Value, AskError> {
    serde_json::to_value(value).map_err(|error| AskError::Strange(error.to_string()))
}
