//! `doorward router`: keeps the pinholes of a home router.
//!
//! It hears one kind of message on a unix socket, all pinholes that there shall be, and puts them into rules of its own,
//! in nftables or, where that is not, in iptables. Every session there ends by itself, and connections whose session is not alive are reset by a rule: so
//! sessions end when this daemon, the agent and the gateway are dead. What may be asked for is in a file that only the
//! machine's owner writes. One thread, no async runtime: little to review, and rights belong to threads.

mod conntrack;
mod daemon;
mod elements;
mod error;
mod fate;
mod firewall;
mod iptables;
mod nftables;
mod ports;
mod privileges;
mod settings;
mod socket;

pub use daemon::{Options, Prepared, prepare, remove};
pub use error::RouterError;
pub use settings::{Settings, SettingsError};

use std::path::{Path, PathBuf};

/// Where agents find the daemon unless told otherwise.
pub fn usual_socket() -> PathBuf {
    Path::new("/run/doorward-router/router.sock").to_owned()
}
