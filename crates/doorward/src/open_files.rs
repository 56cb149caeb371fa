//! How many files a process may have open. Every visit takes two of them at the gateway, and two on the device; many
//! systems begin with 1024, for the sake of programs that use select(2), and let a program ask for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// With fewer, a gateway or an agent turns visitors away before its own limits do.
pub(crate) const ENOUGH: u64 = 4096;

/// Takes as many as the system grants, and says how many that is.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let granted = if raised.is_ok() { maximum } else { current };
    match granted {
        Some(files) if files < ENOUGH => {
            warn!(files, "few files may be open, so visitors will be turned away early; {}", remedy());
        }
        Some(files) => debug!(files, "so many files may be open"),
        None => debug!("any number of files may be open"),
    }
}

pub(crate) fn remedy() -> &'static str {
    "raise the hard limit: `LimitNOFILE=` in its unit, or `ulimit -Hn` in the shell that starts it"
}
