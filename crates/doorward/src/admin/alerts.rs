//! `doorward alerts`: where notices go, and whether they arrive.

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use doorward_control::AlertDestination;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Delivered {
    name: String,
    kind: String,
    arrived: bool,
    trouble: Option<String>,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/alerts").await?;
    let known: BTreeMap<String, AlertDestination> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if known.is_empty() {
        return Ok(
            "Nobody is told anything. [[alert]] in gateway.toml says who: docs/audit-and-alerts.md.\n".to_owned()
        );
    }
    let mut table = Table::new(&["TO", "BY", "SENT", "LAST", "FAILED", "WAITING", "TROUBLE"]);
    for (name, known) in known {
        let last = known.sent_at.map_or_else(|| "never".to_owned(), |at| relative(at, now));
        let failed = (known.failed + known.dropped).to_string();
        let trouble = known.trouble.unwrap_or_default();
        table.row([name, known.kind, known.sent.to_string(), last, failed, known.waiting.to_string(), trouble]);
    }
    Ok(table.to_string())
}

/// Fails if one of them did not arrive.
pub async fn test(owner: &Owner) -> anyhow::Result<String> {
    let delivered: Vec<Delivered> = owner.ask(Method::POST, "/alerts/test", None).await?.read()?;
    let line = |to: &Delivered| match &to.trouble {
        None => format!("{} ({}): it arrived\n", to.name, to.kind),
        Some(why) => format!("{} ({}): {why}\n", to.name, to.kind),
    };
    let text: String = delivered.iter().map(line).collect();
    let text = text.lines().map(|line| crate::terminal::plain(line) + "\n").collect::<String>();
    if delivered.iter().all(|to| to.arrived) { Ok(text) } else { anyhow::bail!("not all of them arrived:\n{text}") }
}

/// For `doorward status`.
pub(super) fn at_a_glance(known: &BTreeMap<String, AlertDestination>) -> String {
    if known.is_empty() {
        return "nobody is told anything".to_owned();
    }
    let word = |(name, known): (&String, &AlertDestination)| match &known.trouble {
        None => name.clone(),
        Some(_) => format!("{name} (!)"),
    };
    let lost: u64 = known.values().map(|known| known.failed + known.dropped).sum();
    let lost = if lost > 0 { format!("; {lost} were given up (`doorward alerts`)") } else { String::new() };
    format!("{}{lost}", known.iter().map(word).collect::<Vec<_>>().join(", "))
}
