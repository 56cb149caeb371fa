//! Chains of our own in iptables, where nftables is not. Read and written as its own programs save and restore them.

mod firewall;
mod foreign;
mod listing;
mod lock;
mod programs;
mod rules;
mod window;

pub(crate) use firewall::Iptables;

use crate::settings::Settings;
use listing::{Family, Line, Listing, Place};
use lock::Lock;
use programs::{Flavour, Programs};
use rules::Kept;
use window::Window;

/// Every iptables on this machine, whoever's rules are in it.
pub(crate) fn all(settings: &Settings) -> Vec<Iptables> {
    Programs::all().into_iter().map(|programs| Iptables::new(programs, settings)).collect()
}
