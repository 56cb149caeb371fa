//! Where people sign in.

use super::wrong;
use doorward_core::names::HostName;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PortalFile {
    /// The portal's own host name: `portal.` before the domain unless said.
    pub host: Option<HostName>,
    /// Whether there is one at all; there is unless said.
    pub public: Option<bool>,
    /// Whether it is there only for whoever knocked.
    #[serde(default, rename = "hidden")]
    pub is_hidden: bool,
}

impl PortalFile {
    pub(super) fn host_below(&self, domain: &HostName) -> anyhow::Result<Option<HostName>> {
        match (&self.host, self.public) {
            (Some(_), Some(false)) => Err(wrong("portal.host", "it means nothing where public = false")),
            (None, Some(false)) => Ok(None),
            (Some(host), _) if host == domain => {
                let why = format!("{host} is the domain itself, below which services are: give it a name of its own");
                Err(wrong("portal.host", why))
            }
            (Some(host), _) => Ok(Some(host.clone())),
            (None, _) => domain.child("portal").map(Some).map_err(|error| wrong("portal.host", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{File, ServeSettings};

    fn settings(text: &str) -> anyhow::Result<ServeSettings> {
        toml::from_str::<File>(text)?.into_settings("/tmp/x".into())
    }

    #[test]
    fn the_portal_is_below_the_domain_unless_said() {
        let table = [
            ("domain = \"example.org\"", Some("portal.example.org")),
            ("", Some("portal.localhost")),
            ("domain = \"example.org\"\n[portal]\nhost = \"Doors.example.net\"", Some("doors.example.net")),
            ("domain = \"example.org\"\n[portal]\npublic = false", None),
            ("domain = \"example.org\"\nbehind = \"127.0.0.1:8080\"", Some("portal.example.org")),
        ];
        for (text, host) in table {
            let portal = settings(text).unwrap().site.portal;
            assert_eq!(portal.as_ref().map(|host| host.as_str()), host, "{text}");
        }
        for bad in ["domain = \"a.org\"\n[portal]\nhost = \"a.org\"", "[portal]\npublic = false\nhost = \"a.org\""] {
            assert!(settings(bad).unwrap_err().to_string().starts_with("portal.host: "), "{bad}");
        }
    }
}
