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
    /// OpenSSH's client, to either server.
    Ssh(SshServer, Cipher),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SshServer {
    Sshd,
    Doorward,
}

/// What the client is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// What OpenSSH's client takes by itself.
    ChaCha20,
    Aes128,
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

pub(crate) const ALL: [Subject; 9] = [
    Subject::Doorward(Carrier::Quic),
    Subject::Doorward(Carrier::Tls),
    Subject::Rathole(Transport::Tcp),
    Subject::Rathole(Transport::Tls),
    Subject::Rathole(Transport::Noise),
    Subject::Ssh(SshServer::Sshd, Cipher::Aes128),
    Subject::Ssh(SshServer::Doorward, Cipher::Aes128),
    Subject::Ssh(SshServer::Sshd, Cipher::ChaCha20),
    Subject::Ssh(SshServer::Doorward, Cipher::ChaCha20),
];

/// What is compared if nothing is said.
pub(crate) const USUAL: [Subject; 7] = [ALL[0], ALL[1], ALL[2], ALL[3], ALL[4], ALL[5], ALL[6]];

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Doorward(Carrier::Quic) => "doorward-quic",
            Self::Doorward(Carrier::Tls) => "doorward-tls",
            Self::Rathole(Transport::Tcp) => "rathole-tcp",
            Self::Rathole(Transport::Tls) => "rathole-tls",
            Self::Rathole(Transport::Noise) => "rathole-noise",
            Self::Ssh(SshServer::Sshd, Cipher::Aes128) => "ssh",
            Self::Ssh(SshServer::Doorward, Cipher::Aes128) => "doorward-ssh",
            Self::Ssh(SshServer::Sshd, Cipher::ChaCha20) => "ssh-chacha20",
            Self::Ssh(SshServer::Doorward, Cipher::ChaCha20) => "doorward-ssh-chacha20",
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
            Self::Ssh(SshServer::Sshd, Cipher::Aes128) => "`ssh -R` aes128-gcm",
            Self::Ssh(SshServer::Doorward, Cipher::Aes128) => "`ssh -R` aes128-gcm to doorward",
            Self::Ssh(SshServer::Sshd, Cipher::ChaCha20) => "`ssh -R` chacha20-poly1305",
            Self::Ssh(SshServer::Doorward, Cipher::ChaCha20) => "`ssh -R` chacha20-poly1305 to doorward",
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
            Self::Ssh(SshServer::Sshd, _) => {
                (&["ssh", "sshd", "ssh-keygen"], "apt-get install openssh-server openssh-client")
            }
            Self::Ssh(SshServer::Doorward, _) => (&["ssh", "ssh-keygen"], "apt-get install openssh-client"),
        };
        programs.iter().any(|program| find(program).is_none()).then_some(remedy)
    }

    /// The version of the program, as it says itself.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Self::Doorward(_) => doorward::version(),
            Self::Rathole(_) => rathole::version(),
            Self::Ssh(SshServer::Sshd, _) => ssh::version(),
            Self::Ssh(SshServer::Doorward, _) => Ok(format!("{}, {}", doorward::version()?, ssh::version()?)),
        }
    }

    pub(crate) async fn start(self, site: &Site) -> Result<Tunnel> {
        match self {
            Self::Doorward(carrier) => doorward::start(site, carrier, self.name()).await,
            Self::Rathole(transport) => rathole::start(site, transport, self.name()),
            Self::Ssh(SshServer::Sshd, cipher) => ssh::to_sshd(site, cipher, self.name()).await,
            Self::Ssh(SshServer::Doorward, cipher) => ssh::to_doorward(site, cipher, self.name()).await,
        }
    }
}

/// A program on PATH, or where Debian keeps what users are not expected to run.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn required(program: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| anyhow::anyhow!("{program} is not on PATH"))
}
