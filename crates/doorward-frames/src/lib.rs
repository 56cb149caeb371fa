//! Pictures of cameras on their way from the camera to whoever looks: cut out of the camera's stream, the newest kept,
//! sent on no faster than it is taken. Used at both ends of a link.
//!
//! No I/O and no clock: bytes and the time are arguments, waiting is by wakers, so any runtime does.
//!
//! ```text
//! camera → splitter / snapshots / zmtp, netgear → slot → flight, feed ══ feed → slot → pace, mjpeg or feed → viewer
//! ```

pub mod demand;
pub mod faults;
pub mod feed;
pub mod flight;
pub mod health;
pub mod jpeg;
pub mod mjpeg;
pub mod netgear;
pub mod pace;
pub mod slot;
pub mod snapshots;
pub mod splitter;
pub mod zmtp;

pub use jpeg::{Picture, Size};
pub use slot::Frame;

/// The largest picture that is passed on. A 4K camera at full quality stays below it.
pub const PICTURE_LIMIT: usize = 8 * 1024 * 1024;
