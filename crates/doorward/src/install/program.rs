//! Which program the service starts, and its copy where programs belong.

use super::machine::Machine;
use super::service::{Flavour, Part};
use super::{InstallOptions, Report, at_path, cron, mark, procd, systemd};
use anyhow::{Context, bail, ensure};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

pub(super) struct Program {
    pub(super) path: PathBuf,
    /// To be copied to `path` first.
    from: Option<PathBuf>,
}

/// The path for [`super::preview`], with nothing checked.
pub(super) fn shown(machine: &Machine, options: &InstallOptions, flavour: Flavour) -> anyhow::Result<PathBuf> {
    match &options.program {
        Some(program) => Ok(program.clone()),
        None if options.copy || machine.is_image => Ok(place_for_programs(machine, flavour)),
        None => running(),
    }
}

fn running() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program cannot tell where it is: name it with --program")
}

pub(super) fn choose(machine: &Machine, options: &InstallOptions, flavour: Flavour) -> anyhow::Result<Program> {
    if let Some(path) = &options.program {
        ensure!(machine.at(path).is_file(), "--program {}: there is no such file", machine.at(path).display());
        return Ok(Program { path: path.clone(), from: None });
    }
    let place = place_for_programs(machine, flavour);
    if machine.is_image {
        return Ok(in_image(machine, options, place));
    }
    choose_running(machine, options, flavour, running()?, place)
}

fn choose_running(
    machine: &Machine,
    options: &InstallOptions,
    flavour: Flavour,
    running: PathBuf,
    place: PathBuf,
) -> anyhow::Result<Program> {
    if running == machine.at(&place) {
        return Ok(Program { path: place, from: None });
    }
    if options.copy {
        return Ok(Program { path: place, from: Some(running) });
    }
    let why = match why_not(&running, flavour) {
        Some(Problem::Vanishes(why)) if !options.force => format!("{why}, or use it there all the same with --force"),
        Some(Problem::Hidden(why)) => why,
        Some(Problem::Vanishes(_)) | None => return Ok(Program { path: running, from: None }),
    };
    bail!("{} is no program for a service: {}", running.display(), why.replace("PLACE", &place.to_string_lossy()))
}

/// An image keeps the program that it has: ours may be for another processor.
fn in_image(machine: &Machine, options: &InstallOptions, place: PathBuf) -> Program {
    let has = |path: &&PathBuf| machine.at(path).is_file();
    match [PathBuf::from("/usr/bin/doorward"), place.clone()].iter().find(has) {
        Some(path) if !options.copy => Program { path: path.clone(), from: None },
        Some(_) | None => Program { path: place, from: running().ok() },
    }
}

fn place_for_programs(machine: &Machine, flavour: Flavour) -> PathBuf {
    match flavour {
        Flavour::Procd => PathBuf::from("/usr/bin/doorward"),
        Flavour::Systemd => PathBuf::from("/usr/local/bin/doorward"),
        Flavour::Cron if machine.is_root => PathBuf::from("/usr/local/bin/doorward"),
        Flavour::SystemdUser | Flavour::Cron => machine.home.join(".local/bin/doorward"),
    }
}

enum Problem {
    Vanishes(String),
    Hidden(String),
}

const COPY_IT: &str = "copy it to PLACE by adding --copy";

fn why_not(program: &Path, flavour: Flavour) -> Option<Problem> {
    let is_below = |places: &[&str]| places.iter().any(|place| program.starts_with(place));
    let parts: Vec<_> = program.iter().filter_map(|part| part.to_str()).collect();
    let is_build =
        parts.windows(2).any(|pair| pair[0] == "target") && parts.iter().any(|p| *p == "debug" || *p == "release");
    if is_build || is_below(&["/tmp", "/var/tmp", "/dev/shm", "/run", "/proc"]) || !program.is_file() {
        return Some(Problem::Vanishes(format!("what lies there comes and goes; {COPY_IT}")));
    }
    if flavour == Flavour::Systemd && is_below(&["/home", "/root"]) {
        return Some(Problem::Hidden(format!("a system service sees no home directories; {COPY_IT}")));
    }
    None
}

