//! `[certificates]` of `gateway.toml`: how certificates are ordered.

use anyhow::{Context, bail};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_core::Secret;
use doorward_core::certificates::{AuthorityTerms, is_reserved};
use doorward_core::names::HostName;
use doorward_core::site::{Address, Host};
use doorward_gateway::{
    AccountBinding, AuthoritySettings, DnsSettings, HookSettings, IssuingSettings, ResponderSettings, TsigHash,
    UpdateSettings, Way,
};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificatesFile {
    /// Who orders, in turn: the next one when one fails. Let's Encrypt unless said; an empty list orders nothing.
    pub authorities: Option<Vec<AuthorityFile>>,
    /// Mail addresses for the authorities.
    #[serde(default)]
    pub contact: Vec<String>,
    /// How names are proved, of `http-01` (port 80) and `tls-alpn-01` (port 443): those whose port is open here.
    pub challenges: Option<Vec<Challenge>>,
    /// For DNS-01: then one certificate covers every name below the domain.
    pub dns: Option<DnsFile>,
    /// Bare addresses to hold certificates for.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The public addresses that lead here, where they are not this machine's own (a router's, a cloud's).
    #[serde(default)]
    pub public: Vec<IpAddr>,
    /// Where to look up whether DNS leads here, as `192.0.2.53:53`; this machine's resolver unless said.
    #[serde(default)]
    pub resolvers: Vec<SocketAddr>,
    /// For how many days browsers shall insist on HTTPS, once they saw a trusted certificate; 0 for not at all.
    pub hsts_days: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Challenge {
    #[serde(rename = "http-01")]
    Http,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuthorityFile {
    /// The URL of its ACME directory, or `letsencrypt`, or `letsencrypt-staging`.
    pub directory: String,
    /// PEM of the root that its own HTTPS is checked by, where this machine does not trust it anyway.
    pub root: Option<PathBuf>,
    /// The kind of certificate to ask for, as `shortlived`.
    pub profile: Option<String>,
    /// How many new certificates it gives in seven days.
    pub weekly: Option<u32>,
    /// The account that it knows from elsewhere: its id, and a file with its key in base64url.
    pub account: Option<AccountFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccountFile {
    pub id: String,
    pub key_file: PathBuf,
}

/// One of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DnsFile {
    pub update: Option<UpdateFile>,
    pub responder: Option<ResponderFile>,
    pub hook: Option<HookFile>,
}

/// Dynamic updates (RFC 2136) of the zone's own name server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpdateFile {
    /// As `192.0.2.53:53`.
    pub server: SocketAddr,
    /// The zone; found by asking unless said.
    pub zone: Option<HostName>,
    pub key_name: HostName,
    /// `hmac-sha256` unless said.
    pub algorithm: Option<Algorithm>,
    /// A file with the key in base64.
    pub key_file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// Our own small name server, to which `_acme-challenge` is delegated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ResponderFile {
    /// The zone that it answers for, as `acme.example.org`.
    pub zone: HostName,
    /// The name that the zone's NS record has; the domain unless said.
    pub server: Option<HostName>,
    /// UDP and TCP, as `203.0.113.7:53`.
    pub listen: Vec<SocketAddr>,
}

/// A program in the manner of lego's `exec`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HookFile {
    pub program: PathBuf,
    /// How long records may take until everybody sees them; 60 unless said.
    pub propagation_seconds: Option<u64>,
}

/// What of the other settings matters here.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    pub domain: Option<&'s HostName>,
    /// The owner brings certificates in files.
    pub has_files: bool,
    /// Which of the ports that authorities look at lead here.
    pub is_80_open: bool,
    pub is_443_open: bool,
}

const LETSENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETSENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Let's Encrypt's (letsencrypt.org/docs/rate-limits): new certificates of a domain, and for the same set of names.
const WEEKLY: u32 = 50;
const WEEKLY_SAME: u32 = 5;
const HSTS_DAYS: u32 = 183;

impl CertificatesFile {
    pub fn hsts(&self) -> Duration {
        Duration::from_secs(u64::from(self.hsts_days.unwrap_or(HSTS_DAYS)) * 24 * 3600)
    }

