//! What a service connects to. Known to the agent alone.

mod camera;
mod document;
mod secure;

pub use camera::{Camera, WebCamera};
pub use document::TargetDocument;
pub use secure::{CertificatePin, Verify};

use doorward_core::names::{HostName, PathPrefix};
use doorward_core::service::ServiceKind;
use doorward_core::site::Host;
use doorward_core::web::{TargetOrigin, WebProtocol};
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An HTTP server. The gateway speaks HTTP with the visitor; here it is bytes like any other.
    Http(Place),
    /// The same inside TLS.
    Https {
        host: Host,
        port: u16,
        verify: Verify,
    },
    /// An HTTP server that is spoken to in HTTP/2, as gRPC wants it.
    H2c(Place),
    /// The same inside TLS.
    H2 {
        host: Host,
        port: u16,
        verify: Verify,
    },
    Tcp(Place),
    Udp {
        host: Host,
        port: u16,
    },
    /// Its pictures are what visitors get, and nothing else of it.
    Camera(Camera),
}

/// Where a byte stream is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Network { host: Host, port: u16 },
    Socket(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a target: {why}")]
pub struct TargetError {
    given: String,
    why: String,
}

const FORMS: &str = "write http://host:port, https://host:port, h2c://host:port, h2://host:port, tcp://host:port, \
                     udp://host:port, unix:/path/to/socket, http+unix:/path/to/socket or h2c+unix:/path/to/socket; \
                     a camera as";
/// Of targets that may be a folder of what is there.
const WEB_SCHEMES: [&str; 4] = ["http", "https", "h2c", "h2"];

impl Target {
    /// The form of `agent.toml`.
    pub fn parse(given: &str) -> Result<Self, TargetError> {
        let refuse = |why: &str| TargetError { given: given.chars().take(120).collect(), why: why.to_owned() };
        if let Some(path) = given.strip_prefix("unix:") {
            return socket(path).map(Self::Tcp).map_err(refuse);
        }
        if let Some(path) = given.strip_prefix("http+unix:") {
            return socket(path).map(Self::Http).map_err(refuse);
        }
        if let Some(path) = given.strip_prefix("h2c+unix:") {
            return socket(path).map(Self::H2c).map_err(refuse);
        }
        if let Some(camera) = Camera::parse(given) {
            return camera.map(Self::Camera).map_err(|why| refuse(&why));
        }
        let forms = || refuse(&format!("{FORMS} {}", camera::FORMS));
        let (scheme, rest) = given.split_once("://").ok_or_else(forms)?;
        match scheme {
            "http" => authority(rest, Some(80)).map(|(host, port)| Self::Http(Place::Network { host, port })),
            "tcp" => authority(rest, None).map(|(host, port)| Self::Tcp(Place::Network { host, port })),
            "udp" => authority(rest, None).map(|(host, port)| Self::Udp { host, port }),
            "https" => {
                authority(rest, Some(443)).map(|(host, port)| Self::Https { host, port, verify: Verify::System })
            }
            "h2c" => authority(rest, Some(80)).map(|(host, port)| Self::H2c(Place::Network { host, port })),
            "h2" => authority(rest, Some(443)).map(|(host, port)| Self::H2 { host, port, verify: Verify::System }),
            _ => return Err(forms()),
        }
        .map_err(refuse)
    }

    /// The same, where a web target may also be a part of what is there: `http://127.0.0.1:8080/app/`.
    pub fn parse_with_base(given: &str, verify: Verify) -> Result<(Self, Option<PathPrefix>), TargetError> {
        let refuse = |why: String| TargetError::new(given, why);
        let path = given.split_once("://").and_then(|(scheme, rest)| {
            let at = rest.find('/')?;
            WEB_SCHEMES.contains(&scheme).then(|| rest.split_at(at))
        });
        let (whole, base) = match path {
            Some((_, "/")) | None => (given, None),
            Some((_, path)) if !path.ends_with('/') => {
                return Err(refuse(format!("its path is a folder: write {path}/ at its end")));
            }
            Some((_, path)) => {
                let base = PathPrefix::parse(path).map_err(|error| refuse(error.to_string()))?;
                (&given[..given.len() - path.len()], Some(base))
            }
        };
        Ok((Self::parse(whole)?.verified(verify), base))
    }

    /// The same with its certificate checked so, if it shows any.
    #[must_use]
    pub fn verified(mut self, how: Verify) -> Self {
        let web_camera = |camera: &mut WebCamera| camera.verify = camera.verify.map(|_| how);
        match &mut self {
            Self::Https { verify, .. } | Self::H2 { verify, .. } => *verify = how,
            Self::Camera(Camera::Web(camera)) => web_camera(camera),
            Self::Http(_)
            | Self::H2c(_)
            | Self::Tcp(_)
            | Self::Udp { .. }
            | Self::Camera(Camera::Device(_) | Camera::NetGear { .. }) => {}
        }
        self
    }

    /// The same, its user and password read from this file.
    pub fn with_password_file(self, file: &Path) -> Result<Self, TargetError> {
        let given = self.to_string();
        match self {
            Self::Camera(camera) => camera.with_password_file(&given, file).map(Self::Camera),
            Self::Http(_) | Self::Https { .. } | Self::H2c(_) | Self::H2 { .. } | Self::Tcp(_) | Self::Udp { .. } => {
                Err(TargetError::new(&given, camera::NO_PASSWORD))
            }
        }
    }

    pub fn camera(&self) -> Option<&Camera> {
        match self {
            Self::Camera(camera) => Some(camera),
            Self::Http(_) | Self::Https { .. } | Self::H2c(_) | Self::H2 { .. } | Self::Tcp(_) | Self::Udp { .. } => {
                None
            }
        }
    }

    pub fn password_file(&self) -> Option<&Path> {
        match self.camera()? {
            Camera::Web(camera) => camera.password_file.as_deref(),
            Camera::Device(_) | Camera::NetGear { .. } => None,
        }
    }

    /// What a web target calls itself. A host to write into headers: nobody dials it but this agent.
    pub fn origin(&self) -> TargetOrigin {
        match self {
            Self::Http(Place::Network { host, port }) | Self::H2c(Place::Network { host, port }) => {
                TargetOrigin::new(false, host.clone(), *port)
            }
            Self::Https { host, port, .. } | Self::H2 { host, port, .. } => {
                TargetOrigin::new(true, host.clone(), *port)
            }
            Self::Http(Place::Socket(_))
            | Self::H2c(Place::Socket(_))
            | Self::Tcp(_)
            | Self::Udp { .. }
            | Self::Camera(_) => TargetOrigin::default(),
        }
    }

    /// What the gateway shall speak with it, if it is a web target.
    pub fn protocol(&self) -> WebProtocol {
        match self {
            Self::Http(_) | Self::Https { .. } | Self::Tcp(_) | Self::Udp { .. } | Self::Camera(_) => {
                WebProtocol::Http1
            }
            Self::H2c(_) => WebProtocol::H2c,
            Self::H2 { .. } => WebProtocol::H2,
        }
    }

    /// Whether there is TLS that the agent checks.
    pub fn is_verified(&self) -> bool {
        match self {
            Self::Https { .. } | Self::H2 { .. } => true,
            Self::Camera(Camera::Web(camera)) => camera.verify.is_some(),
            Self::Http(_)
            | Self::H2c(_)
            | Self::Tcp(_)
            | Self::Udp { .. }
            | Self::Camera(Camera::Device(_) | Camera::NetGear { .. }) => false,
        }
    }

    pub fn kind(&self) -> ServiceKind {
        match self {
            Self::Http(_) | Self::Https { .. } | Self::H2c(_) | Self::H2 { .. } => ServiceKind::Http,
            Self::Tcp(_) => ServiceKind::Tcp,
            Self::Udp { .. } => ServiceKind::Udp,
            Self::Camera(_) => ServiceKind::Camera,
        }
    }

    /// The target's own port, if it has one that bytes may be sent to.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Http(Place::Network { port, .. })
            | Self::Https { port, .. }
            | Self::H2c(Place::Network { port, .. })
            | Self::H2 { port, .. }
            | Self::Tcp(Place::Network { port, .. })
            | Self::Udp { port, .. } => Some(*port),
            Self::Http(Place::Socket(_))
            | Self::H2c(Place::Socket(_))
            | Self::Tcp(Place::Socket(_))
            | Self::Camera(_) => None,
        }
    }
}

