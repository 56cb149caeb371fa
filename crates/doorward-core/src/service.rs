//! What a device offers, and how visitors arrive at it. How they arrive and what the agent connects to vary
//! independently: nothing here names a target.

use crate::access::{Policy, PolicyDocument};
use crate::names::{HostName, Label, PathPrefix};
use crate::prepare::PrepareOffer;
use crate::web::{Mount, WebOffer};
use crate::{AccountId, DeviceId, ServiceId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What kind of conversation a service holds; it decides which entrances make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    Http,
    Tcp,
    Udp,
    /// Pictures, which pass as frames (`doorward-frames`) and not as the camera's own bytes.
    Camera,
}

impl ServiceKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Camera => "camera",
        }
    }

    /// Whether visitors come to it by a web address.
    pub fn has_web_address(self) -> bool {
        match self {
            Self::Http | Self::Camera => true,
            Self::Tcp | Self::Udp => false,
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A service as the gateway knows it: one entry of the snapshot, and all that a decision looks at.
#[derive(Clone, Debug)]
pub struct Service {
    pub id: ServiceId,
    pub device: DeviceId,
    pub account: AccountId,
    pub device_name: Label,
    pub name: Label,
    pub title: String,
    pub kind: ServiceKind,
    pub standing: Standing,
    pub policy: Arc<Policy>,
    /// What is done with the requests of a web service.
    pub web: Arc<WebOffer>,
    /// `None`: it is there by itself.
    pub prepare: Option<PrepareOffer>,
}

impl Service {
    /// `device/service`, as people write it.
    pub fn path(&self) -> String {
        format!("{}/{}", self.device_name, self.name)
    }

    /// Whether its target, or the one that is mounted there, is a camera.
    pub fn is_camera(&self, mount: Option<&Mount>) -> bool {
        mount.map_or(self.kind == ServiceKind::Camera, |mount| mount.camera)
    }
}

/// What a gateway takes from one device, withdrawn ones included.
pub const MAX_SERVICES: usize = 100;

/// Whether a service may be visited at all, whatever its policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Offered,
    /// The device no longer lists it. Its names and ports stay reserved.
    Withdrawn,
    DeviceRevoked,
}

/// What a device declares about one service: the `[[service]]` table of the agent's file without its target, the
/// JSON of the API and of the wire. Unknown keys are refused, so a newer agent's rule is never silently dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Offer {
    pub name: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub kind: ServiceKind,
    /// How ssh and vpn visitors address the service, unique per device; never a target address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_port: Option<u16>,
    /// The main service of a device is reached by the device's name alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub main: bool,
    /// Further entrances than the default host name. Each needs the account's right to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrances: Vec<EntranceWish>,
    #[serde(default)]
    pub access: PolicyDocument,
    /// What a web service wants done with its requests.
    #[serde(default, skip_serializing_if = "WebOffer::is_usual")]
    pub web: WebOffer,
    /// Whether it must be made ready for its visitors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<PrepareOffer>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(b: &bool) -> bool {
    !b
}

/// An entrance that a device asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum EntranceWish {
    /// A host name of its own.
    Host(HostName),
    /// A path on a host that it may share with other services of the same owner.
    Path(PathWish),
    /// A public TCP port; 0 leaves the choice to the gateway, which then keeps it for ever.
    TcpPort(u16),
    /// A public UDP port; 0 as above.
    UdpPort(u16),
    /// A host name whose TLS is spoken by the service itself: the gateway passes it through unread.
    Tls(HostName),
    /// A public port for each session, as long as it is open.
    SessionPort,
    /// The same, and a straight way through the router of the device's home.
    Pinhole,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathWish {
    /// The site's own domain unless named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    pub prefix: PathPrefix,
    /// Whether the prefix is taken off before the request reaches the service.
    #[serde(default)]
    pub strip: bool,
}

/// Where a request for a host and path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebRoute {
    pub service: ServiceId,
    /// Set where only a part of the host belongs to the service.
    pub prefix: Option<PathPrefix>,
    pub strip: bool,
}

/// How a visitor arrived. A new entrance is one variant here and one file in the gateway's `listen/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    Web,
    TcpPort(u16),
    UdpPort(u16),
    Ssh,
    /// By the name in a TLS ClientHello.
    Tls,
    /// From a port of a person's own machine, by `doorward open`.
    Carried,
}

impl Entrance {
    pub fn word(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::TcpPort(_) => "tcp",
            Self::UdpPort(_) => "udp",
            Self::Ssh => "ssh",
            Self::Tls => "tls",
            Self::Carried => "carried",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_with_an_entrance_of_a_newer_release_is_refused_and_none_is_left_out() {
        let offer = |entrance: &str| {
            serde_json::from_str::<Offer>(&format!(
                r#"{{"name":"a","kind":"tcp","entrances":[{{"tcp-port":0}},{entrance}]}}"#
            ))
        };
        let known = offer(r#"{"tls":"Vault.example.org."}"#).unwrap();
        assert_eq!(serde_json::to_string(&known.entrances).unwrap(), r#"[{"tcp-port":0},{"tls":"vault.example.org"}]"#);
        for unknown in
            [r#"{"sni":"vault.example.org"}"#, r#"{"tls":"vault.example.org","ech":true}"#, r#"{"tls":"a b"}"#]
        {
            assert!(offer(unknown).is_err(), "{unknown}");
        }
    }
}
