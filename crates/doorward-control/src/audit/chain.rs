//! The hash chain: each line's hash covers the hash of the line before it, so that nothing can be changed, left out or
//! put in between without all that follows saying so. What retention forgot leaves its last hash behind, the anchor.
//! It proves nothing against somebody who rewrites all of it from there on: for that, a hash is kept elsewhere.

use crate::store::{StoreError, words};
use aws_lc_rs::digest::{Context, SHA256};
use doorward_core::audit::Line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// SHA-256 over the hash before and all fields of a line, each with its length in front (8 bytes, the most significant
/// first). In text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct LineHash([u8; 32]);

/// A line with its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainedLine {
    #[serde(flatten)]
    pub line: Line,
    pub hash: LineHash,
}

/// Where a part of the chain begins: the last line that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Anchor {
    pub id: i64,
    pub hash: LineHash,
}

/// Goes along the chain.
#[derive(Clone, Copy, Debug)]
pub struct Verifier {
    last: Anchor,
    lines: u64,
}

/// The first line that is not as it was written.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Broken {
    #[error("line {expected} is missing: after {} comes {found}", expected - 1)]
    Missing { expected: i64, found: i64 },
    #[error("line {id} is not as it was written, or the one before it is not")]
    Changed { id: i64 },
    #[error("the last lines are missing: {found} is the last one, {expected} were written")]
    Truncated { expected: i64, found: i64 },
}

impl LineHash {
    pub(crate) fn of(before: LineHash, line: &Line) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&before.0);
        for field in line.fields() {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    pub(crate) fn read(text: &str) -> Result<Self, StoreError> {
        words::read_hex_32(text).map(Self)
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::hex(&self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for LineHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::read(&text).map_err(|_| "a hash is 64 hexadecimal digits")
    }
}

impl Verifier {
    pub fn from(anchor: Anchor) -> Self {
        Self { last: anchor, lines: 0 }
    }

    /// The next line. After an error nothing more can be said.
    pub fn hold(&mut self, next: &ChainedLine) -> Result<(), Broken> {
        let (expected, found) = (self.last.id.saturating_add(1), next.line.id);
        if found != expected {
            return Err(Broken::Missing { expected, found });
        }
        if LineHash::of(self.last.hash, &next.line) != next.hash {
            return Err(Broken::Changed { id: found });
        }
        self.last = Anchor { id: found, hash: next.hash };
        self.lines += 1;
        Ok(())
    }

    /// The last line that was held to the chain.
    pub fn head(&self) -> Anchor {
        self.last
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }
}
