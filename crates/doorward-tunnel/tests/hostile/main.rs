//! Peers that break the protocol, on purpose or by accident: an answer within the limits, never a panic, and never at
//! somebody else's expense.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(clippy::large_futures, reason = "each is run once")]

#[path = "../common/mod.rs"]
mod common;

mod agent_under_attack;
mod devices;
mod first_words;
mod lanes;
mod silence;
