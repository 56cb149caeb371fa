//! A line with delay, jitter, loss, a rate and a queue, made in user space because this kernel has no netem.
//!
//! The program `slow-line` holds one TUN interface in each of two network namespaces and carries IP packets between
//! them: [`lane`] decides about packets (no I/O, no clock), [`pump`] moves them, [`handle`] is the tests' side.

pub(crate) mod handle;
pub(crate) mod lane;
pub(crate) mod pump;
