//! Cameras as targets: where their pictures come from.

use super::{TargetError, Verify, authority};
use doorward_core::site::Host;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Camera {
    /// A stream of pictures, or one picture that is asked for again and again: what it answers tells which.
    Web(WebCamera),
    /// `/dev/video0`, or a file or pipe with one JPEG after another.
    Device(PathBuf),
    /// A place of this machine to which VidGear's NetGear sends.
    NetGear { host: Host, port: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebCamera {
    pub host: Host,
    pub port: u16,
    /// `Some`: TLS, checked so.
    pub verify: Option<Verify>,
    /// With its query, which may be the camera's secret.
    pub path: String,
    /// Where `user:password` stands.
    pub password_file: Option<PathBuf>,
}

pub(super) const FORMS: &str =
    "camera+http://host:port/path, camera+https://host:port/path, camera:/dev/video0 or netgear://127.0.0.1:5454";

impl Camera {
    /// `None`: it is written as something else.
    pub(super) fn parse(given: &str) -> Option<Result<Self, String>> {
        if let Some(path) = given.strip_prefix("camera:") {
            return Some(device(path).map_err(str::to_owned));
        }
        let (scheme, rest) = given.split_once("://")?;
        match scheme {
            "camera+http" => Some(web(rest, 80, None)),
            "camera+https" => Some(web(rest, 443, Some(Verify::System))),
            "netgear" => Some(netgear(rest)),
            _ => None,
        }
    }

    /// Where it is, without what may be secret.
    pub fn place(&self) -> String {
        match self {
            Self::Web(camera) => format!("{}://{}", camera.scheme(), camera.authority()),
            Self::Device(_) | Self::NetGear { .. } => self.to_string(),
        }
    }

    pub(super) fn with_password_file(self, given: &str, file: &Path) -> Result<Self, TargetError> {
        match self {
            Self::Web(_) if !file.is_absolute() => {
                Err(TargetError::new(given, "write its password-file with its whole path, from / on"))
            }
            Self::Web(camera) => Ok(Self::Web(WebCamera { password_file: Some(file.to_owned()), ..camera })),
            Self::Device(_) | Self::NetGear { .. } => Err(TargetError::new(given, NO_PASSWORD)),
        }
    }
}

pub(super) const NO_PASSWORD: &str = "password-file is for cameras that are written camera+http:// or camera+https://";

impl WebCamera {
    fn scheme(&self) -> &'static str {
        if self.verify.is_some() { "camera+https" } else { "camera+http" }
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As its own Host header has it.
    pub(crate) fn host_header(&self) -> String {
        let usual = if self.verify.is_some() { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { self.authority() }
    }
}

fn web(rest: &str, usual_port: u16, verify: Option<Verify>) -> Result<Camera, String> {
    let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if place.contains('@') {
        return Err("its user and password go into a file: password-file = \"/etc/doorward/camera\"".to_owned());
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err("its path is of ASCII without blanks and #: write %20 for a blank".to_owned());
    }
    let (host, port) = authority(place, Some(usual_port))?;
    Ok(Camera::Web(WebCamera { host, port, verify, path, password_file: None }))
}

fn device(path: &str) -> Result<Camera, &'static str> {
    match path.strip_prefix("//").unwrap_or(path) {
        path if path.starts_with('/') => Ok(Camera::Device(PathBuf::from(path))),
        _ => Err("the path of a device starts with /, as in camera:/dev/video0"),
    }
}

/// Whoever reaches the place may send pictures: it is this machine alone, unless its owner names an address.
fn netgear(rest: &str) -> Result<Camera, String> {
    let (host, port) = authority(rest, None)?;
    let is_own = match &host {
        Host::Ip(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Host::Name(name) => name.as_str() == "localhost",
    };
    if is_own {
        return Ok(Camera::NetGear { host, port });
    }
    Err("it is where this device receives: write 127.0.0.1, or the one address of this device that the sender reaches"
        .to_owned())
}

impl fmt::Display for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(camera) => write!(f, "{}://{}{}", camera.scheme(), camera.authority(), camera.path),
            Self::Device(path) => write!(f, "camera:{}", path.display()),
            Self::NetGear { host, port } => write!(f, "netgear://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::target::Target;
    use doorward_core::service::ServiceKind;

    #[test]
    fn cameras_keep_their_meaning_when_written_and_read_again() {
        let table = [
            ("camera+http://127.0.0.1:8080/?action=stream", "camera+http://127.0.0.1:8080/?action=stream"),
            ("camera+http://esp32.local", "camera+http://esp32.local:80/"),
            ("camera+https://[::1]?x", "camera+https://[::1]:443/?x"),
            ("camera:/dev/video0", "camera:/dev/video0"),
            ("camera:///run/pictures", "camera:/run/pictures"),
            ("netgear://127.0.0.1:5454/", "netgear://127.0.0.1:5454"),
            ("netgear://localhost:5454", "netgear://localhost:5454"),
            ("netgear://192.168.3.4:5454", "netgear://192.168.3.4:5454"),
        ];
        for (given, canonical) in table {
            let target = Target::parse(given).unwrap();
            assert_eq!(target.to_string(), canonical);
            assert_eq!((target.kind(), target.port()), (ServiceKind::Camera, None));
            assert_eq!(Target::parse(canonical).unwrap(), target);
        }
    }

    #[test]
    fn a_refused_camera_says_what_would_do() {
        let table = [
            ("camera+http://admin:secret@10.0.0.2/", "password-file"),
            ("camera+http://10.0.0.2/a b", "%20"),
            ("camera+http://10.0.0.2:0/", "1 to 65535"),
            ("camera:dev/video0", "starts with /"),
            ("netgear://127.0.0.1", "needs a port"),
            ("netgear://0.0.0.0:5454", "write 127.0.0.1"),
            ("netgear://[::]:5454", "write 127.0.0.1"),
            ("netgear://printer.lan:5454", "write 127.0.0.1"),
            ("camera+ftp://a", "camera+http://host:port/path"),
        ];
        for (given, why) in table {
            let error = Target::parse(given).unwrap_err().to_string();
            assert!(error.contains(why), "{given}: {error}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_in_its_place() {
        let Target::Camera(camera) = Target::parse("camera+http://10.0.0.2/video?pwd=hunter2").unwrap() else {
            panic!("a camera")
        };
        assert_eq!(camera.place(), "camera+http://10.0.0.2:80");
    }
}
