//! `[port-mapping]`: for which services' sessions the home's router is asked for a port. For none, unless it says so here.

use super::Service;
use super::file::Fault;
use doorward_core::names::Label;
use doorward_core::service::ServiceKind;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Spanned;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMappingSettings {
    /// Empty: none.
    pub allow: BTreeSet<Label>,
    /// Whether a router that knows no ends may make mappings that only we take back.
    pub permanent: bool,
    /// What the router is asked for at most.
    pub lease: Duration,
}

impl Default for PortMappingSettings {
    fn default() -> Self {
        Self { allow: BTreeSet::new(), permanent: true, lease: Duration::from_secs(3600) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PortMappingTable {
    #[serde(default)]
    allow: Vec<Spanned<Label>>,
    permanent: Option<bool>,
    lease_seconds: Option<Spanned<u32>>,
}

/// Routers round less up or refuse it; a day is what the protocols' documents call long.
const LEASE: std::ops::RangeInclusive<u32> = 120..=86_400;

impl PortMappingTable {
    pub(super) fn read(self, services: &[Service]) -> Result<PortMappingSettings, Fault> {
        let usual = PortMappingSettings::default();
        let allowed = |name: Spanned<Label>| {
            let (at, name) = (name.span(), name.into_inner());
            let offer = services.iter().map(|service| &service.offer).find(|offer| offer.name == name);
            match offer.map(|offer| offer.kind) {
                Some(ServiceKind::Tcp) => Ok(name),
                Some(ServiceKind::Udp | ServiceKind::Http | ServiceKind::Camera) => {
                    Err(Fault::new(&at, format!("\"{name}\" is no TCP service, and only those get port mappings")))
                }
                None => Err(Fault::new(&at, format!("there is no service \"{name}\" in this file"))),
            }
        };
        let lease = match self.lease_seconds {
            None => usual.lease,
            Some(given) if LEASE.contains(given.get_ref()) => Duration::from_secs((*given.get_ref()).into()),
            Some(given) => return Err(Fault::new(&given.span(), "a lease is a number of seconds from 120 to 86400")),
        };
        let allow = self.allow.into_iter().map(allowed).collect::<Result<_, _>>()?;
        Ok(PortMappingSettings { allow, permanent: self.permanent.unwrap_or(usual.permanent), lease })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::path::Path;

    const SERVICES: &str = "[[service]]\nname = \"nas\"\ntarget = \"tcp://192.168.1.20:22\"\nentrances = [\"pinhole\"]\n\
        [[service]]\nname = \"page\"\ntarget = \"http://127.0.0.1:80\"\n[[service]]\nname = \"game\"\ntarget = \"udp://a:1\"\n";

    fn parse(table: &str) -> Result<PortMappingSettings, String> {
        let parsed = Settings::parse(&format!("{SERVICES}{table}"), Path::new("agent.toml"));
        parsed.map(|settings| settings.port_mapping).map_err(|error| error.to_string())
    }

    #[test]
    fn a_port_mapping_is_allowed_by_name_and_then_needs_no_address() {
        let port_mapping =
            parse("[port-mapping]\nallow = [\"nas\"]\npermanent = false\nlease-seconds = 600\n").unwrap();
        assert_eq!(port_mapping.allow.iter().map(Label::as_str).collect::<Vec<_>>(), ["nas"]);
        assert_eq!((port_mapping.permanent, port_mapping.lease), (false, Duration::from_secs(600)));
        let usual = parse("[port-mapping]\nallow = [\"nas\"]\n").unwrap();
        assert_eq!((usual.permanent, usual.lease), (true, Duration::from_secs(3600)));
        for nothing in ["", "[port-mapping]\n", "[port-mapping]\nallow = []\n"] {
            let error = parse(nothing).unwrap_err();
            assert!(error.contains("pinhole-to") && error.contains("[port-mapping] allow"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_told_with_its_place() {
        for (table, why) in [
            ("allow = [\"nas\", \"other\"]", "there is no service \"other\""),
            ("allow = [\"nas\", \"page\"]", "\"page\" is no TCP service"),
            ("allow = [\"nas\", \"game\"]", "\"game\" is no TCP service"),
            ("allow = [\"nas\"]\nlease-seconds = 60", "from 120 to 86400"),
            ("allow = [\"nas\"]\nlease-seconds = 90000", "from 120 to 86400"),
            ("allow = [\"nas\"]\nport = 40000", "unknown field"),
        ] {
            let error = parse(&format!("[port-mapping]\n{table}\n")).unwrap_err();
            assert!(error.contains(why) && error.starts_with("agent.toml:1"), "{table}: {error}");
        }
    }
}
