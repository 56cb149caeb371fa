//! How many files the running process has open, and may have.

use super::Finding;
use crate::open_files::{ENOUGH, remedy};
use std::path::Path;

struct Files {
    open: u64,
    limit: u64,
}

/// Of the process that serves this socket; `None` where that is not to be learned.
pub(super) fn examine(socket: &Path) -> Option<Finding> {
    let stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    let process = Path::new("/proc").join(peer.pid.as_raw_pid().to_string());
    let limit = soft_limit(&std::fs::read_to_string(process.join("limits")).ok()?)?;
    let open = std::fs::read_dir(process.join("fd")).ok()?.count().try_into().ok()?;
    Some(judge(&Files { open, limit }))
}

/// proc_pid_limits(5): `Max open files   soft   hard   files`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

fn judge(files: &Files) -> Finding {
    let Files { open, limit } = files;
    if *limit < ENOUGH {
        let what = format!("{open} are open, and only {limit} may be");
        return Finding::wrong("files", what, remedy());
    }
    if open.saturating_mul(10) > limit.saturating_mul(9) {
        let what = format!("{open} of {limit} are open: soon no visitor gets in");
        return Finding::wrong("files", what, remedy());
    }
    Finding::fine("files", format!("{open} are open, {limit} may be"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;

    #[test]
    fn a_limit_that_is_low_or_nearly_reached_is_wrong() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             94985                94985                processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit(&text.replace("1024  ", "unlimited")), Some(u64::MAX));
        assert_eq!(soft_limit("Max processes 1 1 processes\n"), None);
        for (open, limit, standing) in [
            (10, 1024, Standing::Wrong),
            (10, 20_000, Standing::Fine),
            (19_000, 20_000, Standing::Wrong),
            (10, u64::MAX, Standing::Fine),
        ] {
            assert_eq!(judge(&Files { open, limit }).standing, standing, "{open} of {limit}");
        }
    }

    #[test]
    fn the_process_behind_a_socket_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        assert_eq!(examine(&socket), None);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let found = examine(&socket).expect("this very process");
        assert!(found.what.contains("open"), "{found:?}");
    }
}
