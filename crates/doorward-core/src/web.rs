//! What a web service wants done with its requests and answers: declared by the device, applied by the gateway.
//!
//! A target's address never travels. What does is the origin that the target takes itself to be, which the gateway
//! writes into headers and never dials.

mod local_path;
mod pages;

pub use local_path::{LocalPath, NotLocal};
pub use pages::{Blank, MAX_PAGES, Page, PageError, Pages};

use crate::names::{HostName, PathPrefix};
use crate::site::Host;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;

/// How many further targets a service may mount.
pub const MAX_MOUNTS: usize = 16;

/// Which host the target hears of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderMode {
    /// The one that the visitor asked for, with all that is known about the visitor.
    #[default]
    Preserve,
    /// Its own, as if somebody on its own machine asked.
    Rewrite,
}

impl HeaderMode {
    pub fn word(self) -> &'static str {
        match self {
            Self::Preserve => "preserve",
            Self::Rewrite => "rewrite",
        }
    }
}

/// What a target is spoken to in, by the names of RFC 7301's registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebProtocol {
    #[default]
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 from the first byte, without TLS.
    #[serde(rename = "h2c")]
    H2c,
    /// HTTP/2 inside TLS, of which only the agent knows more.
    #[serde(rename = "h2")]
    H2,
}

/// The web part of an offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "Written")]
pub struct WebOffer {
    #[serde(skip_serializing_if = "is_default")]
    pub headers: HeaderMode,
    /// Whether the forwarded headers go along where hosts are rewritten, too.
    #[serde(skip_serializing_if = "is_default")]
    pub forwarded: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub origin: TargetOrigin,
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: WebProtocol,
    /// The part of the target that is the service, where that is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<PathPrefix>,
    /// Further targets, each at a path of the service's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What is shown in place of the gateway's own pages.
    #[serde(skip_serializing_if = "is_default")]
    pub pages: Pages,
}

/// A further target at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// It is taken off before the request reaches the mounted target.
    pub path: PathPrefix,
    #[serde(default, skip_serializing_if = "is_default")]
    pub origin: TargetOrigin,
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: WebProtocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<PathPrefix>,
    /// What is mounted is a camera: its streams carry frames, as those of a service of the kind camera.
    #[serde(default, skip_serializing_if = "is_default")]
    pub camera: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl WebOffer {
    /// Nothing is said: an older gateway needs not know of it.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The mount that a path of the service belongs to: the longest wins.
    pub fn mount(&self, path: &str) -> Option<&Mount> {
        let under = self.mounts.iter().filter(|mount| mount.path.remainder(path).is_some());
        under.max_by_key(|mount| mount.path.as_str().len())
    }
}

/// As it comes from elsewhere, before the mounts were counted and compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    #[serde(default)]
    headers: HeaderMode,
    #[serde(default)]
    forwarded: bool,
    #[serde(default)]
    origin: TargetOrigin,
    #[serde(default)]
    protocol: WebProtocol,
    base: Option<PathPrefix>,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    pages: Pages,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WebOfferError {
    #[error("a service has room for {MAX_MOUNTS} mounts")]
    TooManyMounts,
    #[error("two mounts are at {0}")]
    MountedTwice(PathPrefix),
    #[error(transparent)]
    Pages(#[from] PageError),
}

impl TryFrom<Written> for WebOffer {
    type Error = WebOfferError;

    fn try_from(written: Written) -> Result<Self, WebOfferError> {
        let Written { headers, forwarded, origin, protocol, base, mounts, pages } = written;
        if mounts.len() > MAX_MOUNTS {
            return Err(WebOfferError::TooManyMounts);
        }
        let twice = mounts.iter().enumerate().find(|(n, mount)| mounts[..*n].iter().any(|m| m.path == mount.path));
        if let Some((_, mount)) = twice {
            return Err(WebOfferError::MountedTwice(mount.path.clone()));
        }
        if pages.bytes() > MAX_PAGES {
            return Err(PageError::TooLong.into());
        }
        Ok(Self { headers, forwarded, origin, protocol, base, mounts, pages })
    }
}

/// Scheme, host and port under which a target knows itself (RFC 6454), as in `http://localhost:8888`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetOrigin {
    is_https: bool,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an origin: write it as http://localhost:8888")]
pub struct TargetOriginError(String);

impl TargetOrigin {
    pub fn new(is_https: bool, host: Host, port: u16) -> Self {
        Self { is_https, host, port }
    }

    /// The value of a `Host` header: the scheme's own port is left out, as visitors do.
    pub fn authority(&self) -> String {
        if self.port == usual_port(self.is_https) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    pub fn is_https(&self) -> bool {
        self.is_https
    }
}

/// What a target on a unix socket is called.
impl Default for TargetOrigin {
    fn default() -> Self {
        let host = HostName::parse("localhost").expect("a constant name");
        Self { is_https: false, host: Host::Name(host), port: 80 }
    }
}

fn usual_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl fmt::Display for TargetOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

impl TryFrom<String> for TargetOrigin {
    type Error = TargetOriginError;

    fn try_from(text: String) -> Result<Self, TargetOriginError> {
        let parsed = text.split_once("://").and_then(|(scheme, authority)| {
            let is_https = match scheme {
                "http" => false,
                "https" => true,
                _ => return None,
            };
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|&p| p != 0)?),
                Some(_) | None => (authority, usual_port(is_https)),
            };
            Some(Self { is_https, host: host_of(host)?, port })
        });
        parsed.ok_or_else(|| TargetOriginError(text.chars().take(80).collect()))
    }
}

