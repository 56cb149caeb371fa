//! Where a tunnel is put up: the two machines, which may be one, and what all subjects need there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Program};

use crate::http::Page;
use crate::process::{Running, held};

pub(crate) enum Machine {
    Here,
    /// A machine of a world; what runs there ends with the world.
    Node(Node),
}

impl Machine {
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        match self {
            Self::Here => held(program),
            Self::Node(node) => node.command(&Program::new(program.as_ref())),
        }
    }
}

pub(crate) struct Site {
    /// The public one.
    pub(crate) gateway: Machine,
    pub(crate) gateway_ip: Ipv4Addr,
    /// The private one, where the target is.
    pub(crate) device: Machine,
    pub(crate) target: SocketAddr,
    /// For the files of all subjects.
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
}

impl Site {
    /// An address of the gateway that is free.
    pub(crate) fn free(&self) -> Result<SocketAddr> {
        // In a world, which is empty, any port will do.
        Ok((self.gateway_ip, free_port()?).into())
    }

    pub(crate) fn make_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The web entrance of those subjects that have one.
pub(crate) const PAGE_HOST: &str = "page-bench.localhost";

/// A certificate for `localhost` and [`PAGE_HOST`], with its key (P-256), as files and as text.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) certificate_text: String,
}

impl Identity {
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), PAGE_HOST.to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let certificate_text = made.cert.pem();
        fs::write(&certificate, &certificate_text)?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        Ok(Self { certificate, key, certificate_text })
    }
}

/// A subject that is up, or will be in a moment.
pub(crate) struct Tunnel {
    pub(crate) server: Running,
    pub(crate) client: Running,
    /// Where visitors connect to reach the target.
    pub(crate) entrance: SocketAddr,
    /// The target as a web page, where the subject has such an entrance.
    pub(crate) page: Option<Page>,
}

/// Runs a command to its end; what it printed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed ({}):\n{complaint}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
