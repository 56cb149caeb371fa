//! Short forms for `doorward http 5000 --name printer1`.

use crate::presets::Preset;
use crate::settings::Service;
use crate::target::{Target, TargetError};
use doorward_core::access::PolicyDocument;
use doorward_core::names::Label;
use doorward_core::service::{Offer, ServiceKind};
use doorward_core::web::{HeaderMode, WebOffer};

/// How targets on a unix socket begin.
const WITH_SOCKET: [&str; 3] = ["unix:", "http+unix:", "h2c+unix:"];

impl Target {
    /// `5000`, `host:5000`, `/run/x.sock`, or the whole form of `agent.toml`.
    pub fn parse_short(kind: ServiceKind, given: &str) -> Result<Self, TargetError> {
        let whole = if given.contains("://") || WITH_SOCKET.iter().any(|form| given.starts_with(form)) {
            given.to_owned()
        } else if given.starts_with('/') {
            match kind {
                ServiceKind::Http => format!("http+unix:{given}"),
                ServiceKind::Tcp => format!("unix:{given}"),
                ServiceKind::Udp => return Err(TargetError::new(given, "a udp service needs a host and a port")),
            }
        } else if !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit()) {
            format!("{kind}://localhost:{given}")
        } else {
            format!("{kind}://{given}")
        };
        let target = Self::parse(&whole)?;
        if target.kind() != kind {
            let why = format!("a {kind} service is wanted; for this target use `doorward {}`", target.kind());
            return Err(TargetError::new(given, why));
        }
        Ok(target)
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
        };
        Self { offer, target, mounts: Vec::new() }
    }
}

impl Service {
    /// What the preset says, where nothing else was said.
    pub fn with_preset(mut self, preset: &Preset) -> Self {
        let WebOffer { headers, forwarded, origin, .. } = &mut self.offer.web;
        (*headers, *forwarded) = (preset.headers, preset.forwarded);
        if preset.headers == HeaderMode::Rewrite {
            *origin = self.target.origin();
        }
        self
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
        ];
        for (kind, given, whole) in table {
            assert_eq!(Target::parse_short(kind, given).unwrap().to_string(), whole, "{given}");
        }
    }

    #[test]
    fn a_quick_service_claims_no_virtual_port() {
        let target = Target::parse_short(ServiceKind::Http, "5000").unwrap();
        let service = Service::new(Label::parse("http-5000").unwrap(), target, PolicyDocument::public());
        assert_eq!((service.target.port(), service.offer.virtual_port), (Some(5000), None));
    }

    #[test]
    fn a_short_form_of_another_kind_is_refused_with_the_right_command() {
        let error = Target::parse_short(ServiceKind::Tcp, "http://a:1").unwrap_err().to_string();
        assert!(error.contains("doorward http"), "{error}");
        for (kind, given) in [(ServiceKind::Udp, "/run/x"), (ServiceKind::Http, ""), (ServiceKind::Tcp, "99999")] {
            assert!(Target::parse_short(kind, given).is_err(), "{given:?} was taken");
        }
    }
}
