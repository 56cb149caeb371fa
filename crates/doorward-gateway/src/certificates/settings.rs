//! How certificates are ordered, already validated.

use doorward_core::Secret;
use doorward_core::certificates::{AuthorityTerms, Tempo};
use doorward_core::names::HostName;
use jiff::SignedDuration;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct IssuingSettings {
    /// Asked in this order: the next one when one fails.
    pub authorities: Vec<AuthoritySettings>,
    /// Where authorities write to, as `mailto:owner@example.org`.
    pub contact: Vec<String>,
    /// Bare addresses to certify (RFC 8738).
    pub addresses: Vec<IpAddr>,
    /// Addresses under which the gateway is reached, though they are not this machine's: a router's or a cloud's.
    pub public: Vec<IpAddr>,
    /// How to prove names, of those that this gateway can: the next one when one fails.
    pub ways: Vec<Way>,
    /// For DNS-01, and with it one certificate for every name below the domain.
    pub dns: Option<DnsSettings>,
    /// Where to look names up; empty for this machine's resolver.
    pub resolvers: Vec<SocketAddr>,
    /// Whether names are ordered that no public authority certifies, such as `.internal`.
    pub reserved_names: bool,
    pub tempo: Tempo,
    /// How soon to look again whether missing records of DNS are there.
    pub look_again: Duration,
}

impl IssuingSettings {
    pub const TEMPO: Tempo = Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) };
    pub const LOOK_AGAIN: Duration = Duration::from_secs(60);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// RFC 8555, 8.3: a file on port 80.
    Http,
    /// RFC 8737: a certificate on port 443.
    TlsAlpn,
}

/// An ACME server.
#[derive(Clone, Debug)]
pub struct AuthoritySettings {
    pub terms: AuthorityTerms,
    /// PEM of the only authority that its own HTTPS may come from; the machine's trusted ones without it.
    pub root: Option<PathBuf>,
    /// Which of its kinds of certificates to ask for.
    pub profile: Option<String>,
    pub binding: Option<AccountBinding>,
}

/// An account that the authority knows from elsewhere (RFC 8555, 7.3.4).
#[derive(Clone, Debug)]
pub struct AccountBinding {
    pub id: String,
    pub key: Secret<Vec<u8>>,
}

/// How TXT records for DNS-01 come into being.
#[derive(Clone, Debug)]
pub enum DnsSettings {
    Update(UpdateSettings),
    Responder(ResponderSettings),
    Hook(HookSettings),
}

/// RFC 2136, signed with TSIG (RFC 8945).
#[derive(Clone, Debug)]
pub struct UpdateSettings {
    /// The primary name server.
    pub server: SocketAddr,
    /// The zone that is updated; found by its SOA if it is not said.
    pub zone: Option<HostName>,
    pub key_name: HostName,
    pub algorithm: TsigHash,
    pub key: Secret<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigHash {
    Sha256,
    Sha384,
    Sha512,
}

/// Our own name server for one zone, to which `_acme-challenge` names are delegated by CNAME.
#[derive(Clone, Debug)]
pub struct ResponderSettings {
    pub zone: HostName,
    /// What its NS record says: the name under which this machine is reached.
    pub server: HostName,
    /// UDP and TCP.
    pub listen: Vec<SocketAddr>,
}

/// A program in the manner of lego's `exec` provider: `PROGRAM present|cleanup FQDN VALUE`.
#[derive(Clone, Debug)]
pub struct HookSettings {
    pub program: PathBuf,
    /// How long a record may take until everybody sees it.
    pub propagation: Duration,
}