fn host_of(text: &str) -> Option<Host> {
    if let Some(v6) = text.strip_prefix('[') {
        return v6.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(|ip| Host::Ip(IpAddr::V6(ip)));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Some(Host::Ip(IpAddr::V4(ip))),
        Ok(IpAddr::V6(_)) => None,
        Err(_) => HostName::parse(text).ok().map(Host::Name),
    }
}

impl From<TargetOrigin> for String {
    fn from(origin: TargetOrigin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_keeps_its_meaning_when_written_and_read_again() {
        let table = [
            ("http://localhost:8888", "http://localhost:8888", "localhost:8888"),
            ("http://localhost:80", "http://localhost", "localhost"),
            ("https://Printer.LAN:443", "https://printer.lan", "printer.lan"),
            ("https://192.168.3.90:8080", "https://192.168.3.90:8080", "192.168.3.90:8080"),
            ("http://[::1]:8888", "http://[::1]:8888", "[::1]:8888"),
            ("http://[::1]", "http://[::1]", "[::1]"),
        ];
        for (given, written, authority) in table {
            let origin = TargetOrigin::try_from(given.to_owned()).unwrap();
            assert_eq!((origin.to_string().as_str(), origin.authority().as_str()), (written, authority));
            assert_eq!(TargetOrigin::try_from(written.to_owned()).unwrap(), origin);
        }
        for bad in
            ["localhost", "ftp://a", "http://", "http://a:0", "http://a/b", "http://u@a", "http://::1", "http://a\r\nb"]
        {
            assert!(TargetOrigin::try_from(bad.to_owned()).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_longest_mount_has_the_path() {
        let offer: WebOffer = serde_json::from_str(
            r#"{"protocol":"h2","mounts":[{"path":"/cam/"},
                {"path":"/cam/two/","origin":"http://10.0.0.2:81","protocol":"h2c","base":"/x/"},
                {"path":"/cam/three/","camera":true}]}"#,
        )
        .unwrap();
        let at = |path| offer.mount(path).map(|mount| mount.path.as_str());
        assert_eq!(at("/cam/one"), Some("/cam/"));
        assert_eq!(at("/cam"), Some("/cam/"));
        assert_eq!(at("/cam/two/x"), Some("/cam/two/"));
        assert_eq!(at("/cam/twofold"), Some("/cam/"));
        assert_eq!(at("/camera"), None);
        assert_eq!(offer.mounts.iter().map(|mount| mount.camera).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(serde_json::from_str::<WebOffer>(&serde_json::to_string(&offer).unwrap()).unwrap(), offer);
    }

    #[test]
    fn what_a_gateway_does_not_know_is_refused_as_a_whole() {
        let many = |count: usize| {
            let mounts: Vec<_> = (0..count).map(|n| format!("{{\"path\":\"/m{n}/\"}}")).collect();
            format!("{{\"mounts\":[{}]}}", mounts.join(","))
        };
        assert!(serde_json::from_str::<WebOffer>(&many(MAX_MOUNTS)).is_ok());
        let too_many = many(MAX_MOUNTS + 1);
        let half = "a".repeat(MAX_PAGES / 2 + 1);
        let too_long = format!(r#"{{"pages":{{"offline":"{half}","password":"{half}"}}}}"#);
        for bad in [
            r#"{"headers":"guess"}"#,
            r#"{"protocol":"h3"}"#,
            r#"{"protocol":""}"#,
            r#"{"target":"http://a"}"#,
            r#"{"mounts":[{"path":"/a/","target":"http://a"}]}"#,
            r#"{"mounts":[{"path":"/a/"},{"path":"a"}]}"#,
            too_many.as_str(),
            too_long.as_str(),
            r#"{"pages":{"nothing-here":"<p>"}}"#,
            r#"{"pages":{"offline":"{{script}}"}}"#,
        ] {
            assert!(serde_json::from_str::<WebOffer>(bad).is_err(), "{bad} was taken");
        }
    }
}
