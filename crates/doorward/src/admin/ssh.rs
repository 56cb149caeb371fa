//! `doorward devices add-key`, `people add-key`, `ssh-keys` and `ssh-host-key`.

use super::client::segment;
use super::when::relative;
use super::{AskError, Form, Owner, Table};
use anyhow::anyhow;
use data_encoding::HEXLOWER;
use doorward_control::KeyFingerprint;
use doorward_core::ssh::PublicKey;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;
use std::net::IpAddr;

/// Whose keys are added.
#[derive(Clone, Debug)]
pub enum Holder {
    Device(String),
    Person(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Key {
    fingerprint: String,
    kind: String,
    device: Option<String>,
    person: Option<String>,
    port: Option<u16>,
    counts: bool,
    added_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Added {
    added: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HostKeys {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    keys: Vec<String>,
}

impl HostKeys {
    pub(super) async fn ask(owner: &Owner) -> Result<Self, AskError> {
        owner.get("/ssh-host-keys").await?.read()
    }

    /// As known_hosts names the gateway (sshd(8)).
    fn named(&self, port: u16) -> String {
        if port == 22 { self.host.clone() } else { format!("[{}]:{port}", self.host) }
    }

    /// The lines for known_hosts.
    pub(super) fn known_hosts(&self, port: u16) -> Vec<String> {
        self.keys.iter().map(|key| format!("{} {key}", self.named(port))).collect()
    }
}

pub(super) const NOTHING_OPEN: &str = "Nothing is open for SSH: set `ssh` under [listen] in gateway.toml.\n";

/// `keys`: the text of a .pub or authorized_keys file.
pub async fn add(owner: &Owner, holder: &Holder, keys: &str) -> Result<String, AskError> {
    let (body, whose) = match holder {
        Holder::Device(name) => (json!({ "device": name, "keys": keys }), format!("device {name}")),
        Holder::Person(name) => (json!({ "person": name, "keys": keys }), name.clone()),
    };
    let Added { added } = owner.ask(Method::POST, "/ssh-keys", Some(body)).await?.read()?;
    Ok(match added {
        0 => format!("Nothing was new: these are keys of {whose} already.\n"),
        1 => format!("One key more is {whose}'s.\n"),
        more => format!("{more} keys more are {whose}'s.\n"),
    })
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/ssh-keys").await?;
    let keys: Vec<Key> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if keys.is_empty() {
        return Ok("No SSH key is known yet. `doorward people add-key NAME` and `doorward devices add-key NAME` add \
                   some, `ssh … join` makes one a device's. `doorward devices token NAME` makes a password.\n"
            .to_owned());
    }
    let mut table = Table::new(&["WHOSE", "KIND", "FINGERPRINT", "ADDED", ""]);
    for key in keys {
        let whose = match (key.person, key.device, key.port) {
            (Some(person), _, _) => person,
            (None, Some(device), None) => format!("device {device}"),
            (None, Some(device), Some(port)) => format!("whoever sends to {device}:{port}"),
            (None, None, _) => String::new(),
        };
        let state = if key.counts { "" } else { "refused" };
        table.row([whose, key.kind, key.fingerprint, relative(key.added_at, now), state.to_owned()]);
    }
    Ok(table.to_string())
}

pub async fn remove(owner: &Owner, fingerprint: &str) -> Result<String, AskError> {
    let path = format!("/ssh-keys/{}", segment(fingerprint));
    owner.ask(Method::DELETE, &path, None).await?;
    Ok(format!("{fingerprint} is nobody's from now on, and its connections are ended.\n"))
}

/// What clients check the gateway by.
pub async fn host_key(owner: &Owner) -> anyhow::Result<String> {
    known_by(&HostKeys::ask(owner).await?)
}

fn known_by(gateway: &HostKeys) -> anyhow::Result<String> {
    let mut text = String::new();
    let Some(port) = gateway.port else { return Ok(NOTHING_OPEN.to_owned()) };
    let host = &gateway.host;
    let is_name = host.parse::<IpAddr>().is_err();
    for (line, known) in gateway.keys.iter().zip(gateway.known_hosts(port)) {
        let key: PublicKey = line.parse().map_err(|error| anyhow!("{error}"))?;
        let fingerprint = KeyFingerprint::of(&key);
        writeln!(text, "{fingerprint} ({})", key.kind())?;
        writeln!(text, "\nFor ~/.ssh/known_hosts on clients:\n\n{known}")?;
        if let Some(algorithm) = sshfp_algorithm(key.kind()).filter(|_| is_name) {
            // RFC 4255, RFC 6594: 2 is SHA-256.
            writeln!(text, "\nFor DNS:\n\n{host}. IN SSHFP {algorithm} 2 {}", HEXLOWER.encode(&fingerprint.0))?;
        }
    }
    Ok(text)
}

/// Numbers of RFC 4255, RFC 6594 and RFC 7479.
fn sshfp_algorithm(kind: &str) -> Option<u8> {
    match kind {
        "ssh-rsa" => Some(1),
        "ssh-ed25519" => Some(4),
        kind if kind.starts_with("ecdsa-") => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

    fn printed(host: &str, port: u16) -> String {
        known_by(&HostKeys { host: host.into(), port: Some(port), keys: vec![KEY.into()] }).unwrap()
    }

    #[test]
    fn records_for_dns_are_those_that_ssh_keygen_makes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), KEY).unwrap();
        let mut keygen = std::process::Command::new("ssh-keygen");
        let made = keygen.args(["-r", "gw.example.org.", "-f"]).arg(file.path()).output().unwrap();
        let made = String::from_utf8(made.stdout).unwrap();
        let ours = printed("gw.example.org", 2222);
        let ours = ours.lines().find(|line| line.contains("SSHFP")).unwrap();
        assert!(made.lines().any(|line| line == ours), "{ours}\n{made}");
        assert!(!printed("192.0.2.1", 2222).contains("SSHFP"), "an address has no such records");
    }

    #[test]
    fn a_line_for_known_hosts_names_the_port_where_it_is_not_the_usual_one() {
        assert!(printed("gw.example.org", 22).contains(&format!("\ngw.example.org {KEY}\n")));
        assert!(printed("gw.example.org", 2222).contains(&format!("\n[gw.example.org]:2222 {KEY}\n")));
        assert!(printed("2001:db8::1", 2222).contains(&format!("\n[2001:db8::1]:2222 {KEY}\n")));
    }
}