fn socket(path: &str) -> Result<Place, &'static str> {
    // unix(7): sun_path has 108 bytes with its NUL.
    match path.strip_prefix("//").unwrap_or(path) {
        path if !path.starts_with('/') => Err("the path of a socket starts with /"),
        path if path.len() > 107 => Err("the path of a socket has at most 107 bytes"),
        path => Ok(Place::Socket(PathBuf::from(path))),
    }
}

/// `host:port`, the host as a name, an IPv4 address or an IPv6 address in brackets.
fn authority(text: &str, default_port: Option<u16>) -> Result<(Host, u16), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains('/') || text.contains('?') {
        return Err("a target has no path; visitors' paths reach it as they are");
    }
    if text.contains('@') {
        return Err("a target has no user and password");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|&p| p != 0).ok_or("its port is not a number from 1 to 65535")?;
            (host, port)
        }
        Some(_) | None => (text, default_port.ok_or("it needs a port, as in tcp://127.0.0.1:22")?),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address stands in brackets, as in [::1]:8080");
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse() {
        Ok(ip) => Host::Ip(ip),
        Err(_) => Host::Name(HostName::parse(host).map_err(|e| e.why)?),
    };
    Ok((host, port))
}

impl TargetError {
    pub(crate) fn new(given: &str, why: impl Into<String>) -> Self {
        Self { given: given.chars().take(120).collect(), why: why.into() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(Place::Network { host, port }) => write!(f, "http://{host}:{port}"),
            Self::Https { host, port, .. } => write!(f, "https://{host}:{port}"),
            Self::H2c(Place::Network { host, port }) => write!(f, "h2c://{host}:{port}"),
            Self::H2 { host, port, .. } => write!(f, "h2://{host}:{port}"),
            Self::Tcp(Place::Network { host, port }) => write!(f, "tcp://{host}:{port}"),
            Self::Udp { host, port } => write!(f, "udp://{host}:{port}"),
            Self::Http(Place::Socket(path)) => write!(f, "http+unix:{}", path.display()),
            Self::H2c(Place::Socket(path)) => write!(f, "h2c+unix:{}", path.display()),
            Self::Tcp(Place::Socket(path)) => write!(f, "unix:{}", path.display()),
            Self::Camera(camera) => camera.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_keep_their_meaning_when_written_and_read_again() {
        let table = [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000", ServiceKind::Http),
            ("http://printer.local/", "http://printer.local:80", ServiceKind::Http),
            ("https://printer.local", "https://printer.local:443", ServiceKind::Http),
            ("tcp://[::1]:22", "tcp://[::1]:22", ServiceKind::Tcp),
            ("udp://127.0.0.1:53", "udp://127.0.0.1:53", ServiceKind::Udp),
            ("unix:/run/x.sock", "unix:/run/x.sock", ServiceKind::Tcp),
            ("unix:///run/x.sock", "unix:/run/x.sock", ServiceKind::Tcp),
            ("http+unix:/run/x.sock", "http+unix:/run/x.sock", ServiceKind::Http),
            ("h2c://127.0.0.1:50051", "h2c://127.0.0.1:50051", ServiceKind::Http),
            ("h2://grpc.lan", "h2://grpc.lan:443", ServiceKind::Http),
            ("h2c+unix:/run/x.sock", "h2c+unix:/run/x.sock", ServiceKind::Http),
        ];
        for (given, canonical, kind) in table {
            let target = Target::parse(given).unwrap();
            assert_eq!(target.to_string(), canonical);
            assert_eq!(target.kind(), kind);
            assert_eq!(Target::parse(canonical).unwrap(), target);
        }
    }

    #[test]
    fn a_refused_target_says_what_would_do() {
        let table = [
            ("5000", "write http://host:port"),
            ("ftp://host:21", "write http://host:port"),
            ("tcp://127.0.0.1", "needs a port"),
            ("tcp://127.0.0.1:0", "1 to 65535"),
            ("tcp://::1:22", "in brackets"),
            ("http://a:80/path", "no path"),
            ("http://user:pw@a:80", "no user"),
            ("unix:run/x.sock", "starts with /"),
            ("tcp://a b:22", "host name"),
        ];
        for (given, why) in table {
            let error = Target::parse(given).unwrap_err().to_string();
            assert!(error.contains(why) || why == "host name", "{given}: {error}");
        }
    }
}
