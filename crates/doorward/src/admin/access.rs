//! `doorward access`: who may use a service.

use super::client::segment;
use super::services::{self, Service, hours, networks, who};
use super::when::span;
use super::{AskError, Form, Owner, ServicePath, Table};
use anyhow::{anyhow, bail};
use doorward_control::passwords;
use doorward_core::Secret;
use doorward_core::access::{
    ApprovalDocument, HowDocument, LimitsDocument, Need, PolicyDocument, ScheduleDocument, WhoDocument,
};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

/// A whole policy as the flags say it.
#[derive(Debug)]
pub struct Wish {
    pub who: WhoWish,
    pub from: Vec<String>,
    pub open: Vec<String>,
    pub zone: Option<String>,
    pub rules: Rules,
}

/// What is said beside who, from where and when.
#[derive(Debug, Default)]
pub struct Rules {
    pub needs: Vec<Need>,
    pub approval: Option<ApprovalDocument>,
    pub is_exclusive: bool,
    pub take_over: Vec<String>,
    pub takes_first_comers: bool,
    pub limits: Option<LimitsDocument>,
    /// How long share links may last; `None`: there are none.
    pub share_links: Option<String>,
    pub open_paths: Vec<String>,
    /// Whether people may come by client certificates.
    pub certificates: bool,
}

#[derive(Debug)]
pub enum WhoWish {
    Public,
    Nobody,
    People(PeopleWish),
    Senders,
    /// By user name.
    Passwords(Vec<(String, Secret<String>)>),
}

#[derive(Debug, Default)]
pub struct PeopleWish {
    pub people: Vec<String>,
    pub groups: Vec<String>,
    /// A session must be opened.
    pub is_on_request: bool,
    pub max_duration: Option<String>,
    pub max_idle: Option<String>,
}

impl Wish {
    /// Slow: hashes the passwords.
    pub fn into_document(self) -> anyhow::Result<PolicyDocument> {
        let Self { who, from, open, zone, rules } = self;
        let mut document = PolicyDocument {
            from: (!from.is_empty()).then_some(from),
            share_links: rules.share_links,
            open_paths: rules.open_paths,
            certificates: rules.certificates,
            when: zone.map(|zone| ScheduleDocument { zone, open }),
            needs: rules.needs,
            approval: rules.approval,
            exclusive: rules.is_exclusive,
            take_over: rules.take_over,
            first_comer: rules.takes_first_comers,
            limits: rules.limits,
            ..PolicyDocument::default()
        };
        match who {
            WhoWish::Public => document.who = WhoDocument::Public,
            WhoWish::Nobody => document.who = WhoDocument::Nobody,
            WhoWish::Senders => document.who = WhoDocument::Senders,
            WhoWish::People(wish) => {
                document.who = WhoDocument::People;
                (document.people, document.groups) = (wish.people, wish.groups);
                document.how = wish.is_on_request.then_some(HowDocument::OnRequest);
                (document.max_duration, document.max_idle) = (wish.max_duration, wish.max_idle);
            }
            WhoWish::Passwords(given) => {
                document.who = WhoDocument::Password;
                for (user, password) in given {
                    if document.passwords.insert(user.clone(), passwords::hash(&password)).is_some() {
                        bail!("--password {user} is there twice: a user has one password");
                    }
                }
            }
        }
        // Its message says all; the cause would say it once more.
        document.to_policy().map_err(|error| anyhow!("{error}"))?;
        Ok(document)
    }
}

pub async fn show(owner: &Owner, path: &ServicePath) -> Result<String, AskError> {
    Ok(description(&services::find(owner, path).await?))
}

pub async fn set(owner: &Owner, path: &ServicePath, document: &PolicyDocument) -> Result<String, AskError> {
    let body = serde_json::to_value(document).map_err(|error| AskError::Strange(error.to_string()))?;
    let service: Service = owner.ask(Method::PUT, &place(path), Some(body)).await?.read()?;
    Ok(description(&service))
}

/// What the device declares counts again.
pub async fn reset(owner: &Owner, path: &ServicePath) -> Result<String, AskError> {
    let service: Service = owner.ask(Method::DELETE, &place(path), None).await?.read()?;
    Ok(description(&service))
}

/// Which of the people here would be let in now.
pub async fn who_now(owner: &Owner, path: &ServicePath, form: Form, now: Timestamp) -> Result<String, AskError> {
    let place = format!("/services/{}/{}/people", segment(&path.device), segment(&path.service));
    let answer = owner.get(&place).await?;
    let people: Vec<Foretold> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    let mut table = Table::new(&["PERSON", "NOW", "WHY NOT"]);
    for Foretold { person, admitted, until, why } in people {
        let answer = match (admitted, until) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, Some(until)) => format!("yes, for {}", span(until.duration_since(now))),
        };
        table.row([person, answer, why.unwrap_or_default()]);
    }
    Ok(table.to_string())
}

#[derive(Debug, Deserialize)]
struct Foretold {
    person: String,
    admitted: bool,
    until: Option<Timestamp>,
    why: Option<String>,
}

fn place(path: &ServicePath) -> String {
    format!("/services/{}/{}/access", segment(&path.device), segment(&path.service))
}

fn description(service: &Service) -> String {
    let access = &service.access;
    let from = access.from.as_ref().map_or_else(|| "anywhere".to_owned(), |from| networks(from));
    let open = match &access.when {
        Some(when) => format!("{} ({})", hours(&when.open), when.zone),
        None => "always".to_owned(),
    };
    let home = match service.access_home.as_str() {
        "device" => "the device, in its agent.toml".to_owned(),
        _ => "this gateway; `… reset` leaves it to the device".to_owned(),
    };
    let mut lines = vec![("who", who(access)), ("from", from), ("open", open), ("decided by", home)];
    lines.extend(services::rules(access));
    lines.extend(access.share_links.iter().map(|longest| ("share links", format!("for {longest} at most"))));
    lines.extend(service.reached_by.iter().map(|place| ("reached at", place.clone())));
    let mut text = format!("{}\n", service.path());
    for (key, value) in lines {
        text += &format!("  {key:<11} {}\n", crate::terminal::plain(&value));
    }
    text
}
