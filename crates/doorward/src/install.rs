//! `doorward install` and `doorward uninstall`: a service that starts with the machine, for whatever starts services
//! there. Everything written carries a `mark`, and only what carries it is ever replaced or removed.
//!
//! No secret is written anywhere: an invite is named by its file.

mod cron;
mod machine;
mod mark;
mod procd;
mod program;
mod service;
mod systemd;
#[cfg(test)]
mod tests;
mod unit;

use anyhow::{Context, ensure};
use machine::Machine;
use service::Service;
pub use service::{Flavour, Part};
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct InstallOptions {
    pub part: Part,
    /// `None`: whatever starts services here.
    pub flavour: Option<Flavour>,
    /// The settings file to run with; `None`: the usual place.
    pub config: Option<PathBuf>,
    /// For images: the agent joins with the invite in this file at its first start.
    pub invite_file: Option<PathBuf>,
    /// The program to start, already in place; `None`: the running one, or its copy.
    pub program: Option<PathBuf>,
    /// Copies the running program to where programs belong, and starts that.
    pub copy: bool,
    /// Uses a program that will probably vanish; replaces files that `install` did not write.
    pub force: bool,
    /// Starts it now, not only with the machine.
    pub start: bool,
    /// The file tree of another system, as a mounted image: files are written there, nothing is started.
    pub root: Option<PathBuf>,
}

impl InstallOptions {
    pub fn new(part: Part) -> Self {
        Self {
            part,
            flavour: None,
            config: None,
            invite_file: None,
            program: None,
            copy: false,
            force: false,
            start: true,
            root: None,
        }
    }

    fn machine(&self) -> anyhow::Result<Machine> {
        self.root.as_deref().map_or_else(|| Ok(Machine::here()), Machine::image)
    }
}

/// What was done, and what the person should know. Displayed as lines for a terminal.
#[derive(Debug, Default)]
pub struct Report {
    pub done: Vec<String>,
    pub notes: Vec<String>,
}

impl Report {
    fn did(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    fn note(&mut self, what: impl Into<String>) {
        let note = what.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.done.iter().try_for_each(|line| writeln!(to, "{line}."))?;
        self.notes.iter().try_for_each(|line| writeln!(to, "\nNote: {line}."))
    }
}

/// Writes the service, has it start with the machine and, if wished, now. Doing it again changes only what differs.
pub fn install(options: &InstallOptions) -> anyhow::Result<Report> {
    install_on(&options.machine()?, options)
}

/// Stops and removes what `install` wrote. Keys, settings and stores stay; the report names them.
pub fn uninstall(options: &InstallOptions) -> anyhow::Result<Report> {
    uninstall_on(&options.machine()?, options)
}

/// What `install` would write, for reading and for packages.
pub fn preview(options: &InstallOptions) -> anyhow::Result<String> {
    let machine = options.machine()?;
    let flavour = options.flavour.map_or_else(|| machine.flavour(), Ok)?;
    ensure_possible(options.part, flavour)?;
    let service = Service::new(options, &program::shown(&machine, options, flavour)?)?;
    match flavour {
        Flavour::Systemd | Flavour::SystemdUser => systemd::text(&service, flavour),
        Flavour::Procd => Ok(procd::text(&service)),
        Flavour::Cron => Ok(cron::line(&service, None) + "\n"),
    }
}

fn install_on(machine: &Machine, options: &InstallOptions) -> anyhow::Result<Report> {
    let flavour = options.flavour.map_or_else(|| machine.flavour(), Ok)?;
    ensure!(
        !machine.is_image || matches!(flavour, Flavour::Systemd | Flavour::Procd),
        "--root writes a system service; a user's own service and crontab can only be made while that system runs"
    );
    ensure_possible(options.part, flavour)?;
    let mut report = Report::default();
    let program = program::choose(machine, options, flavour)?;
    // Everything is checked before anything is written.
    let service = Service::new(options, &program.path)?;
    tell_readability(machine, &service, flavour, &mut report);
    tell_doubles(machine, options.part, flavour, &mut report);
    let is_new_program = program.put_in_place(machine, &mut report)?;
    let copied = program::copied_to(machine, options.part, &program);
    let wish = Wish { copied, is_new_program, force: options.force, start: options.start && !machine.is_image };
    match flavour {
        Flavour::Systemd | Flavour::SystemdUser => {
            unit::install(machine, systemd::unit(machine, &service, flavour)?, &wish, &mut report)?;
        }
        Flavour::Procd => unit::install(machine, procd::unit(&service), &wish, &mut report)?,
        Flavour::Cron => cron::install(machine, &service, &wish, &mut report)?,
    }
    if flavour == Flavour::SystemdUser {
        systemd::linger(machine, &mut report);
    }
    Ok(report)
}

fn ensure_possible(part: Part, flavour: Flavour) -> anyhow::Result<()> {
    ensure!(
        part.can_be(flavour),
        "a firewall is the machine's: `doorward install {}` is for root, with systemd or OpenWrt's procd",
        part.name()
    );
    Ok(())
}

/// How a service is to be written, beside what it is.
struct Wish {
    /// The program, if `install` put it there: noted, so that `uninstall` takes it away.
    copied: Option<PathBuf>,
    is_new_program: bool,
    force: bool,
    start: bool,
}

fn uninstall_on(machine: &Machine, options: &InstallOptions) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let part = options.part;
    let is_wanted = |flavour: &Flavour| options.flavour.is_none_or(|wanted| wanted == *flavour);
    for flavour in Flavour::ALL.into_iter().filter(is_wanted) {
        let Some(text) = program::installed_text(machine, part, flavour) else { continue };
        match flavour {
            Flavour::Systemd | Flavour::SystemdUser => {
                unit::uninstall(machine, systemd::bare_unit(machine, part, flavour), part, &mut report)?;
            }
            Flavour::Procd => unit::uninstall(machine, procd::bare_unit(part), part, &mut report)?,
            Flavour::Cron => cron::uninstall(machine, part, &mut report)?,
        }
        if let Some(copy) = mark::copied(&text, part) {
            program::remove_copy(machine, &copy, &mut report)?;
        }
        if part == Part::Router && machine.root == Path::new("/") {
            let config = machine.places(flavour).config.join(part.settings_file());
            doorward_router::remove(&config).context("its rules are still there: `doorward router --remove`")?;
            report.did("Removed its rules, and ended what they let in");
        }
        tell_what_stays(machine, part, flavour, &mut report);
    }
    if report.done.is_empty() {
        report.did(format!("Nothing of `doorward install {}` was found", part.name()));
    }
    Ok(report)
}

