//! Short forms for `doorward http 5000 --name printer1`.

use crate::presets::Preset;
use crate::settings::{PageFiles, Service, web_offer};
use crate::target::{Target, TargetError, Verify};
use doorward_core::access::PolicyDocument;
use doorward_core::names::{Label, PathPrefix};
use doorward_core::service::{Offer, ServiceKind};
use doorward_core::web::{HeaderMode, WebOffer};

/// How targets on a unix socket begin.
const WITH_SOCKET: [&str; 3] = ["unix:", "http+unix:", "h2c+unix:"];

/// What the command line says of a web service's requests.
#[derive(Clone, Debug, Default)]
pub struct WebWish {
    pub preset: Option<&'static Preset>,
    /// Outweighs the preset's.
    pub headers: Option<HeaderMode>,
    /// For all `https://` targets.
    pub verify: Verify,
    /// Further targets, in short forms.
    pub mounts: Vec<(PathPrefix, String)>,
}

impl Target {
    /// `5000`, `host:5000`, `/run/x.sock`, or the whole form of `agent.toml`; with the part of it that is the service,
    /// where that is not all of it.
    pub fn parse_short(kind: ServiceKind, given: &str) -> Result<(Self, Option<PathPrefix>), TargetError> {
        if kind == ServiceKind::Camera {
            let target = Self::parse(&camera(given))?;
            target.camera().ok_or_else(|| TargetError::new(given, "a camera is wanted"))?;
            return Ok((target, None));
        }
        let whole = if given.contains("://") || WITH_SOCKET.iter().any(|form| given.starts_with(form)) {
            given.to_owned()
        } else if given.starts_with('/') {
            match kind {
                ServiceKind::Http => format!("http+unix:{given}"),
                ServiceKind::Tcp => format!("unix:{given}"),
                ServiceKind::Udp | ServiceKind::Camera => {
                    return Err(TargetError::new(given, "a udp service needs a host and a port"));
                }
            }
        } else if !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit()) {
            format!("{kind}://localhost:{given}")
        } else {
            format!("{kind}://{given}")
        };
        let (target, base) = Self::parse_with_base(&whole, Verify::System)?;
        if target.kind() != kind {
            let why = format!("a {kind} service is wanted; for this target use `doorward {}`", target.kind());
            return Err(TargetError::new(given, why));
        }
        Ok((target, base))
    }
}

/// `8080/?action=stream`, `esp32.local/stream`, `http://esp32.local/stream`, `/dev/video0` or the whole form.
fn camera(given: &str) -> String {
    let place = given.split(['/', '?']).next().unwrap_or_default();
    if given.starts_with('/') {
        format!("camera:{given}")
    } else if ["http://", "https://"].iter().any(|scheme| given.starts_with(scheme)) {
        format!("camera+{given}")
    } else if given.contains("://") || given.starts_with("camera:") {
        given.to_owned()
    } else if !place.is_empty() && place.bytes().all(|b| b.is_ascii_digit()) {
        format!("camera+http://localhost:{given}")
    } else {
        format!("camera+http://{given}")
    }
}

impl Service {
    /// A service with nothing but a name, a target and a policy. It claims no virtual port: that of the target may be
    /// another service's, which was there before.
    pub fn new(name: Label, target: Target, access: PolicyDocument) -> Self {
        let offer = Offer {
            name,
            title: None,
            kind: target.kind(),
            virtual_port: None,
            main: false,
            entrances: Vec::new(),
            access,
            web: WebOffer { protocol: target.protocol(), ..WebOffer::default() },
            prepare: None,
        };
        Self {
            offer,
            target,
            mounts: Vec::new(),
            page_files: PageFiles::default(),
            plan: None,
            pinhole_to: None,
            written_at: None,
        }
    }
}

