//! `[sessions]` of `gateway.toml`.

use super::{port_range, wrong};
use serde::Deserialize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SessionsFile {
    /// From which sessions get ports of their own: none, unless said.
    pub ports: Option<String>,
}

impl SessionsFile {
    /// A port is either a service's for ever, listened on, or a session's for a while. Each of the others with its key.
    pub(super) fn ports(
        &self,
        services: &[(&str, &RangeInclusive<u16>)],
        listened: &[(&str, &[SocketAddr])],
    ) -> anyhow::Result<Option<RangeInclusive<u16>>> {
        let Some(given) = self.ports.as_deref() else { return Ok(None) };
        let pool = port_range(Some(given)).map_err(|why| wrong("sessions.ports", why))?;
        let taken = |key: &str, range: &str| {
            let why = format!("{given} overlaps {key}, which is {range}: name ports that nothing else has");
            Err(wrong("sessions.ports", why))
        };
        for (key, range) in services {
            if range.start() <= pool.end() && pool.start() <= range.end() {
                return taken(key, &format!("{}-{}", range.start(), range.end()));
            }
        }
        for (key, addresses) in listened {
            if let Some(address) = addresses.iter().find(|address| pool.contains(&address.port())) {
                return taken(key, &address.to_string());
            }
        }
        Ok(Some(pool))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{File, ServeSettings};

    fn settings(text: &str) -> anyhow::Result<ServeSettings> {
        toml::from_str::<File>(text)?.into_settings("/tmp/x".into())
    }

    #[test]
    fn the_pool_of_sessions_overlaps_nothing_that_is_somebody_elses() {
        assert_eq!(settings("").unwrap().site.session_ports, None);
        let pool = |text: &str| settings(text).unwrap().site.session_ports;
        assert_eq!(pool("[sessions]\nports = \"21000-21999\""), Some(21_000..=21_999));
        assert_eq!(pool("[sessions]\nports = \"20500\"\n[ports]\ntcp = \"1-2\"\nudp = \"1-2\""), Some(20_500..=20_500));
        let table = [
            ("[sessions]\nports = \"20999-21999\"", "ports.tcp, which is 20000-20999"),
            ("[sessions]\nports = \"20500\"\n[ports]\ntcp = \"1-2\"", "ports.udp, which is 20000-20999"),
            (
                "[sessions]\nports = \"8000-9000\"\n[listen]\nhttps = [\"0.0.0.0:8443\"]",
                "listen.https, which is 0.0.0.0:8443",
            ),
            ("[sessions]\nports = \"2000-3000\"\n[listen]\nssh = [\"0.0.0.0:2222\"]", "listen.ssh"),
            ("[sessions]\nports = \"9\u{2013}10\"", "is not a range of ports"),
        ];
        for (text, why) in table {
            let error = settings(text).unwrap_err().to_string();
            assert!(error.starts_with("sessions.ports: ") && error.contains(why), "{text}: {error}");
        }
    }
}
