//! What the fuzz targets do with an input. `fuzz/` runs these functions with inputs that it makes up; the test of this
//! package runs them with every input that is kept in `fuzz/corpus/`.
//!
//! A target takes any bytes. It panics where the code under test breaks a promise, not where it refuses an input.

mod cameras;
mod knock;
mod pinhole;
mod questions;
mod requests;
mod router;
mod script;
mod ssh;
mod wire;
mod words;

pub use cameras::{camera_stream, frame_feed, netgear_message, zmtp_stream};
pub use knock::knock_packet;
pub use pinhole::pinhole_wishes;
pub use questions::dns_query;
pub use requests::framing;
pub use router::router_answer;
pub use ssh::{ssh_key, ssh_request};
pub use wire::{datagram, lane_stream, message_decode, read_frame};
pub use words::{address, authority, invite, offer, policy, schedule};

pub type Target = fn(&[u8]);

/// Every target under the name of its folder in `fuzz/corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("authority", authority),
    ("camera_stream", camera_stream),
    ("datagram", datagram),
    ("dns_query", dns_query),
    ("frame_feed", frame_feed),
    ("framing", framing),
    ("invite", invite),
    ("knock_packet", knock_packet),
    ("lane_stream", lane_stream),
    ("message_decode", message_decode),
    ("netgear_message", netgear_message),
    ("offer", offer),
    ("pinhole_wishes", pinhole_wishes),
    ("policy", policy),
    ("read_frame", read_frame),
    ("router_answer", router_answer),
    ("schedule", schedule),
    ("ssh_key", ssh_key),
    ("ssh_request", ssh_request),
    ("zmtp_stream", zmtp_stream),
];
