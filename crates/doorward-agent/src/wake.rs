//! Wake-on-LAN: the magic packet, for a neighbour in this machine's own network.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use thiserror::Error;
use tokio::net::UdpSocket;

/// Whom to wake, and how to reach them while they have no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    pub mac: MacAddress,
    /// The broadcast address of their network.
    pub broadcast: Ipv4Addr,
    /// `None`: by whichever way leads to that address.
    pub interface: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MacAddress([u8; 6]);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a MAC address is written as 00:11:22:33:44:55")]
pub struct NotAMac;

/// "Discard" (RFC 863). The packet is found by its pattern wherever it stands, so the port matters to nobody but
/// firewalls.
const PORT: u16 = 9;

impl Wake {
    pub(crate) async fn send(&self) -> io::Result<()> {
        let socket = self.socket()?;
        socket.send_to(&magic_packet(self.mac), SocketAddrV4::new(self.broadcast, PORT)).await.map(drop)
    }

    fn socket(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        if let Some(interface) = &self.interface {
            // socket(7), SO_BINDTODEVICE: since Linux 5.7 nobody needs a right for it.
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into())?;
        UdpSocket::from_std(socket.into())
    }
}

/// AMD, Magic Packet Technology (publication 20213): six bytes of ones, then the address sixteen times.
fn magic_packet(MacAddress(mac): MacAddress) -> [u8; 102] {
    let mut packet = [0xff; 102];
    packet[6..].chunks_exact_mut(6).for_each(|place| place.copy_from_slice(&mac));
    packet
}

impl FromStr for MacAddress {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut mac = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or(NotAMac)?;
        }
        // The first bit says that an address is of many (IEEE 802): those belong to no machine.
        let is_one_machines = mac[0] & 1 == 0 && mac != [0; 6];
        if parts.next().is_none() && is_one_machines { Ok(Self(mac)) } else { Err(NotAMac) }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_packet_is_six_bytes_of_ones_and_the_address_sixteen_times() {
        let packet = magic_packet("01-23-45-67-89-Ab".replace("01", "02").parse().unwrap());
        assert_eq!(packet.len(), 6 + 16 * 6);
        assert_eq!(packet[..6], [255; 6]);
        for place in 0..16 {
            assert_eq!(packet[6 + 6 * place..][..6], [0x02, 0x23, 0x45, 0x67, 0x89, 0xab], "place {place}");
        }
    }

    #[test]
    fn addresses_that_no_machine_has_are_refused() {
        let read = "00:11:22:aa:BB:cc".parse::<MacAddress>().unwrap();
        assert_eq!(read.to_string(), "00:11:22:aa:bb:cc");
        for bad in [
            "",
            "00:11:22:33:44",
            "00:11:22:33:44:55:66",
            "00:11:22:33:44:5",
            "00:11:22:33:44:+5",
            "00-11:22-33-44-55",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(bad.parse::<MacAddress>(), Err(NotAMac), "{bad}");
        }
    }

    #[tokio::test]
    async fn it_is_sent_as_one_packet_to_the_broadcast_address() {
        // Whoever listens on the port of a broadcast address of loopback, in a namespace of its own: tests/world. Here
        // only what can be seen without rights: an interface that is not there is an error, not a silence.
        let mac = "00:11:22:33:44:55".parse().unwrap();
        let wake = Wake { mac, broadcast: Ipv4Addr::BROADCAST, interface: Some("nosuch0".to_owned()) };
        assert!(wake.send().await.is_err());
    }
}
