//! Units for systemd (systemd.service(5), systemd.exec(5)), of the machine or of a user. Enabling is the link that
//! `systemctl enable` would make, so that it works in an image too.

use super::Report;
use super::machine::Machine;
use super::service::{Flavour, Part, Service};
use super::unit::Unit;
use anyhow::ensure;
use std::env;
use std::path::{Path, PathBuf};

pub(super) fn text(service: &Service, flavour: Flavour) -> anyhow::Result<String> {
    let part = service.part;
    if part == Part::Router {
        let (description, command) = (part.description(), service.command('"'));
        return Ok(format!(include_str!("router.service"), description = description, command = command));
    }
    let mut command = service.command('"');
    let (mut credentials, mut own_rights) = (String::new(), "CapabilityBoundingSet=");
    if let (Some(file), Flavour::Systemd) = (&service.invite_file, flavour) {
        ensure!(!file.contains([' ', ':']), "{file}: systemd wants a name without spaces and colons here; rename it");
        command += " --invite-file ${CREDENTIALS_DIRECTORY}/invite";
        credentials = format!(include_str!("credentials.part"), file = file);
    } else if let Some(file) = &service.invite_file {
        command += &format!(" --invite-file \"{file}\"");
    }
    if part == Part::Gateway {
        own_rights = "# For the socket of a web server in front.\nRuntimeDirectory=doorward-gateway\n\
                        # For ports below 1024, as 443.\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n\
                        AmbientCapabilities=CAP_NET_BIND_SERVICE";
    }
    Ok(match flavour {
        Flavour::SystemdUser => format!(
            include_str!("user.service"),
            description = part.description(),
            command = command,
            max_files = part.max_files(),
        ),
        Flavour::Systemd | Flavour::Procd | Flavour::Cron => format!(
            include_str!("system.service"),
            description = part.description(),
            command = command,
            credentials = credentials,
            own_rights = own_rights,
            max_files = part.max_files(),
            part = part.name(),
        ),
    })
}

pub(super) fn unit(machine: &Machine, service: &Service, flavour: Flavour) -> anyhow::Result<Unit> {
    Ok(Unit { text: text(service, flavour)?, ..bare_unit(machine, service.part, flavour) })
}

/// Where the unit is and how it is spoken to, without what it says.
pub(super) fn bare_unit(machine: &Machine, part: Part, flavour: Flavour) -> Unit {
    let is_user = flavour == Flavour::SystemdUser;
    let (directory, target) = match is_user {
        true => (machine.config_home.join("systemd/user"), "default.target.wants"),
        false => (PathBuf::from("/etc/systemd/system"), "multi-user.target.wants"),
    };
    let name = format!("{}.service", part.service_name());
    let file = directory.join(&name);
    let command = |words: &[&str]| {
        let scope = is_user.then_some("--user");
        ["systemctl"].into_iter().chain(scope).chain(words.iter().copied()).map(str::to_owned).collect()
    };
    Unit {
        part,
        mode: 0o644,
        text: String::new(),
        links: vec![(directory.join(target).join(&name), file.clone())],
        file,
        reload: Some(command(&["daemon-reload"])),
        start: command(&["start", &name]),
        restart: command(&["restart", &name]),
        stop: command(&["stop", &name]),
    }
}

/// Has the user's services run without the user being logged in.
pub(super) fn linger(machine: &Machine, report: &mut Report) {
    if lingers(machine) {
        return;
    }
    match machine.run(&["loginctl", "enable-linger"]) {
        Ok(()) => report.did("Your services run while you are logged out, too (loginctl enable-linger)"),
        Err(error) => report.note(format!(
            "it runs only while you are logged in, because lingering could not be enabled. Somebody with root can do \
             that: sudo loginctl enable-linger {}. What went wrong: {error:#}",
            user()
        )),
    }
}

pub(super) fn lingers(machine: &Machine) -> bool {
    machine.at(&Path::new("/var/lib/systemd/linger").join(user())).exists()
}

fn user() -> String {
    env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_else(|_| "$USER".to_owned())
}
