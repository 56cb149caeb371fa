//! A knock: one packet by which somebody has their sessions opened, and to which nothing is ever answered. What each byte
//! means, and against what it does not protect, is told in docs/knock.md.
//!
//! The whole body is encrypted under a key for this packet alone, which is derived from the knocker's key and the packet's
//! head. So a nonce that somebody chose twice harms nobody but themselves, and whoever changes one bit has changed the key.

mod line;
mod seal;

pub use line::{KnockLine, LineError};
pub use seal::{KnockKey, Sealed};

use crate::session::Source;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;

/// Of every knock. What is longer or shorter is none.
pub const LENGTH: usize = HEAD + BODY + 16;
/// How far the clocks of knocker and gateway may be apart, unless said.
pub const USUAL_WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Services that one knock can name.
pub const MOST_NAMED: usize = 8;

const VERSION: u8 = 1;
/// Version, key, nonce.
const HEAD: usize = 1 + 16 + 16;
/// When, from where, for how long, what.
const BODY: usize = 8 + 16 + 4 + MOST_NAMED * TAG;
const TAG: usize = 8;

/// Says which key it is, and not whose: by chance, and of no use to anybody without the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

/// Each counts once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

/// A service, by a digest of its path, since a path may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag([u8; TAG]);

/// From where the knocker says that they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    At(IpAddr),
    /// From wherever the packet comes: whoever holds it back may have it come from elsewhere, once.
    AsSeen,
}

/// What was found in a packet, or what goes into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knock {
    /// In whole milliseconds.
    pub sent_at: Timestamp,
    pub whence: Whence,
    /// In whole seconds. `None`: as long as is usual.
    pub length: Option<SignedDuration>,
    /// Empty: whatever the key opens.
    pub named: Vec<Tag>,
}

/// Why a knock that somebody's key made does not count. They are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KnockRefusal {
    #[error("its sender's clock or ours is wrong, or it was held back: it was sent at {sent_at}")]
    OtherTime { sent_at: Timestamp },
    #[error("it came from elsewhere than it says")]
    OtherSource,
    #[error("it does not say from where it comes, which its key asks for")]
    NoSource,
    #[error("it came before")]
    Replayed,
    #[error("its key is used too often")]
    TooOften,
    #[error("the person or the key is no more, or was disabled")]
    NobodyThere,
}

impl KnockRefusal {
    pub fn word(self) -> &'static str {
        match self {
            Self::OtherTime { .. } => "other-time",
            Self::OtherSource => "other-source",
            Self::NoSource => "no-source",
            Self::Replayed => "replayed",
            Self::TooOften => "too-often",
            Self::NobodyThere => "nobody-there",
        }
    }
}

impl Knock {
    /// Whether it may have been meant for now and for whoever sent the packet. `may_be_seen`: whether its key lets it leave
    /// open from where it comes.
    pub fn judge(
        &self,
        peer: IpAddr,
        may_be_seen: bool,
        window: SignedDuration,
        now: Timestamp,
    ) -> Result<(), KnockRefusal> {
        if now.duration_since(self.sent_at).abs() > window {
            return Err(KnockRefusal::OtherTime { sent_at: self.sent_at });
        }
        match self.whence {
            // What is opened is opened for as much.
            Whence::At(ip) if Source::of(ip).covers(peer) => Ok(()),
            Whence::At(_) => Err(KnockRefusal::OtherSource),
            Whence::AsSeen if may_be_seen => Ok(()),
            Whence::AsSeen => Err(KnockRefusal::NoSource),
        }
    }

    /// Whether this service, as `device/service`, is among what it names.
    pub fn means(&self, path: &str) -> bool {
        self.named.is_empty() || self.named.contains(&Tag::of(path))
    }

    fn write(&self) -> [u8; BODY] {
        let mut body = [0; BODY];
        let ip = match self.whence {
            Whence::At(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
            Whence::At(IpAddr::V6(ip)) => ip,
            Whence::AsSeen => Ipv6Addr::UNSPECIFIED,
        };
        let seconds = self.length.map_or(0, |length| u32::try_from(length.as_secs()).unwrap_or(u32::MAX));
        body[..8].copy_from_slice(&self.sent_at.as_millisecond().to_be_bytes());
        body[8..24].copy_from_slice(&ip.octets());
        body[24..28].copy_from_slice(&seconds.to_be_bytes());
        for (place, tag) in body[28..].chunks_exact_mut(TAG).zip(&self.named) {
            place.copy_from_slice(&tag.0);
        }
        body
    }

    fn read(body: &[u8; BODY]) -> Option<Self> {
        let sent_at = i64::from_be_bytes(*body.first_chunk()?);
        let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).ok()?);
        let seconds = u32::from_be_bytes(body[24..28].try_into().ok()?);
        let tags = body[28..].chunks_exact(TAG).filter_map(|tag| tag.try_into().ok().map(Tag));
        Some(Self {
            sent_at: Timestamp::from_millisecond(sent_at).ok()?,
            whence: if ip.is_unspecified() { Whence::AsSeen } else { Whence::At(ip.to_canonical()) },
            length: (seconds > 0).then(|| SignedDuration::from_secs(seconds.into())),
            named: tags.filter(|tag| tag.0 != [0; TAG]).collect(),
        })
    }
}

impl Tag {
    pub fn of(path: &str) -> Self {
        let digest = seal::digest(path);
        Self(*digest.first_chunk().expect("a digest is longer than a tag"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests;
