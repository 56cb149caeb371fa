//! What is compared.

mod doorward;
mod rathole;
mod ssh;

use std::env;
use std::path::PathBuf;

use anyhow::Result;

use crate::site::{Site, Tunnel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Doorward(Carrier),
    Rathole(Transport),
    Ssh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Quic,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Noise,
}

pub(crate) const ALL: [Subject; 6] = [
    Subject::Doorward(Carrier::Quic),
    Subject::Doorward(Carrier::Tls),
    Subject::Rathole(Transport::Tcp),
    Subject::Rathole(Transport::Tls),
    Subject::Rathole(Transport::Noise),
    Subject::Ssh,
];

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Doorward(Carrier::Quic) => "doorward-quic",
            Self::Doorward(Carrier::Tls) => "doorward-tls",
            Self::Rathole(Transport::Tcp) => "rathole-tcp",
            Self::Rathole(Transport::Tls) => "rathole-tls",
            Self::Rathole(Transport::Noise) => "rathole-noise",
            Self::Ssh => "ssh",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// What it consists of, for the table.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Doorward(Carrier::Quic) => "doorward over QUIC",
            Self::Doorward(Carrier::Tls) => "doorward over TLS",
            Self::Rathole(Transport::Tcp) => "rathole tcp (plaintext)",
            Self::Rathole(Transport::Tls) => "rathole tls",
            Self::Rathole(Transport::Noise) => "rathole noise",
            Self::Ssh => "`ssh -R` aes128-gcm",
        }
    }

    /// Which program is not here, and how to get it.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let (programs, remedy): (&[&str], _) = match self {
            Self::Doorward(_) => return None,
            Self::Rathole(Transport::Tls) => {
                (&["rathole", "openssl"], "cargo install rathole --version 0.5.0; apt-get install openssl")
            }
            Self::Rathole(_) => (&["rathole"], "cargo install rathole --version 0.5.0"),
            Self::Ssh => (&["ssh", "sshd", "ssh-keygen"], "apt-get install openssh-server openssh-client"),
        };
        programs.iter().any(|program| find(program).is_none()).then_some(remedy)
    }

    /// The version of the program, as it says itself.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Self::Doorward(_) => doorward::version(),
            Self::Rathole(_) => rathole::version(),
            Self::Ssh => ssh::version(),
        }
    }

    pub(crate) async fn start(self, site: &Site) -> Result<Tunnel> {
        match self {
            Self::Doorward(carrier) => doorward::start(site, carrier, self.name()).await,
            Self::Rathole(transport) => rathole::start(site, transport, self.name()),
            Self::Ssh => ssh::start(site).await,
        }
    }
}

/// A program on PATH, or where Debian keeps what users are not expected to run.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn required(program: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| anyhow::anyhow!("{program} is not on PATH"))
}
