//! What agent and router say to each other on a unix socket of their machine. One question, one answer: the agent says
//! all that it wants, the router what became of each. There are no changes that could be lost, only wholes.
//!
//! A message is its length in four bytes, big-endian, and that much JSON. Unknown keys refuse it: a newer agent's
//! condition is never silently dropped.

use super::{Pinhole, PinholeId, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use thiserror::Error;

/// Room for some 10 000 pinholes.
pub const LONGEST_WISHES: usize = 4 << 20;
pub const LONGEST_ANSWER: usize = 4 << 20;

/// All pinholes that there shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wishes {
    pub pinholes: Vec<Pinhole>,
}

/// What became of the wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answer {
    /// In the order of the wishes.
    pub pinholes: Vec<Told>,
    /// Why nothing at all could be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Told {
    pub id: PinholeId,
    pub state: State,
    /// Of those who come over IPv4, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The rules are in place and read back; nobody has come yet.
    Ready,
    /// A packet came in and was answered.
    Passed,
    /// Another firewall on this router drops what we let in.
    Blocked(String),
    Refused(Refusal),
}

#[derive(Debug, Error)]
pub enum MessageError {
    #[error("the other side hung up or is too slow")]
    Io(#[from] io::Error),
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    #[error("a message cannot be read")]
    Unreadable(#[from] serde_json::Error),
    #[error("two pinholes are called {0}")]
    TwiceNamed(PinholeId),
}

impl Wishes {
    pub fn read(from: impl Read) -> Result<Self, MessageError> {
        Self::decode(&read_bytes(from, LONGEST_WISHES)?)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let wishes: Self = serde_json::from_slice(bytes)?;
        let mut ids = BTreeSet::new();
        match wishes.pinholes.iter().find(|pinhole| !ids.insert(&pinhole.id)) {
            Some(twice) => Err(MessageError::TwiceNamed(twice.id.clone())),
            None => Ok(wishes),
        }
    }

    pub fn write(&self, to: impl Write) -> Result<(), MessageError> {
        write_bytes(to, &serde_json::to_vec(self)?, LONGEST_WISHES)
    }
}

impl Answer {
    pub fn read(from: impl Read) -> Result<Self, MessageError> {
        Ok(serde_json::from_slice(&read_bytes(from, LONGEST_ANSWER)?)?)
    }

    pub fn write(&self, to: impl Write) -> Result<(), MessageError> {
        write_bytes(to, &serde_json::to_vec(self)?, LONGEST_ANSWER)
    }
}

fn read_bytes(mut from: impl Read, longest: usize) -> Result<Vec<u8>, MessageError> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > longest {
        return Err(MessageError::TooLong(length));
    }
    let mut bytes = Vec::new();
    // What was promised is not allocated before it is there.
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(bytes) }
}

fn write_bytes(mut to: impl Write, bytes: &[u8], longest: usize) -> Result<(), MessageError> {
    if bytes.len() > longest {
        return Err(MessageError::TooLong(bytes.len()));
    }
    let length = u32::try_from(bytes.len()).map_err(|_| MessageError::TooLong(bytes.len()))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)?;
    Ok(to.flush()?)
}