impl Program {
    /// Copies it if need be, atomically: a running service keeps the old one until it is started anew.
    pub(super) fn put_in_place(&self, machine: &Machine, report: &mut Report) -> anyhow::Result<bool> {
        let Some(from) = &self.from else { return Ok(false) };
        let to = machine.at(&self.path);
        let directory = to.parent().context("a program has a directory")?;
        at_path(fs::create_dir_all(directory), "made", directory)?;
        let mut source = at_path(File::open(from), "read", from)?;
        let mut copy = at_path(NamedTempFile::new_in(directory), "written", directory)?;
        at_path(io::copy(&mut source, copy.as_file_mut()), "written", &to)?;
        at_path(copy.as_file().set_permissions(Permissions::from_mode(0o755)), "made executable", &to)?;
        at_path(copy.as_file().sync_all(), "written", &to)?;
        at_path(copy.persist(&to).map_err(|failed| failed.error), "replaced", &to)?;
        report.did(format!("Copied {} to {}", from.display(), to.display()));
        Ok(true)
    }
}

/// The program, if `install` copied it, now or when it installed this before.
pub(super) fn copied_to(machine: &Machine, part: Part, program: &Program) -> Option<PathBuf> {
    let is_noted = || {
        let texts = Flavour::ALL.into_iter().filter_map(|flavour| installed_text(machine, part, flavour));
        texts.filter_map(|text| mark::copied(&text, part)).any(|copied| copied == program.path)
    };
    (program.from.is_some() || is_noted()).then(|| program.path.clone())
}

/// Removes a copy that nothing else of ours starts.
pub(super) fn remove_copy(machine: &Machine, copy: &Path, report: &mut Report) -> anyhow::Result<()> {
    let name = copy.to_string_lossy();
    for part in Part::ALL {
        for flavour in Flavour::ALL {
            if installed_text(machine, part, flavour).is_some_and(|text| text.contains(&*name)) {
                report.note(format!("{name} stays: {} uses it", part.service_name()));
                return Ok(());
            }
        }
    }
    let path = machine.at(copy);
    if path.exists() {
        at_path(fs::remove_file(&path), "removed", &path)?;
        report.did(format!("Removed {}", path.display()));
    }
    Ok(())
}

/// What `install` wrote for this part, if it is there and carries the mark.
pub(super) fn installed_text(machine: &Machine, part: Part, flavour: Flavour) -> Option<String> {
    let file = match flavour {
        Flavour::Systemd | Flavour::SystemdUser => systemd::bare_unit(machine, part, flavour).file,
        Flavour::Procd => procd::bare_unit(part).file,
        Flavour::Cron => return cron::installed_line(machine, part),
    };
    let text = fs::read_to_string(machine.at(&file)).ok()?;
    mark::is_on_file(&text, part).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(program: &str, flavour: Flavour, force: bool) -> anyhow::Result<Program> {
        let options = InstallOptions { force, ..InstallOptions::new(Part::Agent) };
        choose_running(&Machine::here(), &options, flavour, program.into(), "/usr/local/bin/doorward".into())
    }

    #[test]
    fn a_program_that_will_vanish_is_refused_unless_forced() {
        for program in ["/tmp/doorward", "/src/target/release/doorward", "/usr/bin/doorward (deleted)"] {
            let error = choice(program, Flavour::Systemd, false).err().expect("refused").to_string();
            assert!(error.contains(program) && error.contains("/usr/local/bin/doorward by adding --copy"), "{error}");
            assert_eq!(choice(program, Flavour::Systemd, true).unwrap().path, Path::new(program));
        }
        assert_eq!(choice("/bin/sh", Flavour::Systemd, false).unwrap().path, Path::new("/bin/sh"));
    }

    #[test]
    fn a_system_service_refuses_a_program_that_it_could_not_see() {
        let directory = tempfile::tempdir_in("/root").or_else(|_| tempfile::tempdir_in(Machine::here().home)).unwrap();
        let program = directory.path().join("doorward");
        fs::write(&program, "").unwrap();
        let program = program.to_str().unwrap();
        assert!(choice(program, Flavour::Systemd, true).is_err());
        assert!(choice(program, Flavour::SystemdUser, false).is_ok());
    }
}
