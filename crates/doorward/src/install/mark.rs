//! The mark on everything that `install` writes: the last lines of a file, the end of a crontab's line. It says who
//! wrote it and whether the program was copied for it.

use super::service::Part;
use std::path::{Path, PathBuf};

const COPIED: &str = "# The program was copied for it: ";

/// The lines to append to a file.
pub(super) fn lines(part: Part, copied: Option<&Path>) -> String {
    let mut lines = format!("\n{}\n", first_line(part));
    if let Some(program) = copied {
        lines += &format!("{COPIED}{}\n", program.display());
    }
    lines
}

/// The comment at the end of a crontab's line.
pub(super) fn comment(part: Part, copied: Option<&Path>) -> String {
    let own = format!("# {}", part.service_name());
    match copied {
        Some(program) => format!("{own} {COPIED}{}", program.display()),
        None => own,
    }
}

/// Whether `install` wrote this file.
pub(super) fn is_on_file(text: &str, part: Part) -> bool {
    text.lines().any(|line| line == first_line(part))
}

/// Whether `install` wrote this line of a crontab.
pub(super) fn is_on_line(line: &str, part: Part) -> bool {
    let own = format!(" # {}", part.service_name());
    line.trim_end().ends_with(&own) || line.contains(&format!("{own} {COPIED}"))
}

/// The copied program that a marked text notes.
pub(super) fn copied(text: &str, part: Part) -> Option<PathBuf> {
    let is_marked = |line: &&str| line.starts_with(COPIED) || is_on_line(line, part);
    let (_, program) = text.lines().filter(is_marked).find_map(|line| line.split_once(COPIED))?;
    Some(PathBuf::from(program.trim_end()))
}

fn first_line(part: Part) -> String {
    let name = part.name();
    format!("# Written by `doorward install {name}`; `doorward uninstall {name}` removes it.")
}