    /// The bare addresses under which browsers may come.
    pub fn ips_beside(&self, addresses: &[Address]) -> impl Iterator<Item = IpAddr> {
        let endpoints = addresses.iter().flat_map(Address::endpoints);
        let dialled = endpoints.filter_map(|endpoint| match endpoint.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        });
        dialled.chain(self.addresses.iter().copied()).chain(self.public.iter().copied())
    }

    /// `None`: nothing is ordered; why is noted where the owner may not expect it.
    pub fn issuing(self, around: Surroundings<'_>, notes: &mut Vec<String>) -> anyhow::Result<Option<IssuingSettings>> {
        let reserved = around.domain.is_none_or(is_reserved);
        let is_said = self.authorities.is_some();
        if !is_said && (around.has_files || (reserved && self.addresses.is_empty())) {
            return Ok(None);
        }
        let authorities = self.authorities.unwrap_or_else(|| vec![AuthorityFile::usual()]);
        if authorities.is_empty() {
            return Ok(None);
        }
        let authorities = authorities.into_iter().map(AuthorityFile::settings).collect::<Result<Vec<_>, _>>();
        let authorities = authorities.context("authorities")?;
        let ways = match self.challenges {
            Some(chosen) => chosen.into_iter().map(Challenge::way).collect(),
            None => [(Way::Http, around.is_80_open), (Way::TlsAlpn, around.is_443_open)]
                .into_iter()
                .filter_map(|(way, is_open)| is_open.then_some(way))
                .collect::<Vec<_>>(),
        };
        let dns = self.dns.map(|dns| dns.settings(around.domain)).transpose().context("dns")?;
        if ways.is_empty() && dns.is_none() {
            notes.push(
                "no certificates are ordered: authorities look at port 80 or 443, and neither is served here. Serve one \
                 of them, or set up [certificates.dns]"
                    .to_owned(),
            );
            return Ok(None);
        }
        if !is_said {
            notes.push(
                "certificates are ordered from Let's Encrypt, whose terms (letsencrypt.org/repository) are thereby \
                 accepted; `authorities = []` under [certificates] orders none"
                    .to_owned(),
            );
        }
        Ok(Some(IssuingSettings {
            authorities,
            contact: self.contact.iter().map(|mail| format!("mailto:{mail}")).collect(),
            addresses: self.addresses,
            public: self.public,
            ways,
            dns,
            resolvers: self.resolvers,
            reserved_names: is_said,
            tempo: IssuingSettings::TEMPO,
            look_again: IssuingSettings::LOOK_AGAIN,
        }))
    }
}

impl Challenge {
    fn way(self) -> Way {
        match self {
            Self::Http => Way::Http,
            Self::TlsAlpn => Way::TlsAlpn,
        }
    }
}

impl AuthorityFile {
    fn usual() -> Self {
        Self { directory: "letsencrypt".to_owned(), root: None, profile: None, weekly: None, account: None }
    }

    fn settings(self) -> anyhow::Result<AuthoritySettings> {
        let directory = match self.directory.as_str() {
            "letsencrypt" => LETSENCRYPT.to_owned(),
            "letsencrypt-staging" => LETSENCRYPT_STAGING.to_owned(),
            url if url.starts_with("https://") => url.to_owned(),
            other => bail!("\"{other}\" is not an authority: write letsencrypt, or the https:// URL of its directory"),
        };
        let binding = self.account.map(AccountFile::binding).transpose()?;
        let weekly = self.weekly.unwrap_or(WEEKLY);
        let terms = AuthorityTerms { directory, weekly, weekly_same: WEEKLY_SAME };
        Ok(AuthoritySettings { terms, root: self.root, profile: self.profile, binding })
    }
}

impl AccountFile {
    fn binding(self) -> anyhow::Result<AccountBinding> {
        let key = read_key(&self.key_file, |text| BASE64URL_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok())?;
        Ok(AccountBinding { id: self.id, key })
    }
}

impl DnsFile {
    fn settings(self, domain: Option<&HostName>) -> anyhow::Result<DnsSettings> {
        match (self.update, self.responder, self.hook) {
            (Some(update), None, None) => update.settings().map(DnsSettings::Update),
            (None, Some(responder), None) => responder.settings(domain).map(DnsSettings::Responder),
            (None, None, Some(hook)) => Ok(DnsSettings::Hook(HookSettings {
                program: hook.program,
                propagation: Duration::from_secs(hook.propagation_seconds.unwrap_or(60)),
            })),
            (None, None, None) => bail!("say which of `update`, `responder` and `hook` makes the records"),
            (Some(_), _, _) | (None, Some(_), Some(_)) => {
                bail!("only one of `update`, `responder` and `hook` can make the records")
            }
        }
    }
}

