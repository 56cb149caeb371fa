//! What the fuzz targets do with an input. `fuzz/` runs these functions with inputs that it makes up; the test of this
//! package runs them with every input that is kept in `fuzz/corpus/`.
//!
//! A target takes any bytes. It panics where the code under test breaks a promise, not where it refuses an input.

mod pinhole;
mod questions;
mod requests;
mod script;
mod ssh;
mod wire;
mod words;

pub use pinhole::pinhole_wishes;
pub use questions::dns_query;
pub use requests::framing;
pub use ssh::{ssh_key, ssh_request};
pub use wire::{datagram, lane_stream, message_decode, read_frame};
pub use words::{address, authority, invite, offer, policy, schedule};

pub type Target = fn(&[u8]);

/// Every target under the name of its folder in `fuzz/corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("authority", authority),
    ("datagram", datagram),
    ("dns_query", dns_query),
    ("framing", framing),
    ("invite", invite),
    ("lane_stream", lane_stream),
    ("message_decode", message_decode),
    ("offer", offer),
    ("pinhole_wishes", pinhole_wishes),
    ("policy", policy),
    ("read_frame", read_frame),
    ("schedule", schedule),
    ("ssh_key", ssh_key),
    ("ssh_request", ssh_request),
];
