//! The gateway's machine: what the running gateway reports, and what can be seen beside it.

use super::firewall::Firewall;
use super::{Finding, certificate, clock, files, home, names, orders};
use crate::admin::devices::{self, Device, Link};
use crate::admin::services::{self, Service};
use crate::admin::status::{self, PortStatus, Status};
use crate::admin::when::span;
use crate::admin::{AskError, Owner, authority};
use doorward_control::{PortState, Reachability};
use doorward_core::hop::HopFailure;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(4);
/// Enough for some days of audit and a backup.
const LEAST_FREE: u64 = 100 * 1024 * 1024;

pub(super) async fn examine(owner: &Owner) -> Vec<Finding> {
    let owner = owner.clone().patient(ANSWER);
    let status = match status::read(&owner).await {
        Ok(status) => status,
        Err(error) => return vec![not_running(&owner, &error)],
    };
    let reports = tokio::try_join!(devices::all(&owner), services::all(&owner));
    let mut findings = vec![running(&owner, &status)];
    findings.push(store(&owner).await);
    findings.push(disk(owner.directory()));
    findings.extend(files::examine(&owner.socket()));
    findings.push(site_key(&status));
    let clock = async { clock::examine(newest_deed(&owner).await).await };
    let own = authority::find(&owner).await.ok().flatten();
    let shown = certificate::examine(&status, own.as_ref());
    let (named, shown, clock) = tokio::join!(names::examine(&status), shown, clock);
    findings.extend(named);
    findings.extend(shown);
    findings.push(clock);
    let firewall = Firewall::detect().await;
    findings.extend(ports(&status.ports, firewall));
    findings.extend(home::about(&status));
    let now = Timestamp::now();
    findings.extend(orders::about(&status.certificates, now));
    findings.extend(own.and_then(|own| certificate::about_own(&own, &status, now)));
    match reports {
        Ok((devices, services)) => {
            findings.extend(about_devices(&devices, now));
            findings.extend(about_services(&services, &devices, now));
        }
        Err(error) => findings.push(Finding::wrong("gateway", error.to_string(), "look at its log")),
    }
    findings
}

fn not_running(owner: &Owner, error: &AskError) -> Finding {
    match error {
        AskError::NoGateway { directory, .. } => {
            let what = format!("it does not run with {}", directory.display());
            Finding::wrong(
                "gateway",
                what,
                "start it: `doorward serve`, or `sudo systemctl start doorward-gateway` where it was installed",
            )
        }
        AskError::NotAllowed { .. } | AskError::Socket { .. } => {
            Finding::wrong("gateway", error.to_string(), "run doctor as the user that runs the gateway")
        }
        // It is asked over its socket alone.
        AskError::Unreachable { .. }
        | AskError::LoggedOut { .. }
        | AskError::Login(_)
        | AskError::Silent { .. }
        | AskError::Refused { .. }
        | AskError::Strange(_) => {
            let what = format!("it does not answer as it should on {}: {error}", owner.socket().display());
            Finding::wrong("gateway", what, "look at its log, then start it anew")
        }
    }
}

fn running(owner: &Owner, status: &Status) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let what = format!("release {} runs with {}", status.release, owner.directory().display());
    if status.release == own {
        return Finding::fine("gateway", what);
    }
    Finding::note("gateway", format!("{what}, and this program is {own}"), "start the gateway anew after an update")
}

/// Reading the audit writes what is pending of it and reads from the disk.
async fn store(owner: &Owner) -> Finding {
    match owner.get("/audit?limit=1").await {
        Ok(_) => Finding::fine("store", "it can be written and read"),
        Err(error) => Finding::wrong("store", error.to_string(), "look at the disk and the gateway's log"),
    }
}

async fn newest_deed(owner: &Owner) -> Option<Timestamp> {
    #[derive(serde::Deserialize)]
    struct Entry {
        at: Timestamp,
    }
    let entries: Vec<Entry> = owner.get("/audit?limit=1").await.ok()?.read().ok()?;
    entries.first().map(|entry| entry.at)
}

fn disk(directory: &Path) -> Finding {
    let free = rustix::fs::statvfs(directory).map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    match free {
        Ok(free) if free < LEAST_FREE => {
            let what = format!("only {} MiB are free where {} is", free >> 20, directory.display());
            Finding::wrong("disk", what, "free some space: a full disk refuses every change")
        }
        Ok(free) => Finding::fine("disk", format!("{} MiB are free", free >> 20)),
        Err(error) => Finding::note("disk", format!("its free space is unknown: {error}"), "look with `df`"),
    }
}

fn site_key(status: &Status) -> Finding {
    let active: String = status.site_key.chars().take(16).collect();
    if status.site_key_successor.is_none() {
        return Finding::fine("site key", format!("{active}… is in use"));
    }
    if status.site_key_awaited.is_empty() {
        let what = "every device has stored the next one";
        return Finding::note("site key", what, "put it in use: `doorward site-key activate`");
    }
    let what = format!("the next one is not known to be stored by {}", status.site_key_awaited.join(", "));
    Finding::note("site key", what, "bring them online before `doorward site-key activate`")
}

