//! Entrances as written: whether a prefix is taken off may be left to the preset.

use doorward_core::names::{HostName, PathPrefix};
use doorward_core::service::{EntranceWish, PathWish};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Entrance {
    Host(HostName),
    Path(Path),
    TcpPort(u16),
    UdpPort(u16),
    Tls(HostName),
    SessionPort,
    Pinhole,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Path {
    host: Option<HostName>,
    prefix: PathPrefix,
    strip: Option<bool>,
}

impl Entrance {
    pub(super) fn wish(&self, strips: bool) -> EntranceWish {
        match self.clone() {
            Self::Host(host) => EntranceWish::Host(host),
            Self::Path(Path { host, prefix, strip }) => {
                EntranceWish::Path(PathWish { host, prefix, strip: strip.unwrap_or(strips) })
            }
            Self::TcpPort(port) => EntranceWish::TcpPort(port),
            Self::UdpPort(port) => EntranceWish::UdpPort(port),
            Self::Tls(host) => EntranceWish::Tls(host),
            Self::SessionPort => EntranceWish::SessionPort,
            Self::Pinhole => EntranceWish::Pinhole,
        }
    }
}
