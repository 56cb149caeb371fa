//! A key as it is handed over: one line to paste, which says where to knock as well.

use super::KeyId;
use crate::Secret;
use crate::names::HostName;
use crate::site::Host;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use thiserror::Error;

/// Whoever has it knocks as its person.
#[derive(Clone, Debug)]
pub struct KnockLine {
    pub host: Host,
    pub port: u16,
    pub id: KeyId,
    pub secret: Secret<[u8; 32]>,
    /// Whether a knock may leave open from where it comes.
    pub may_be_seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("that is no knock key: copy the whole line that `doorward knock-keys add` showed, which begins with {PREFIX}")]
pub struct LineError;

const PREFIX: &str = "dwknock_";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: String,
    port: u16,
    id: String,
    key: String,
    seen: bool,
}

impl KnockLine {
    pub fn to_text(&self) -> Secret<String> {
        let written = Written {
            host: self.host.to_string(),
            port: self.port,
            id: BASE64URL_NOPAD.encode(&self.id.0),
            key: BASE64URL_NOPAD.encode(self.secret.expose()),
            seen: self.may_be_seen,
        };
        let json = Secret::new(serde_json::to_string(&written).expect("texts and numbers are always JSON"));
        Secret::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(json.expose().as_bytes())))
    }

    pub fn read(text: &str) -> Result<Self, LineError> {
        let coded = text.trim().strip_prefix(PREFIX).ok_or(LineError)?;
        let json = Secret::new(BASE64URL_NOPAD.decode(coded.as_bytes()).map_err(|_| LineError)?);
        let written: Written = serde_json::from_slice(json.expose()).map_err(|_| LineError)?;
        Ok(Self {
            host: read_host(&written.host)?,
            port: written.port,
            id: KeyId(bytes(&written.id)?),
            secret: Secret::new(bytes(&written.key)?),
            may_be_seen: written.seen,
        })
    }
}

/// A name, or an address as it stands in URLs.
fn read_host(text: &str) -> Result<Host, LineError> {
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match address.parse::<IpAddr>() {
        Ok(ip) => Ok(Host::Ip(ip)),
        Err(_) => HostName::parse(text).map(Host::Name).map_err(|_| LineError),
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], LineError> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(LineError)
}