pub(super) fn ports(ports: &[PortStatus], firewall: Firewall) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut open, mut unseen) = (0, Vec::new());
    for port in ports {
        let name = format!("{}/{}", port.protocol, port.port);
        let whose = port.service.as_ref().map(|service| format!(" ({service})")).unwrap_or_default();
        match (&port.state, &port.reachability) {
            (Some(PortState::Failed { why }), _) => {
                findings.push(Finding::wrong(
                    "port",
                    format!("{name}{whose} cannot be opened: {why}"),
                    unbound(port, why),
                ));
            }
            (_, Some(Reachability::Unreachable { detail })) => {
                let what = format!("{name}{whose} is closed from outside: {detail}");
                findings.push(Finding::wrong("port", what, firewall.remedy(&port.protocol, port.port)));
            }
            (_, Some(Reachability::Reachable)) => open += 1,
            (_, None) => unseen.push(name),
        }
    }
    if open > 0 {
        findings.push(Finding::fine("ports", format!("a device outside reached {open} of them")));
    }
    if !unseen.is_empty() {
        let what = format!("nobody outside has looked at {} yet", unseen.join(", "));
        findings.push(Finding::note(
            "ports",
            what,
            "TCP ports are looked at when a device connects, UDP ports never: try one from outside",
        ));
    }
    findings
}

fn unbound(port: &PortStatus, why: &str) -> String {
    if why.to_ascii_lowercase().contains("permission") {
        return "give the gateway the right to low ports: `setcap cap_net_bind_service=+ep` on the binary, or run it by its unit".to_owned();
    }
    let letter = if port.protocol == "udp" { 'u' } else { 't' };
    format!(
        "see who has it: `ss -ln{letter}p 'sport = :{0}'`; end that, or `doorward release {1}/{0}`",
        port.port, port.protocol
    )
}

pub(super) fn about_devices(devices: &[Device], now: Timestamp) -> Vec<Finding> {
    let active: Vec<_> = devices.iter().filter(|device| device.revoked_at.is_none()).collect();
    if active.is_empty() {
        return vec![Finding::note("devices", "none has joined", "make an invite: `doorward invite`")];
    }
    let online = active.iter().filter(|device| matches!(device.link, Link::Online { .. })).count();
    let mut findings = vec![Finding::fine("devices", format!("{online} of {} are online", active.len()))];
    for device in active {
        let since = match &device.link {
            Link::Online { .. } => continue,
            Link::Offline { since: Some(at) } => format!("for {}", span(at.duration_until(now))),
            Link::Offline { since: None } => "and was never seen".to_owned(),
        };
        let what = format!("{} is offline {since}", device.name);
        findings.push(Finding::note(
            "device",
            what,
            "if it should be on: look at its power and network, and run `doorward doctor` there",
        ));
    }
    findings
}

pub(super) fn about_services(services: &[Service], devices: &[Device], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in services.iter().filter(|service| service.standing == "offered") {
        let is_online = devices.iter().any(|d| d.name == service.device && matches!(d.link, Link::Online { .. }));
        let preparing = service.preparation.as_ref().filter(|preparation| preparation.error.is_some() && is_online);
        if let Some(words) = preparing.and_then(|preparation| preparation.words(now)) {
            let remedy =
                format!("mend that step of agent.toml on {}, and try it with `doorward doctor` there", service.device);
            findings.push(Finding::wrong("service", format!("{}: {words}", service.path()), remedy));
            continue;
        }
        let Some(failure) = service.failure.as_ref().filter(|_| is_online) else { continue };
        let what =
            format!("{} fails for {}: {}", service.path(), span(failure.since.duration_until(now)), failure.what);
        findings.push(Finding::wrong("service", what, after(failure.hop, &service.device)));
    }
    let offered = services.iter().filter(|service| service.standing == "offered").count();
    if findings.is_empty() && offered > 0 {
        findings.push(Finding::fine("services", format!("{offered} are offered, and no visit failed lately")));
    }
    findings
}

fn after(failure: HopFailure, device: &str) -> String {
    match failure {
        HopFailure::DeviceOffline => format!("bring {device} online"),
        HopFailure::AgentSilent => format!("look at the agent's log on {device}, and start it anew"),
        HopFailure::AgentRefused => {
            format!("put it back into agent.toml on {device}, or let it go with `doorward release`")
        }
        HopFailure::TargetRefused => format!("start the service on {device}, or correct its target in agent.toml"),
        HopFailure::TargetTimedOut => {
            format!("look at the service on {device}: it takes connections, and says nothing")
        }
        HopFailure::TargetUnreachable => {
            format!("correct its target in agent.toml on {device}, or look at the network there")
        }
        HopFailure::NotReady => format!("look at what the agent's log on {device} says of its steps"),
        HopFailure::Busy => "wait, or raise the limits in gateway.toml".to_owned(),
    }
}
