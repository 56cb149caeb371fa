//! `doorward audit`: who did what, the newest first; and its chain, here and elsewhere.

mod copy;

pub use copy::{CopyError, export, verify_file};

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use doorward_control::{Anchor, ChainedLine, LineHash};
use doorward_core::audit::Line;
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// Which lines; `None` leaves the choice open.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub person: Option<String>,
    pub service: Option<String>,
    pub device: Option<String>,
    pub deed: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub(super) after: Anchor,
    pub(super) lines: Vec<ChainedLine>,
}

#[derive(Deserialize)]
struct Soundness {
    sound: bool,
    lines: u64,
    after: Anchor,
    head: Anchor,
    broken: Option<String>,
}

const FOLLOWED_EVERY: Duration = Duration::from_secs(1);
pub(super) const PAGE: u32 = 2_000;

pub async fn list(owner: &Owner, choice: &Choice, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get(&format!("/audit?{}", choice.query())).await?;
    let lines: Vec<ChainedLine> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if lines.is_empty() {
        return Ok(choice.nothing().to_owned());
    }
    let mut table = Table::new(&["WHEN", "DEED", "WHO", "OF", "FROM", "DETAIL"]);
    for ChainedLine { line, .. } in lines {
        let detail = in_words(&line);
        table.row([relative(line.at, now), line.deed, line.person, line.subject, line.source, detail]);
    }
    Ok(table.to_string())
}

/// Prints lines as they are written down, until it is interrupted or `print` wants no more.
pub async fn follow(
    owner: &Owner,
    choice: &Choice,
    form: Form,
    mut print: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let newest: Vec<ChainedLine> = owner.get("/audit?limit=1").await?.read()?;
    let mut next = newest.first().map_or(0, |newest| newest.line.id + 1);
    loop {
        let part: Part = owner.get(&format!("/audit/part?from={next}&limit={PAGE}")).await?.read()?;
        for chained in part.lines {
            next = chained.line.id + 1;
            if choice.names(&chained.line) {
                print(&match form {
                    Form::Json => format!("{}\n", serde_json::to_string(&chained)?),
                    Form::Table => one_line(&chained.line),
                })?;
            }
        }
        tokio::time::sleep(FOLLOWED_EVERY).await;
    }
}

/// Whether the chain is whole, and what it comes to. `expected`: a hash that was written down elsewhere.
pub async fn verify(owner: &Owner, expected: Option<LineHash>) -> anyhow::Result<String> {
    let owner = owner.clone().patient(Duration::from_secs(600));
    let found: Soundness = owner.get("/audit/verify").await?.read()?;
    if let Some(broken) = found.broken.filter(|_| !found.sound) {
        anyhow::bail!("the audit was changed: {broken}. The {} lines before it are as they were written", found.lines);
    }
    if let Some(expected) = expected {
        copy::look_for(&owner, expected).await?;
    }
    Ok(sound(found.lines, found.after, found.head))
}

pub(super) fn sound(lines: u64, after: Anchor, head: Anchor) -> String {
    let before = match after.id {
        0 => String::new(),
        1 => " The first was forgotten.".to_owned(),
        id => format!(" The first {id} were forgotten."),
    };
    format!(
        "{lines} lines are as they were written.{before}\nThe last is {} with the hash\n{}\nKept elsewhere, it proves later \
         that nothing up to it was rewritten: `doorward audit verify --expect HASH`.\n",
        head.id, head.hash
    )
}

impl Choice {
    fn query(&self) -> String {
        let names =
            [("person", &self.person), ("service", &self.service), ("device", &self.device), ("deed", &self.deed)];
        let names = names.into_iter().filter_map(|(key, value)| Some((key, super::client::segment(value.as_deref()?))));
        let times = [("since", self.since), ("until", self.until)];
        let times = times.into_iter().filter_map(|(key, at)| Some((key, at?.to_string())));
        let all = names.chain(times).chain([("limit", self.limit.to_string())]);
        all.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    }

    fn is_any(&self) -> bool {
        let Self { person, service, device, deed, since, until, limit: _ } = self;
        let are_names_open = [person, service, device, deed].iter().all(|name| name.is_none());
        are_names_open && since.is_none() && until.is_none()
    }

    fn nothing(&self) -> &'static str {
        if self.is_any() { "Nothing was written down yet.\n" } else { "Nothing of that kind was written down.\n" }
    }

    /// As the gateway chooses, where lines come by themselves.
    fn names(&self, line: &Line) -> bool {
        let is = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        let subject = line.subject.as_str();
        is(&self.person, &|name| line.person == name || (subject == name && line.deed.starts_with("person-")))
            && is(&self.service, &|name| subject == name || subject.rsplit_once('/').is_some_and(|(_, of)| of == name))
            && is(&self.device, &|name| subject == name || subject.split_once('/').is_some_and(|(of, _)| of == name))
            && is(&self.deed, &|word| {
                line.deed.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
            && self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
    }
}

fn in_words(line: &Line) -> String {
    let times = if line.count > 1 { format!("{}×", line.count) } else { String::new() };
    let grounds = if line.grounds.is_empty() { String::new() } else { format!("by {}", line.grounds) };
    let bytes = if line.up + line.down > 0 { format!("{} B in, {} B out", line.up, line.down) } else { String::new() };
    let parts = [times, line.detail.clone(), grounds, bytes, line.ending.clone()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn one_line(line: &Line) -> String {
    let parts = [line.deed.clone(), line.person.clone(), line.subject.clone(), line.source.clone(), in_words(line)];
    let said = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
    format!("{}  {}\n", line.at.strftime("%Y-%m-%dT%H:%M:%SZ"), crate::terminal::plain(&said))
}
