//! Which firewall this machine has, to say the command that opens a port. Nothing is changed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firewall {
    Ufw,
    Firewalld,
    Nftables,
    /// None that we know of, or one before this machine.
    Elsewhere,
}

const LIMIT: Duration = Duration::from_secs(2);

impl Firewall {
    pub(super) async fn detect() -> Self {
        if is_ufw_on(Path::new("/etc/ufw/ufw.conf")) {
            return Self::Ufw;
        }
        if answers("firewall-cmd", &["--state"]).await.is_some_and(|answer| answer.trim() == "running") {
            return Self::Firewalld;
        }
        // Without root the rules cannot be read; a file of rules says that somebody means them.
        let rules = answers("nft", &["list", "ruleset"]).await.unwrap_or_default();
        if rules.contains("hook input") || Path::new("/etc/nftables.conf").exists() {
            return Self::Nftables;
        }
        Self::Elsewhere
    }

    pub(super) fn remedy(self, protocol: &str, port: u16) -> String {
        let here = match self {
            Self::Ufw => format!("open it here: `sudo ufw allow {port}/{protocol}`"),
            Self::Firewalld => format!(
                "open it here: `sudo firewall-cmd --permanent --add-port={port}/{protocol} && sudo firewall-cmd --reload`"
            ),
            Self::Nftables => format!(
                "open it here, if your table is so called: `sudo nft insert rule inet filter input {protocol} dport {port} accept`"
            ),
            Self::Elsewhere => {
                return "open it at the provider (security group) or on the router before this machine".to_owned();
            }
        };
        format!("{here}; if that does not help, at the provider (security group) or on the router")
    }
}

fn is_ufw_on(settings: &Path) -> bool {
    let text = std::fs::read_to_string(settings).unwrap_or_default();
    text.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
}

/// What a program says, if it is there and ends well in time.
pub(super) async fn answers(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_counts_where_it_is_switched_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ufw.conf");
        assert!(!is_ufw_on(&file));
        std::fs::write(&file, "# comment ENABLED=yes\nENABLED=no\n").unwrap();
        assert!(!is_ufw_on(&file));
        std::fs::write(&file, "LOGLEVEL=low\nENABLED=yes\n").unwrap();
        assert!(is_ufw_on(&file));
    }

    #[test]
    fn the_command_names_the_port() {
        for firewall in [Firewall::Ufw, Firewall::Firewalld, Firewall::Nftables] {
            let remedy = firewall.remedy("udp", 20_005);
            assert!(remedy.contains("20005") && remedy.contains("udp"), "{remedy}");
        }
    }
}
