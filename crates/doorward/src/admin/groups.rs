//! `doorward groups`.

use super::client::segment;
use super::{AskError, Form, Owner, Table};
use http::Method;
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    title: String,
    people: Vec<String>,
}

/// People by name.
#[derive(Clone, Debug)]
pub enum Change {
    Add(Vec<String>),
    Take(Vec<String>),
}

pub async fn list(owner: &Owner, form: Form) -> Result<String, AskError> {
    let answer = owner.get("/groups").await?;
    let groups: Vec<Group> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if groups.is_empty() {
        return Ok("There is no group yet. `doorward groups create NAME PERSON…` makes one.\n".to_owned());
    }
    let mut table = Table::new(&["NAME", "TITLE", "PEOPLE"]);
    for group in groups {
        let title = if group.title == group.name { String::new() } else { group.title };
        table.row([group.name, title, group.people.join(", ")]);
    }
    Ok(table.to_string())
}

pub async fn create(owner: &Owner, name: &str, people: &[String]) -> Result<String, AskError> {
    let group: Group =
        owner.ask(Method::POST, "/groups", Some(json!({ "name": name, "people": people }))).await?.read()?;
    Ok(said(&group))
}

pub async fn change(owner: &Owner, name: &str, change: Change) -> Result<String, AskError> {
    let body = match change {
        Change::Add(people) => json!({ "add": people }),
        Change::Take(people) => json!({ "remove": people }),
    };
    let group: Group = owner.ask(Method::PATCH, &place(name), Some(body)).await?.read()?;
    Ok(said(&group))
}

pub async fn remove(owner: &Owner, name: &str) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &place(name), None).await?;
    Ok(format!("There is no group {name} any more. Policies that name it mean nobody by it.\n"))
}

fn said(group: &Group) -> String {
    let people = if group.people.is_empty() { "nobody".to_owned() } else { group.people.join(", ") };
    format!("In {}: {people}.\n", group.name)
}

fn place(name: &str) -> String {
    format!("/groups/{}", segment(name))
}
