//! What the device's owner wrote: the steps that make a service ready, and those that let it go. A gateway names the
//! service and never a step.

use crate::target::Verify;
use crate::wake::Wake;
use doorward_core::prepare::PrepareOffer;
use doorward_core::site::Host;
use http::{HeaderName, HeaderValue, Method};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub prepare: Vec<Step>,
    pub release: Vec<Step>,
    /// `None`: it is ready when the last step is done.
    pub ready: Option<Readiness>,
    /// Whether visitors wake it by coming, rather than by a session that is open.
    pub on_visit: bool,
    /// How long nobody must want it before it is let go.
    pub linger: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub deed: Deed,
    /// What visitors read while it runs.
    pub title: Option<String>,
    pub limit: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Wake(Wake),
    Hook(Hook),
    Command(Command),
}

/// A program with its arguments as they are: no shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    pub address: Address,
    pub method: Method,
    /// `None`: any 2xx.
    pub status: Option<u16>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A file of further headers, one on a line: for what is secret.
    pub headers_from: Option<PathBuf>,
    pub body: Option<String>,
}

/// An `http://` or `https://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `Some`: HTTPS.
    pub verify: Option<Verify>,
    pub host: Host,
    pub port: u16,
    /// With its query. It may hold a secret, so it is never shown.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    pub probe: Probe,
    pub every: Duration,
    pub limit: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// It takes a connection.
    Tcp { host: Host, port: u16 },
    /// It answers. Its answer's status is any 2xx, or the one named.
    Http(Hook),
}

impl Plan {
    /// What a gateway is told.
    pub fn offer(&self) -> PrepareOffer {
        let limit: Duration =
            self.prepare.iter().map(|step| step.limit).chain(self.ready.iter().map(|r| r.limit)).sum();
        PrepareOffer { on_visit: self.on_visit, limit: u32::try_from(limit.as_secs()).unwrap_or(u32::MAX) }
    }
}

impl Step {
    /// For people: the owner's words, or the kind of step. The gateway's pages know the kinds in other languages.
    pub fn words(&self) -> &str {
        match (&self.title, &self.deed) {
            (Some(title), _) => title,
            (None, Deed::Wake(_)) => "Wake-on-LAN",
            (None, Deed::Hook(_)) => "an HTTP request",
            (None, Deed::Command(_)) => "a command",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.verify.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}
