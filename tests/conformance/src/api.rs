//! schemathesis against the portal's API, as two tenants and as an owner: it makes requests of the description, and many that
//! are not in it. Nothing may fail inside, and nothing may be answered that is not described.

use crate::tools::run;
use crate::{Chapter, setting};
use anyhow::{Context, Result};
use doorward_control::{
    Control, ControlSettings, Enrolment, InviteRequest, NewPerson, SiteSettings, TokenRequest, WebFace,
};
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::names::{HostName, Label};
use doorward_core::person::Role;
use doorward_core::site::Address;
use doorward_core::{AccountId, Secret};
use doorward_portal::{BackupHook, PortalState};
use jiff::{SignedDuration, Timestamp};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance";

const GENERATED: &str = " generated, ";

pub(crate) async fn run_all() -> Result<Chapter> {
    let directory = tempfile::tempdir()?;
    let control = open(&directory.path().join("data")).await?;
    let mut people = Vec::new();
    for (key, (name, role)) in [("anna", Role::Member), ("ben", Role::Guest), ("olga", Role::Owner)].iter().enumerate()
    {
        let new = NewPerson { name: Label::parse(name)?, title: None, role: *role, ends_at: None };
        let account = control.add_person(new, Timestamp::now()).await?.id;
        furnish(&control, account, u8::try_from(key)? + 1, name).await?;
        people.push((*name, token(&control, account).await?));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let description = format!("http://{}/api/v1/openapi.json", listener.local_addr()?);
    let mut server = JoinSet::new();
    let site = doorward_portal::site(state(control));
    server.spawn(async move { axum::serve(listener, site).await });
    let (mut text, mut failures) =
        ("schemathesis 4.32.5, a hundred examples of each operation:\n\n".to_owned(), Vec::new());
    for (name, token) in people {
        let output = ask(&description, &token).await?;
        let summary = output.lines().find(|line| line.contains(GENERATED)).unwrap_or("nothing was asked").trim();
        text += &format!("- as {name}: {summary}\n");
        if !is_sound(summary) || output.contains("= FAILURES =") || output.contains("= ERRORS =") {
            failures.push(format!("the API, asked as {name}:\n{output}"));
        }
    }
    Ok(Chapter { title: "API", text, failures })
}

/// As `11025 generated, 11025 passed`.
fn is_sound(summary: &str) -> bool {
    let counts = summary.split_once(GENERATED);
    counts.is_some_and(|(generated, passed)| generated != "0" && passed.strip_suffix(" passed") == Some(generated))
}

/// Events never end, and who takes tokens back takes this one back.
async fn ask(description: &str, token: &Secret<String>) -> Result<String> {
    let bearer = format!("Authorization: Bearer {}", token.expose());
    let arguments =
        ["run", description, "--header", &bearer, "--checks", CHECKS, "--no-color", "--continue-on-failure"];
    let left_out = ["--exclude-path", "/events", "--exclude-path", "/tokens/{id}", "--max-examples", "100"];
    run(setting("DOORWARD_SCHEMATHESIS")?, &[&arguments[..], &left_out[..]].concat()).await
}

async fn open(directory: &Path) -> Result<Control> {
    let site = SiteSettings {
        knock: doorward_control::KnockSettings::default(),
        ssh_port: Some(2222),
        domain: Some(HostName::parse("example.org")?),
        web: WebFace::HTTPS,
        port_host: None,
        tcp_ports: 20000..=20009,
        udp_ports: 30000..=30009,
        session_ports: None,
        suffixes: Vec::new(),
        kept_hosts: Vec::new(),
        portal: Some(HostName::parse("portal.example.org")?),
        link_hosts: Vec::new(),
        tls_port: Some(443),
    };
    let settings = ControlSettings { directory: directory.to_owned(), site, now: Timestamp::now() };
    Control::open(settings).await.context("the store")
}

/// A device of theirs, with a service that the tenants may open.
async fn furnish(control: &Control, account: AccountId, key: u8, name: &str) -> Result<()> {
    let now = Timestamp::now();
    let (_, secret) = control.create_invite(account, InviteRequest::default(), now).await?;
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let enrolment = Enrolment { secret, key: [key; 32], suggested_name: format!("{name}-pi"), source };
    let device = control.enrol(enrolment, now).await?;
    let access = r#"{"who": "people", "people": ["anna", "ben"], "how": "on-request"}"#;
    let offer = format!(r#"{{"name": "web", "kind": "http", "access": {access}}}"#);
    control.register(device.id, vec![serde_json::from_str(&offer)?], now).await?;
    Ok(())
}

async fn token(control: &Control, account: AccountId) -> Result<Secret<String>> {
    let limits = TokenLimits { scope: Scope::Manage, services: None };
    let (title, length) = ("schemathesis".to_owned(), SignedDuration::from_hours(5));
    let request = TokenRequest { account, title, limits, length, source: None };
    let made = control.make_token(request, Timestamp::now()).await?;
    Ok(Secret::new(format!("dw_{}", made.token.expose())))
}

/// Backups are not written: the suite would choose where.
fn state(control: Control) -> PortalState {
    let backup: BackupHook = Arc::new(|_| Box::pin(async { Err("no backups here".to_owned()) }));
    let (_, addresses) = watch::channel(Address::parse("gw.example.org").into_iter().collect());
    PortalState { control, addresses, release: "0.0.0", backup, providers: Default::default(), clock: Timestamp::now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_sound_if_all_that_was_asked_passed() {
        assert!(is_sound("11025 generated, 11025 passed"));
        for bad in
            ["0 generated, 0 passed", "9 generated, 8 passed", "9 generated, 8 passed, 1 failed", "nothing was asked"]
        {
            assert!(!is_sound(bad), "{bad}");
        }
    }
}