fn tell_what_stays(machine: &Machine, part: Part, flavour: Flavour, report: &mut Report) {
    let places = machine.places(flavour);
    let state = places.state.join(part.name());
    // Of a service with a user made for it: the usual place is a link to there (systemd.exec(5), DynamicUser=).
    let private = Path::new("/var/lib/private/doorward").join(part.name());
    let is_private = flavour == Flavour::Systemd && machine.at(&private).exists();
    if is_private {
        report.note(format!(
            "its keys stay in {private}, where {state} leads; if they are not needed any more: \
             sudo rm -rf {private} {state}",
            private = private.display(),
            state = state.display()
        ));
    }
    let settings = places.config.join(part.settings_file());
    let stays = (!is_private).then_some(state).into_iter().chain([settings]);
    for path in stays.filter(|path| machine.at(path).exists()) {
        report.note(format!("{} stays; remove it yourself if it is not needed any more", path.display()));
    }
    if flavour == Flavour::SystemdUser && systemd::lingers(machine) {
        report.note("your services still run while you are logged out; `loginctl disable-linger` ends that");
    }
}

/// A system service runs as a user of its own, which must be able to read its settings.
fn tell_readability(machine: &Machine, service: &Service, flavour: Flavour, report: &mut Report) {
    if !matches!(flavour, Flavour::Systemd | Flavour::Procd) {
        return;
    }
    let usual = machine.places(flavour).config.join(service.part.settings_file());
    let config = service.config.as_ref().map(PathBuf::from).unwrap_or(usual);
    if machine.mode(&config).is_some_and(|mode| mode & 0o004 == 0) {
        let path = config.display();
        report.note(format!("the service runs as a user of its own, which cannot read {path}: chmod o+r {path}"));
    }
}

/// Two of them would get into each other's way.
fn tell_doubles(machine: &Machine, part: Part, flavour: Flavour, report: &mut Report) {
    let others = Flavour::ALL.into_iter().filter(|other| *other != flavour);
    for other in others.filter(|other| program::installed_text(machine, part, *other).is_some()) {
        let (name, other) = (part.name(), other.name());
        report.note(format!(
            "it is installed by {other}, too; `doorward uninstall {name} --flavour {other}` removes that one"
        ));
    }
}

/// Says which path, and what to do about it.
fn at_path<T>(result: std::io::Result<T>, doing: &str, path: &Path) -> anyhow::Result<T> {
    let remedy = match result.as_ref().map_err(std::io::Error::kind) {
        Err(std::io::ErrorKind::PermissionDenied) => "; run it as root (sudo), or as the user whose service it is",
        Err(std::io::ErrorKind::ReadOnlyFilesystem) => "; make the file system writable for the time being",
        Err(_) | Ok(_) => "",
    };
    result.with_context(|| format!("{} cannot be {doing}{remedy}", path.display()))
}
