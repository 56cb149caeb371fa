//! Starting anew: the same program with the same words in place of this one, under the same process number, so that whoever
//! watches over it notices nothing, and nobody has to watch over it. A program that was updated meanwhile starts as the new one.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that runs now, even where nothing leads to it any more (proc_pid_exe(5)).
const ITSELF: &str = "/proc/self/exe";

#[derive(Debug, thiserror::Error)]
#[error("the agent could not be started anew: {0}")]
pub(super) struct RestartError(#[source] io::Error);

/// Returns only if it failed.
pub(super) fn start_anew() -> RestartError {
    crate::logging::flush();
    let newest = std::env::current_exe().map_or_else(|_| PathBuf::from(ITSELF), |program| as_it_is_now(&program));
    for program in [newest.as_path(), Path::new(ITSELF)] {
        let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
        tracing::warn!(program = %program.display(), %error, "it could not be started");
    }
    RestartError(io::Error::last_os_error())
}

/// Linux tells the path of a program that was replaced with a mark behind it.
fn as_it_is_now(program: &Path) -> PathBuf {
    let replaced = program.as_os_str().as_bytes().strip_suffix(b" (deleted)");
    replaced.map_or_else(|| program.to_owned(), |path| PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_where_it_was() {
        for (told, path) in [("/usr/bin/doorward (deleted)", "/usr/bin/doorward"), ("/opt/doorward", "/opt/doorward")] {
            assert_eq!(as_it_is_now(Path::new(told)), PathBuf::from(path));
        }
    }
}
