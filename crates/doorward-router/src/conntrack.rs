//! The kernel's memory of connections, by the marks on them (ctnetlink, linux/netfilter/nfnetlink_conntrack.h).

use crate::error::RouterError;
use doorward_core::pinhole::{MarkBits, Number};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::collections::BTreeMap;
use std::io;

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// netlink(7).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const STATUS: u16 = 3;
const MARK: u16 = 8;
const MARK_MASK: u16 = 21;
/// IPS_SEEN_REPLY.
const ANSWERED: u32 = 1 << 1;
const HEADER: usize = 16;
/// nfgenmsg.
const FAMILY: usize = 4;

/// The sessions that connections belong to, and whether any of them was answered.
pub(crate) fn sessions(bits: MarkBits) -> Result<BTreeMap<Number, bool>, RouterError> {
    let mut found = BTreeMap::new();
    exchange(&request(GET, REQUEST | DUMP, bits), |entry| {
        let (mut mark, mut status) = (0, 0);
        each_attribute(entry.get(FAMILY..).unwrap_or_default(), |kind, value| {
            let Ok(bytes) = <[u8; 4]>::try_from(value) else { return };
            match kind {
                MARK => mark = u32::from_be_bytes(bytes),
                STATUS => status = u32::from_be_bytes(bytes),
                _ => {}
            }
        });
        if let Some(number) = bits.number(mark) {
            *found.entry(number).or_default() |= status & ANSWERED != 0;
        }
    })
    .map_err(RouterError::Conntrack)?;
    Ok(found)
}

/// Forgets every connection that bears a mark of ours. Only where our rules are taken away: while they stand, a
/// connection of a session that is over must be remembered, or it would be taken for a new one of a machine inside.
pub(crate) fn forget_all(bits: MarkBits) -> Result<(), RouterError> {
    exchange(&request(DELETE, REQUEST | ACK, bits), |_| {}).map_err(RouterError::Conntrack)
}

/// About all connections with our flag in their mark.
fn request(kind: u16, flags: u16, bits: MarkBits) -> Vec<u8> {
    let mut message = Vec::new();
    let length = (HEADER + FAMILY + 2 * 8) as u32;
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8 + FAMILY]);
    for attribute in [MARK, MARK_MASK] {
        message.extend(8u16.to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(bits.flag().to_be_bytes());
    }
    message
}

fn exchange(request: &[u8], mut entry: impl FnMut(&[u8])) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while let Some((kind, payload, next)) = first_message(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => return outcome(payload),
                _ => entry(payload),
            }
            rest = next;
        }
    }
}

fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = payload.first_chunk().map_or(-rustix::io::Errno::INVAL.raw_os_error(), |code| i32::from_ne_bytes(*code));
    // Nothing there to delete.
    let is_fine = code == 0 || code == -rustix::io::Errno::NOENT.raw_os_error();
    if is_fine { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

fn first_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn each_attribute(mut bytes: &[u8], mut action: impl FnMut(u16, &[u8])) {
    while let Some(length) = bytes.first_chunk().map(|length| usize::from(u16::from_ne_bytes(*length))) {
        let Some(value) = bytes.get(4..length) else { return };
        action(u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff, value);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
