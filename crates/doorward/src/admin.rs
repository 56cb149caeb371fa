//! The owner's commands: a client of the REST API on the gateway's unix socket. Whoever can open the socket is the
//! owner. Each command returns what is to be printed.

pub mod access;
pub mod alerts;
pub mod approvals;
pub mod audit;
pub mod authority;
pub mod certify;
mod client;
pub mod client_certificates;
pub mod devices;
pub mod groups;
pub mod invites;
pub mod knock_keys;
pub mod people;
pub mod portal;
pub mod release;
pub mod services;
pub mod sessions;
pub mod shares;
pub mod site_key;
pub mod ssh;
pub mod ssh_passwords;
pub mod status;
pub(crate) mod table;
pub mod tokens;
pub mod welcomes;
pub mod when;

#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod portal_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod welcomes_tests;

pub use client::{Answer, AskError, Owner};
pub use table::Table;

use std::fmt;
use std::str::FromStr;

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Table,
    /// As the API answers it, for programs.
    Json,
}

/// `device/service`, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePath {
    pub device: String,
    pub service: String,
}

impl FromStr for ServicePath {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given.split_once('/') {
            Some((device, service)) if !device.is_empty() && !service.is_empty() && !service.contains('/') => {
                Ok(Self { device: device.to_owned(), service: service.to_owned() })
            }
            Some(_) | None => Err("write it as DEVICE/SERVICE, as `doorward services` lists it".to_owned()),
        }
    }
}

impl fmt::Display for ServicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device, self.service)
    }
}