impl Service {
    /// The service with its requests treated so. `base`: the part of its target that it is.
    pub fn with_web(self, wish: &WebWish, base: Option<PathPrefix>) -> Result<Self, TargetError> {
        let target = self.target.verified(wish.verify);
        let mount = |(path, given): &(PathPrefix, String)| {
            let (target, base) = match Target::parse(given) {
                Ok(camera) if camera.kind() == ServiceKind::Camera => (camera, None),
                Ok(_) | Err(_) => Target::parse_short(ServiceKind::Http, given)?,
            };
            Ok((path.clone(), (target.verified(wish.verify), base)))
        };
        let mounts = wish.mounts.iter().map(mount).collect::<Result<Vec<_>, TargetError>>()?;
        let usual = wish.preset.map_or(HeaderMode::Preserve, |preset| preset.headers);
        let web = web_offer(wish.headers.unwrap_or(usual), (&target, base), &mounts);
        let web = WebOffer { forwarded: wish.preset.is_some_and(|preset| preset.forwarded), ..web };
        let mounts = mounts.into_iter().map(|(path, (target, _))| (path, target)).collect();
        Ok(Self { offer: Offer { web, ..self.offer }, target, mounts, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_stand_for_whole_ones() {
        let table = [
            (ServiceKind::Http, "5000", "http://localhost:5000"),
            (ServiceKind::Http, "printer.lan:5000", "http://printer.lan:5000"),
            (ServiceKind::Http, "printer.lan", "http://printer.lan:80"),
            (ServiceKind::Http, "http://10.0.0.5:80", "http://10.0.0.5:80"),
            (ServiceKind::Http, "/run/x.sock", "http+unix:/run/x.sock"),
            (ServiceKind::Http, "h2c://localhost:50051", "h2c://localhost:50051"),
            (ServiceKind::Http, "h2c+unix:/run/x.sock", "h2c+unix:/run/x.sock"),
            (ServiceKind::Tcp, "22", "tcp://localhost:22"),
            (ServiceKind::Tcp, "unix:/run/x.sock", "unix:/run/x.sock"),
            (ServiceKind::Udp, "[::1]:53", "udp://[::1]:53"),
            (ServiceKind::Camera, "8080/?action=stream", "camera+http://localhost:8080/?action=stream"),
            (ServiceKind::Camera, "esp32.local", "camera+http://esp32.local:80/"),
            (ServiceKind::Camera, "https://10.0.0.5/video", "camera+https://10.0.0.5:443/video"),
            (ServiceKind::Camera, "/dev/video0", "camera:/dev/video0"),
            (ServiceKind::Camera, "netgear://127.0.0.1:5454", "netgear://127.0.0.1:5454"),
        ];
        for (kind, given, whole) in table {
            assert_eq!(Target::parse_short(kind, given).unwrap().0.to_string(), whole, "{given}");
        }
    }

    #[test]
    fn a_quick_service_claims_no_virtual_port() {
        let (target, _) = Target::parse_short(ServiceKind::Http, "5000").unwrap();
        let service = Service::new(Label::parse("http-5000").unwrap(), target, PolicyDocument::public());
        assert_eq!((service.target.port(), service.offer.virtual_port), (Some(5000), None));
    }

    #[test]
    fn a_short_form_of_another_kind_is_refused_with_the_right_command() {
        let error = Target::parse_short(ServiceKind::Tcp, "http://a:1").unwrap_err().to_string();
        assert!(error.contains("doorward http"), "{error}");
        for (kind, given) in [
            (ServiceKind::Udp, "/run/x"),
            (ServiceKind::Camera, "tcp://a:1"),
            (ServiceKind::Http, ""),
            (ServiceKind::Tcp, "99999"),
        ] {
            assert!(Target::parse_short(kind, given).is_err(), "{given:?} was taken");
        }
    }

    #[test]
    fn a_quick_web_service_has_what_a_file_would_give_it() {
        let wish = WebWish {
            preset: Some(Preset::find("jupyter").unwrap()),
            verify: Verify::Off,
            mounts: vec![
                (PathPrefix::parse("/webcam/").unwrap(), "8080".to_owned()),
                (PathPrefix::parse("/door/").unwrap(), "https://10.9.8.7/mjpeg/".to_owned()),
            ],
            ..WebWish::default()
        };
        let (target, base) = Target::parse_short(ServiceKind::Http, "https://localhost:8888/app/").unwrap();
        let service = Service::new(Label::parse("app").unwrap(), target, PolicyDocument::public());
        let service = service.with_web(&wish, base).unwrap();
        let text = "[[service]]\nname = \"app\"\ntarget = \"https://localhost:8888/app/\"\npreset = \"jupyter\"\n\
                    verify = \"off\"\naccess = { who = \"public\" }\n\
                    mounts = { \"/webcam/\" = \"http://localhost:8080\", \"/door/\" = \"https://10.9.8.7/mjpeg/\" }\n";
        let written = crate::Settings::parse(text, std::path::Path::new("agent.toml")).unwrap().services.remove(0);
        assert_eq!(service.target, written.target);
        let by_path = |mut service: Service| {
            service.mounts.sort_by_key(|(path, _)| path.to_string());
            service.offer.web.mounts.sort_by_key(|mount| mount.path.to_string());
            (service.mounts, service.offer.web)
        };
        assert_eq!(by_path(service), by_path(written));
    }
}
