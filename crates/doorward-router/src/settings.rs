//! `router.toml`: what may be opened at all. Whoever can write it decides, so that must be the machine's owner alone.

use doorward_core::pinhole::{AllowList, MarkBits, PortRange, Protocol, Rule};
use ipnet::{IpNet, Ipv4Net};
use rustix::process::geteuid;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;
use toml::Spanned;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The user whose process may speak on the socket.
    pub agent: String,
    /// Whom to become where root starts the daemon.
    pub user: String,
    pub backend: Backend,
    pub marks: MarkBits,
    /// Whether an accept for our packets is put into firewalls that would drop them.
    pub join_firewalls: bool,
    /// Whose visitors count as inside already.
    pub lan: Vec<Ipv4Net>,
    pub allow: AllowList,
}

/// What keeps the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// nftables where it works, else iptables.
    #[default]
    Auto,
    Nftables,
    Iptables,
}

impl Settings {
    /// Where there is no file.
    pub(crate) fn empty() -> Self {
        let allow = AllowList::default();
        let (agent, user) = (AGENT.to_owned(), USER.to_owned());
        let (backend, marks) = (Backend::default(), MarkBits::default());
        Self { agent, user, backend, marks, join_firewalls: false, lan: Vec::new(), allow }
    }
}

const AGENT: &str = "doorward-agent";
const USER: &str = "doorward-router";

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] io::Error),
    #[error("{0} belongs to somebody else than root: who owns it decides what may be opened (chown root {0})")]
    Owner(PathBuf),
    #[error("{0} may be written by others: who writes it decides what may be opened (chmod go-w {0})")]
    Mode(PathBuf),
    #[error("{0} is not a file")]
    NoFile(PathBuf),
    #[error("{path}:{line}: {message}", path = path.display())]
    Content { path: PathBuf, line: usize, message: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    agent: Option<String>,
    user: Option<String>,
    #[serde(default)]
    backend: Backend,
    mark_bits: Option<Spanned<String>>,
    #[serde(default)]
    join_firewalls: bool,
    #[serde(default)]
    lan: Vec<Spanned<Ipv4Net>>,
    #[serde(default)]
    public_ports: Vec<Spanned<Ports>>,
    #[serde(default)]
    allow: Vec<Allow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Allow {
    target: Spanned<String>,
    protocol: Option<Protocol>,
    ports: Vec<Spanned<Ports>>,
    longest_seconds: Spanned<u32>,
    #[serde(default)]
    masquerade: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ports {
    One(u16),
    Range(String),
}

impl Settings {
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let failed = |error| SettingsError::Read(path.to_owned(), error);
        let mut file = File::open(path).map_err(failed)?;
        // Of what was opened, not of what the name may lead to by now.
        let there = file.metadata().map_err(failed)?;
        if !there.is_file() {
            return Err(SettingsError::NoFile(path.to_owned()));
        }
        if there.uid() != 0 && there.uid() != geteuid().as_raw() {
            return Err(SettingsError::Owner(path.to_owned()));
        }
        if there.mode() & 0o022 != 0 {
            return Err(SettingsError::Mode(path.to_owned()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text, path)
    }

    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let fault = |(at, message): (Range<usize>, String)| {
            let before = text.get(..at.start.min(text.len())).unwrap_or(text);
            let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
            SettingsError::Content { path: path.to_owned(), line, message }
        };
        let document: Document = toml::from_str(text)
            .map_err(|error| fault((error.span().unwrap_or_default(), error.message().to_owned())))?;
        document.understand().map_err(fault)
    }
}

type Fault = (Range<usize>, String);

impl Document {
    fn understand(self) -> Result<Settings, Fault> {
        let marks = self.mark_bits.as_ref().map(parsed::<MarkBits>).transpose()?;
        let rules = self.allow.iter().map(Allow::understand).collect::<Result<_, Fault>>()?;
        let allow = AllowList { rules, public_ports: ports(&self.public_ports)? };
        Ok(Settings {
            agent: self.agent.unwrap_or_else(|| AGENT.to_owned()),
            user: self.user.unwrap_or_else(|| USER.to_owned()),
            backend: self.backend,
            marks: marks.unwrap_or_default(),
            join_firewalls: self.join_firewalls,
            lan: self.lan.into_iter().map(|network| network.into_inner().trunc()).collect(),
            allow,
        })
    }
}

impl Allow {
    fn understand(&self) -> Result<Rule, Fault> {
        let text = self.target.get_ref();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let targets = network.map_err(|_| {
            (self.target.span(), format!("\"{text}\" is neither an address nor a network, as 192.168.1.10"))
        })?;
        let seconds = *self.longest_seconds.get_ref();
        if seconds == 0 {
            return Err((self.longest_seconds.span(), "0 seconds open nothing; leave the table out".to_owned()));
        }
        Ok(Rule {
            targets: targets.trunc(),
            protocol: self.protocol,
            ports: ports(&self.ports)?,
            longest: Duration::from_secs(seconds.into()),
            masquerade: self.masquerade,
        })
    }
}

fn ports(given: &[Spanned<Ports>]) -> Result<Vec<PortRange>, Fault> {
    let range = |ports: &Spanned<Ports>| {
        let text = match ports.get_ref() {
            Ports::One(port) => port.to_string(),
            Ports::Range(text) => text.clone(),
        };
        text.parse::<PortRange>().map_err(|error| (ports.span(), error.to_string()))
    };
    given.iter().map(range).collect()
}

fn parsed<T: FromStr<Err: ToString>>(given: &Spanned<String>) -> Result<T, Fault> {
    given.get_ref().parse::<T>().map_err(|error| (given.span(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    const FILE: &str = r#"
public-ports = ["40000-40009", 50000]
lan = ["192.168.77.0/24"]

[[allow]]
target = "192.168.77.10"
protocol = "tcp"
ports = [22, "8000-8080"]
longest-seconds = 28800

[[allow]]
target = "2001:db8:78::/64"
ports = [22]
longest-seconds = 1800
masquerade = true
"#;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(text, Path::new("/etc/doorward/router.toml"))
    }

    #[test]
    fn a_file_means_what_it_says() {
        let settings = parse(FILE).unwrap();
        let [first, second] = &settings.allow.rules[..] else { panic!("{settings:?}") };
        assert_eq!((first.longest, first.masquerade), (Duration::from_secs(8 * 3600), false));
        assert_eq!((second.protocol, second.targets.to_string()), (None, "2001:db8:78::/64".to_owned()));
        assert_eq!(settings.marks, MarkBits::default());
        assert!(parse("").unwrap().allow.rules.is_empty());
    }

    #[test]
    fn a_mistake_is_told_with_file_and_line() {
        let table = [
            ("40000-40009", "40009-40000", 2, "neither a port nor a range"),
            ("50000", "0", 2, "neither a port nor a range"),
            ("50000", "70000", 2, "did not match"),
            ("192.168.77.0/24", "lan", 3, "invalid"),
            ("\"192.168.77.10\"", "\"nas.lan\"", 6, "\"nas.lan\" is neither"),
            ("\"tcp\"", "\"icmp\"", 7, "icmp"),
            ("28800", "0", 9, "0 seconds"),
            ("28800", "-1", 9, "-1"),
            ("longest-seconds = 1800", "", 11, "longest-seconds"),
            ("masquerade", "masqerade", 15, "masqerade"),
            ("lan =", "backend = \"pf\"\nlan =", 3, "pf"),
            ("lan =", "mark-bits = \"0x3\"\nlan =", 3, "cannot be the bits"),
        ];
        for (from, to, line, words) in table {
            assert!(FILE.contains(from), "{from}");
            let told = parse(&FILE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(told.starts_with(&format!("/etc/doorward/router.toml:{line}: ")), "{from}: {told}");
            assert!(told.contains(words), "{from}: {told}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(FILE.as_bytes()).unwrap();
        for (mode, is_fine) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false), (0o666, false)] {
            set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            let read = Settings::read(file.path());
            assert_eq!(read.is_ok(), is_fine, "{mode:o}");
            assert!(is_fine || matches!(read, Err(SettingsError::Mode(_))), "{mode:o}");
        }
        assert!(matches!(Settings::read(Path::new("/")), Err(SettingsError::NoFile(_))));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        if !geteuid().is_root() {
            // Only root can give a file away; then, this very file is another's.
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        rustix::fs::chown(file.path(), Some(rustix::fs::Uid::from_raw(12345)), None).unwrap();
        assert!(matches!(Settings::read(file.path()), Err(SettingsError::Owner(_))));
    }
}
