//! UPnP-IGD 1 and 2: find the router by SSDP, read what it is, ask it by SOAP over HTTP.
//!
//! Threat: anything on the LAN answers searches, and what answers names addresses (CallStranger, CVE-2020-12695). Here
//! an answer counts from the router alone, and every address in it must be the router's ([`Location`]).

mod description;
mod http;
mod location;
mod search;
mod soap;

use crate::route::Network;
use crate::wish::Protocol;
#[cfg(not(feature = "fuzzing"))]
use description::Description;
pub(crate) use location::Location;
use soap::Fields;
pub(crate) use soap::{Fault, Remedy};
use std::net::Ipv4Addr;
use std::time::Duration;
use thiserror::Error;

#[cfg(feature = "fuzzing")]
pub(crate) use {description::Description, search::read_answer, soap::read_response};

#[derive(Debug, Error)]
pub(crate) enum UpnpError {
    #[error("no answer: {0}")]
    Silent(String),
    #[error("its answer makes no sense: {0}")]
    Strange(String),
    #[error("it is another router than was asked before")]
    Other,
    #[error("error {} ({})", .0.code, .0.meaning())]
    Refused(Fault),
}

/// A router that was found.
#[derive(Clone, Debug)]
pub(crate) struct Igd {
    /// Its own name, which stays when addresses change.
    pub(crate) udn: String,
    service: String,
    control: Location,
}

/// What to map, or what is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) protocol: Protocol,
    pub(crate) external_port: u16,
    pub(crate) remote: Option<Ipv4Addr>,
    pub(crate) local: Ipv4Addr,
    pub(crate) internal_port: u16,
}

/// What a router says of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) local: Option<Ipv4Addr>,
    pub(crate) internal_port: u16,
    pub(crate) description: String,
    /// `None`: it has no end.
    pub(crate) lease: Option<Duration>,
}

impl Igd {
    /// Searches, and reads what answered. A router with several lines is asked by the one that has an address.
    pub(crate) async fn find(network: &Network) -> Result<Self, UpnpError> {
        let location = search::search(network).await.ok_or_else(|| UpnpError::Silent("to searches".to_owned()))?;
        let bytes = http::fetch(&location).await?;
        let description = Description::read(&bytes, &location).map_err(|why| UpnpError::Strange(why.to_owned()))?;
        let mut found = None;
        for (service, control) in description.services {
            let igd = Self { udn: description.udn.clone(), service, control };
            if igd.external_address().await.is_ok_and(|address| !address.is_unspecified()) {
                return Ok(igd);
            }
            found = found.or(Some(igd));
        }
        found.ok_or_else(|| UpnpError::Strange("it has no line to the internet".to_owned()))
    }

    pub(crate) async fn external_address(&self) -> Result<Ipv4Addr, UpnpError> {
        let fields = self.act("GetExternalIPAddress", &[]).await?;
        let text = fields.first("NewExternalIPAddress").unwrap_or_default();
        // An empty address is a line that is down (WANIPConnection:2, 2.3.12).
        if text.is_empty() { Ok(Ipv4Addr::UNSPECIFIED) } else { text.parse().map_err(|_| strange("no address")) }
    }

    /// `lease` of zero: without an end.
    pub(crate) async fn add(&self, entry: &Entry, lease: Duration, description: &str) -> Result<(), UpnpError> {
        let mut arguments = key(entry);
        arguments.extend([
            ("NewInternalPort", entry.internal_port.to_string()),
            ("NewInternalClient", entry.local.to_string()),
            ("NewEnabled", "1".to_owned()),
            ("NewPortMappingDescription", description.to_owned()),
            ("NewLeaseDuration", lease.as_secs().min(u32::MAX.into()).to_string()),
        ]);
        self.act("AddPortMapping", &arguments).await.map(drop)
    }

    /// What is there under this port, for this source; `None`: nothing.
    pub(crate) async fn look_up(&self, entry: &Entry) -> Result<Option<Present>, UpnpError> {
        let fields = match self.act("GetSpecificPortMappingEntry", &key(entry)).await {
            Ok(fields) => fields,
            Err(UpnpError::Refused(fault)) if fault.is_no_such_entry() => return Ok(None),
            Err(error) => return Err(error),
        };
        let number = |name: &str| fields.first(name).and_then(|text| text.parse::<u32>().ok());
        let lease = number("NewLeaseDuration").ok_or_else(|| strange("a mapping without a lease"))?;
        Ok(Some(Present {
            local: fields.first("NewInternalClient").and_then(|text| text.parse().ok()),
            internal_port: number("NewInternalPort").and_then(|port| port.try_into().ok()).unwrap_or(0),
            description: fields.first("NewPortMappingDescription").unwrap_or_default().to_owned(),
            lease: (lease != 0).then(|| Duration::from_secs(lease.into())),
        }))
    }

    pub(crate) async fn delete(&self, entry: &Entry) -> Result<(), UpnpError> {
        self.act("DeletePortMapping", &key(entry)).await.map(drop)
    }

    async fn act(&self, action: &'static str, arguments: &[(&'static str, String)]) -> Result<Fields, UpnpError> {
        let envelope = soap::envelope(&self.service, action, arguments);
        let header = format!("\"{}#{action}\"", self.service);
        let bytes = http::post(&self.control, &header, envelope).await?;
        match soap::read_response(action, &bytes) {
            Ok(Ok(fields)) => Ok(fields),
            Ok(Err(fault)) => Err(UpnpError::Refused(fault)),
            Err(why) => Err(strange(why)),
        }
    }
}

fn strange(why: &str) -> UpnpError {
    UpnpError::Strange(why.to_owned())
}

fn key(entry: &Entry) -> Vec<(&'static str, String)> {
    vec![
        ("NewRemoteHost", entry.remote.map(|address| address.to_string()).unwrap_or_default()),
        ("NewExternalPort", entry.external_port.to_string()),
        ("NewProtocol", entry.protocol.name().to_owned()),
    ]
}
