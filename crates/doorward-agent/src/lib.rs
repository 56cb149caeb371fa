//! The private side: an agent dials its gateways, tells them what the device offers, and connects visitors to local
//! targets. It only ever dials out, and it runs unprivileged.
//!
//! What a gateway can reach is bounded by the agent's own list ([`settings`]): a gateway names a service, and only
//! the agent knows the target.

mod additions;
mod agent;
mod cameras;
mod connection;
mod counts;
mod deliver;
mod join;
mod network;
mod pinholes;
mod ports;
mod prepare;
pub mod presets;
mod proxy;
mod quick;
pub mod scan;
pub mod settings;
mod state;
mod status;
mod target;
mod tempo;
mod upkeep;
mod wake;

pub use agent::{Agent, AgentError};
pub use cameras::{Sight, look_at_camera};
pub use join::{JOIN_LIMIT, JoinError, JoinOptions, Joined, join, join_if_invited};
pub use prepare::{Address, Command, Deed, Hook, Plan, Probe, Readiness, Step};
pub use proxy::{ProxyError, ProxyRule};
pub use quick::WebWish;
pub use settings::{GatewaySettings, PageFiles, Service, Settings, SettingsError};
pub use state::{KnownSite, Membership, StateDir, StateError};
pub use status::{GatewayStatus, LinkState, ServiceStatus, Status};
pub use target::{Camera, CertificatePin, Place, Target, TargetDocument, TargetError, Verify, WebCamera};
pub use tempo::Tempo;
pub use upkeep::{LogTail, Upkeep};
pub use wake::{MacAddress, Wake};
