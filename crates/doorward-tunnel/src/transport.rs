//! Carriers: what a link runs on. Each yields an authenticated gateway and an exporter; none knows devices.

pub(crate) mod carried;
pub(crate) mod memory;
pub(crate) mod quic;
pub(crate) mod tls;
pub(crate) mod websocket;

use crate::handshake::Channel;

/// A carrier as dialled: the gateway is the right one, the device has not spoken yet.
pub(crate) enum Carried {
    Quic(quic::Connected),
    Pipe(Channel),
}
