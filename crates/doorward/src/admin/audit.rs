//! `doorward audit`: who did what, the newest first.

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    at: Timestamp,
    deed: String,
    subject: String,
    detail: String,
    source: String,
    count: u64,
}

pub async fn list(owner: &Owner, limit: u32, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get(&format!("/audit?limit={limit}")).await?;
    let entries: Vec<Entry> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if entries.is_empty() {
        return Ok("Nothing was written down yet.\n".to_owned());
    }
    let mut table = Table::new(&["WHEN", "DEED", "OF", "FROM", "DETAIL"]);
    for entry in entries {
        let times = if entry.count > 1 { format!("{}× ", entry.count) } else { String::new() };
        let detail = format!("{times}{}", entry.detail);
        table.row([relative(entry.at, now), entry.deed, entry.subject, entry.source, detail]);
    }
    Ok(table.to_string())
}
