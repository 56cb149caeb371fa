//! A service that is a file, the links that enable it, and the commands that make it known: systemd and procd alike.

use super::machine::Machine;
use super::service::Part;
use super::{Report, Wish, at_path, mark};
use anyhow::{Context, ensure};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

#[derive(Clone)]
pub(super) struct Unit {
    pub(super) part: Part,
    pub(super) file: PathBuf,
    pub(super) mode: u32,
    /// Without the mark; empty where only the places matter.
    pub(super) text: String,
    /// Where the links are, and what they contain.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    pub(super) reload: Option<Vec<String>>,
    pub(super) start: Vec<String>,
    pub(super) restart: Vec<String>,
    pub(super) stop: Vec<String>,
}

pub(super) fn install(machine: &Machine, unit: Unit, wish: &Wish, report: &mut Report) -> anyhow::Result<()> {
    let text = unit.text.clone() + &mark::lines(unit.part, wish.copied.as_deref());
    let file = machine.at(&unit.file);
    let is_changed = write(&file, &text, &unit, wish.force)?;
    report.did(format!("{} {}", if is_changed { "Wrote" } else { "Kept, as it is right:" }, file.display()));
    for (link, to) in &unit.links {
        enable(&machine.at(link), to)?;
    }
    report.did(format!("{} starts with the machine", unit.part.service_name()));
    if machine.is_image {
        return Ok(());
    }
    let run = |command: &[String]| {
        let result = machine.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        result.with_context(|| {
            format!("{} is written, but not running; run this again when that is solved", file.display())
        })
    };
    unit.reload.as_deref().map(run).transpose()?;
    if wish.start {
        run(if is_changed || wish.is_new_program { &unit.restart } else { &unit.start })?;
        report.did(format!("{} is started", unit.part.service_name()));
    }
    Ok(())
}

pub(super) fn uninstall(machine: &Machine, unit: Unit, part: Part, report: &mut Report) -> anyhow::Result<()> {
    let run = |command: &[String]| machine.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    if !machine.is_image {
        match run(&unit.stop) {
            Ok(()) => report.did(format!("{} is stopped", part.service_name())),
            Err(error) => report.note(format!("{} may still run: {error:#}", part.service_name())),
        }
    }
    for (link, to) in &unit.links {
        disable(&machine.at(link), to)?;
    }
    let file = machine.at(&unit.file);
    at_path(fs::remove_file(&file), "removed", &file)?;
    report.did(format!("Removed {}", file.display()));
    if !machine.is_image
        && let Some(Err(error)) = unit.reload.as_deref().map(run)
    {
        report.note(format!("{error:#}"));
    }
    Ok(())
}

/// `false`: it was there, exactly so.
fn write(file: &Path, text: &str, unit: &Unit, force: bool) -> anyhow::Result<bool> {
    match fs::read_to_string(file) {
        Ok(there) if there == text => return Ok(false),
        Ok(there) => ensure!(
            force || mark::is_on_file(&there, unit.part),
            "{} was not written by `doorward install`: move it away, or replace it with --force",
            file.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => at_path(Err(error), "read", file)?,
    }
    let directory = file.parent().context("a service's file has a directory")?;
    at_path(fs::create_dir_all(directory), "made", directory)?;
    let written = NamedTempFile::new_in(directory).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(Permissions::from_mode(unit.mode))?;
        new.as_file().sync_all()?;
        new.persist(file).map_err(|failed| failed.error)
    });
    at_path(written, "written", file)?;
    Ok(true)
}

fn enable(link: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::read_link(link).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let directory = link.parent().context("a link has a directory")?;
    at_path(fs::create_dir_all(directory), "made", directory)?;
    let removed = fs::remove_file(link).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    at_path(removed, "replaced", link)?;
    at_path(symlink(to, link), "made", link)
}

fn disable(link: &Path, to: &Path) -> anyhow::Result<()> {
    if fs::read_link(link).is_ok_and(|there| there == to) {
        at_path(fs::remove_file(link), "removed", link)?;
        // As `systemctl disable` does; it stays where others are enabled too.
        let directory = link.parent().filter(|directory| directory.extension().is_some_and(|e| e == "wants"));
        let _: Option<io::Result<()>> = directory.map(fs::remove_dir);
    }
    Ok(())
}
