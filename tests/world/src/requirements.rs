//! What the world needs from the machine. A missing piece fails the test and is named: CI forbids skips.

use std::env;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::PACKAGES;

const TOOLS: &[&str] =
    &["ip", "nft", "conntrack", "ping", "unshare", "nsenter", "setpriv", "mount", "curl", "socat", "python3"];

/// Where tools live; an ordinary user's PATH often lacks the sbin folders.
pub(crate) fn search_path() -> String {
    let own = env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

pub(crate) fn check_tools() -> Result<()> {
    let path = search_path();
    let missing: Vec<_> =
        TOOLS.iter().filter(|tool| !path.split(':').any(|folder| Path::new(folder).join(tool).exists())).collect();
    if !missing.is_empty() {
        bail!("the world needs {missing:?}: apt-get install {}", PACKAGES.join(" "));
    }
    Ok(())
}

/// Only worlds with an emulated line need this. Most systems let everybody open it (mode 0666), and the rights come
/// from the namespace.
pub(crate) fn check_tun() -> Result<()> {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").map(drop).context(
        "a line needs /dev/net/tun, open to this user (modprobe tun; chmod 0666 /dev/net/tun, as udev does; \
         in a container: --device /dev/net/tun)",
    )
}

/// libfaketime's library for threaded programs. It is preloaded directly, not through the `faketime` command, which
/// would stay as a parent between us and the program.
pub(crate) fn fake_clock_library() -> Result<PathBuf> {
    let candidates = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].iter().flat_map(|folder| {
        let multiarch = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        multiarch.chain([PathBuf::from(folder)])
    });
    let found = candidates.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    match found {
        Some(path) => Ok(path),
        None => bail!("another wall clock needs libfaketime: apt-get install faketime"),
    }
}

/// Said when the first namespaces could not be made.
pub(crate) const NAMESPACES_REFUSED: &str = "the world needs network, mount and PID namespaces: run as root, or allow \
     user namespaces (user.max_user_namespaces > 0, kernel.unprivileged_userns_clone=1, \
     kernel.apparmor_restrict_unprivileged_userns=0); in a container: --privileged";
