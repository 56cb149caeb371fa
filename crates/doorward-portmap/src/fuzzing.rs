//! What reads a router's bytes, for the fuzz target `router_answer`.

use crate::upnp::{self, Description, Location};
use crate::wish::Protocol;
use crate::{natpmp, pcp};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
pub const NONCE: [u8; 12] = *b"twelve bytes";
pub const INTERNAL_PORT: u16 = 8000;

/// A mapping by TCP of [`INTERNAL_PORT`].
#[derive(Debug, PartialEq, Eq)]
pub struct Mapped {
    pub epoch: u32,
    pub lifetime: Duration,
    pub address: Option<Ipv4Addr>,
    pub port: u16,
}

pub fn pcp_answer(bytes: &[u8]) -> Option<Mapped> {
    let request = pcp::Request {
        local: Ipv4Addr::new(192, 168, 77, 10),
        nonce: NONCE,
        protocol: Protocol::Tcp,
        internal_port: INTERNAL_PORT,
        external_port: 0,
        is_exact: false,
        lifetime: Duration::from_secs(3600),
        sources: &[],
    };
    // What asks for nothing else must not fall over either.
    let _epoch = pcp::read_announce(bytes);
    match request.read_answer(bytes)? {
        pcp::Answer::Done(pcp::Mapped { epoch, lifetime, address, port }) => {
            Some(Mapped { epoch, lifetime, address: Some(address), port })
        }
        pcp::Answer::Refused(_) | pcp::Answer::OtherVersion => None,
    }
}

pub fn natpmp_answer(bytes: &[u8]) -> Option<Mapped> {
    let lifetime = Duration::from_secs(3600);
    let (internal_port, external_port) = (INTERNAL_PORT, 0);
    let request = natpmp::Request { protocol: Protocol::Tcp, internal_port, external_port, lifetime };
    let _address = natpmp::read_address(bytes);
    match request.read_answer(bytes)? {
        natpmp::Answer::Done(natpmp::Mapped { epoch, port, lifetime }) => {
            Some(Mapped { epoch, lifetime, address: None, port })
        }
        natpmp::Answer::Refused(_) => None,
    }
}

/// Where an answer to a search leads.
pub fn search_answer(bytes: &[u8]) -> Option<(SocketAddrV4, String)> {
    upnp::read_answer(bytes, ROUTER).map(|location| (location.address(), location.path().to_owned()))
}

/// Where a description leads.
pub fn description(bytes: &[u8]) -> Vec<SocketAddrV4> {
    let location = Location::parse("http://192.168.77.1:5000/rootDesc.xml", ROUTER).expect("it is the router's");
    let found = Description::read(bytes, &location);
    found.map(|found| found.services.iter().map(|(_, place)| place.address()).collect()).unwrap_or_default()
}

/// The external address of an answer, or the code of a fault.
pub fn soap_answer(bytes: &[u8]) -> Option<Result<Option<String>, u16>> {
    match upnp::read_response("GetExternalIPAddress", bytes).ok()? {
        Ok(fields) => Some(Ok(fields.first("NewExternalIPAddress").map(str::to_owned))),
        Err(fault) => Some(Err(fault.code)),
    }
}
