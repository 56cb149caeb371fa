//! Where things are kept unless said otherwise (XDG Base Directory Specification; file-hierarchy(7) for root).

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The gateway's data directory.
pub fn gateway_directory() -> PathBuf {
    state_directory().join("gateway")
}

/// The agent's state directory.
pub fn agent_directory() -> PathBuf {
    state_directory().join("agent")
}

/// `gateway.toml` or `agent.toml`, wherever configuration belongs for this user.
pub fn configuration(file: &str) -> PathBuf {
    if is_root() {
        return PathBuf::from("/etc/doorward").join(file);
    }
    let base = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).unwrap_or_else(|| home().join(".config"));
    base.join("doorward").join(file)
}

fn state_directory() -> PathBuf {
    // systemd hands its units the directory that it made for them (systemd.exec(5), StateDirectory=).
    if let Some(given) = env::var_os("STATE_DIRECTORY") {
        return PathBuf::from(given);
    }
    if Path::new("/etc/openwrt_release").exists() {
        // There /var is in memory and /etc is what lasts.
        return PathBuf::from("/etc/doorward/state");
    }
    if is_root() {
        return PathBuf::from("/var/lib/doorward");
    }
    let base = env::var_os("XDG_STATE_HOME").map(PathBuf::from).unwrap_or_else(|| home().join(".local/state"));
    base.join("doorward")
}

fn home() -> PathBuf {
    env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| PathBuf::from("/"))
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user to whom something belongs; its number if that has no name here.
pub fn owner_of(path: &Path) -> String {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return "another user".to_owned() };
    let id = metadata.uid().to_string();
    // passwd(5): name:password:UID:…
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number == id).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}
