//! Sessions at the gateway, by its owner's command line, and their straight ways.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use doorward_world::{Node, built, site, until};
use serde_json::Value;

use crate::talk::SOON;

/// `doorward …` on the gateway's machine.
pub(crate) fn owner(gateway: &Node, words: &str) -> Result<String> {
    let (program, data) = (built("doorward")?, site::data(gateway));
    gateway.run(&format!("'{}' {words} --data '{}'", program.display(), data.display()))?.ok()
}

/// For anna, who comes from there; the session's number.
pub(crate) fn open(gateway: &Node, service: &str, length: &str, source: IpAddr) -> Result<i64> {
    let words = format!("sessions open zumi/{service} --person anna --for {length} --from {source}");
    until(SOON, "the device's service can be opened", || Ok(owner(gateway, &words).is_ok()))?;
    let sessions = sessions(gateway)?;
    sessions[0]["id"].as_i64().with_context(|| format!("no session: {sessions}"))
}

pub(crate) fn end(gateway: &Node, session: i64) -> Result<()> {
    owner(gateway, &format!("sessions end {session}")).map(drop)
}

/// Those that are open.
pub(crate) fn sessions(gateway: &Node) -> Result<Value> {
    Ok(serde_json::from_str(&owner(gateway, "sessions --json")?)?)
}

/// What is shown of the newest session's straight way once it is so.
pub(crate) fn straight(gateway: &Node, limit: Duration, is_told: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut straight = Value::Null;
    let told = until(limit, "what became of the straight way is shown", || {
        straight = sessions(gateway)?[0]["reach"]["straight"].clone();
        Ok(is_told(&straight))
    });
    told.with_context(|| format!("it is {straight}"))?;
    Ok(straight)
}
