//! Dynamic DNS: one name is kept pointed at the addresses that this machine has now.
//!
//! Addresses go in, reports come out; [`Updater`] owns the task between. What was told last is on disk, so a restart
//! tells nothing twice: providers shut out whoever repeats themselves. What a provider answers decides whether it is
//! asked again, when, or not before the settings change (`answer.rs`).

mod address;
mod answer;
mod dyndns2;
mod https;
mod memory;
mod plan;
mod rfc2136;
mod settings;
mod task;
mod template;
#[cfg(test)]
mod tests;

pub use address::Addresses;
pub use https::{Trust, TrustError, Url, UrlError};
pub use memory::MemoryError;
pub use rfc2136::TsigHash;
pub use settings::{Dyndns2Settings, Method, Rfc2136Settings, Settings, SettingsError, TemplateSettings, Way};
pub use task::{Report, Updater};
