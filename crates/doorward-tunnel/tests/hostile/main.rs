//! Peers that break the protocol, on purpose or by accident: an answer within the limits, never a panic, and never at
//! somebody else's expense.

#[path = "../common/mod.rs"]
mod common;

mod agent_under_attack;
mod devices;
mod first_words;
mod lanes;
mod silence;
