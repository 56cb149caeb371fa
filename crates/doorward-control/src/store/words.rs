//! How our values are written in columns, and read back.

use super::StoreError;
use crate::snapshot::Protocol;
use doorward_core::names::{HostName, Label};
use doorward_core::service::ServiceKind;
use jiff::Timestamp;

pub(crate) fn time(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(crate) fn read_time(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| strange("a time", &ms.to_string()))
}

pub(crate) fn read_optional_time(ms: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    ms.map(read_time).transpose()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

pub(crate) fn read_hex(text: &str) -> Result<Vec<u8>, StoreError> {
    // The text itself may be a key: it is not repeated.
    data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .map_err(|_| StoreError::Strange("bytes that are not hexadecimal".into()))
}

pub(crate) fn read_hex_32(text: &str) -> Result<[u8; 32], StoreError> {
    let wrong = |_| StoreError::Strange("a key or hash that is not 32 bytes long".into());
    read_hex(text)?.try_into().map_err(wrong)
}

pub(crate) fn read_label(text: &str) -> Result<Label, StoreError> {
    Label::parse(text).map_err(|_| strange("a name", text))
}

pub(crate) fn read_host(text: &str) -> Result<HostName, StoreError> {
    HostName::parse(text).map_err(|_| strange("a host name", text))
}

pub(crate) fn read_kind(text: &str) -> Result<ServiceKind, StoreError> {
    match text {
        "http" => Ok(ServiceKind::Http),
        "tcp" => Ok(ServiceKind::Tcp),
        "udp" => Ok(ServiceKind::Udp),
        "camera" => Ok(ServiceKind::Camera),
        other => Err(strange("a kind of service", other)),
    }
}

pub(crate) fn read_protocol(text: &str) -> Result<Protocol, StoreError> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(strange("a protocol", other)),
    }
}

pub(crate) fn read_port(number: i64) -> Result<u16, StoreError> {
    u16::try_from(number).ok().filter(|&p| p != 0).ok_or_else(|| strange("a port", &number.to_string()))
}

pub(crate) fn strange(what: &str, value: &str) -> StoreError {
    StoreError::Strange(format!("{what} that reads {value:?}"))
}