impl UpdateFile {
    fn settings(self) -> anyhow::Result<UpdateSettings> {
        let algorithm = match self.algorithm.unwrap_or(Algorithm::HmacSha256) {
            Algorithm::HmacSha256 => TsigHash::Sha256,
            Algorithm::HmacSha384 => TsigHash::Sha384,
            Algorithm::HmacSha512 => TsigHash::Sha512,
        };
        let key = read_key(&self.key_file, |text| BASE64.decode(text.as_bytes()).ok())?;
        Ok(UpdateSettings { server: self.server, zone: self.zone, key_name: self.key_name, algorithm, key })
    }
}

impl ResponderFile {
    fn settings(self, domain: Option<&HostName>) -> anyhow::Result<ResponderSettings> {
        let Some(server) = self.server.or(domain.cloned()) else {
            bail!("responder.server: without a domain it must be said")
        };
        if self.listen.is_empty() {
            bail!("responder.listen: it must listen somewhere, as 203.0.113.7:53");
        }
        Ok(ResponderSettings { zone: self.zone, server, listen: self.listen })
    }
}

/// Keys stand in files of their own, so that the settings can be shown to others.
fn read_key(path: &Path, decode: impl FnOnce(&str) -> Option<Vec<u8>>) -> anyhow::Result<Secret<Vec<u8>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let text = Secret::new(text);
    match decode(text.expose().trim()) {
        Some(key) if !key.is_empty() => Ok(Secret::new(key)),
        Some(_) | None => bail!("{} holds no key in base64", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuing(text: &str, domain: &str) -> anyhow::Result<(Option<IssuingSettings>, Vec<String>)> {
        let file: CertificatesFile = toml::from_str(text)?;
        let domain = HostName::parse(domain).unwrap();
        let around = Surroundings { domain: Some(&domain), has_files: false, is_80_open: true, is_443_open: false };
        let mut notes = Vec::new();
        Ok((file.issuing(around, &mut notes)?, notes))
    }

    #[test]
    fn a_real_domain_orders_from_lets_encrypt_and_says_so() {
        let (issuing, notes) = issuing("", "gw.net").unwrap();
        let issuing = issuing.unwrap();
        assert_eq!(issuing.authorities.len(), 1);
        assert_eq!(issuing.authorities[0].terms.directory, LETSENCRYPT);
        assert_eq!((issuing.ways, issuing.reserved_names), (vec![Way::Http], false));
        assert!(notes[0].contains("accepted"), "{notes:?}");
    }

    #[test]
    fn nothing_is_ordered_that_nobody_could_certify_or_that_was_not_wanted() {
        for domain in ["localhost", "gw.test", "example.org", "printer.local"] {
            assert!(issuing("", domain).unwrap().0.is_none(), "{domain}");
        }
        assert!(issuing("authorities = []", "gw.net").unwrap().0.is_none());
        let (private, notes) = issuing("[[authorities]]\ndirectory = \"https://ca.lan/acme\"", "gw.lan").unwrap();
        assert!(private.unwrap().reserved_names && notes.is_empty());
        let domain = HostName::parse("gw.net").unwrap();
        let mut around = Surroundings { domain: Some(&domain), has_files: true, is_80_open: true, is_443_open: true };
        let mut notes = Vec::new();
        assert!(CertificatesFile::default().issuing(around, &mut notes).unwrap().is_none());
        (around.has_files, around.is_80_open, around.is_443_open) = (false, false, false);
        assert!(CertificatesFile::default().issuing(around, &mut notes).unwrap().is_none());
        assert!(notes[0].contains("port 80 or 443"), "{notes:?}");
    }

    #[test]
    fn an_address_can_be_certified_without_a_domain() {
        let (issuing, _) = issuing("addresses = [\"203.0.113.7\"]", "localhost").unwrap();
        let issuing = issuing.unwrap();
        assert_eq!((issuing.addresses.len(), issuing.reserved_names), (1, false));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let table = [
            ("[[authorities]]\ndirectory = \"http://ca\"", "https://"),
            ("[dns]", "which of"),
            ("[dns.hook]\nprogram = \"/x\"\n[dns.responder]\nzone = \"a.b\"\nlisten = [\"127.0.0.1:53\"]", "only one"),
            ("[dns.responder]\nzone = \"a.b\"\nlisten = []", "listen somewhere"),
            (
                "[dns.update]\nserver = \"127.0.0.1:53\"\nkey-name = \"k\"\nkey-file = \"/nonexistent\"",
                "cannot be read",
            ),
            ("[dns.update]\nserver = \"127.0.0.1:53\"\nkey-name = \"k\"\nkey-file = \"/dev/null\"", "no key"),
            ("contacts = []", "contacts"),
            ("challenges = [\"dns-01\"]", "dns-01"),
        ];
        for (text, part) in table {
            let error = issuing(text, "gw.net").err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
        }
    }
}
