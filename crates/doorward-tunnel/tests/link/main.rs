//! Both ends of a link together, over real sockets and in memory.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(clippy::large_futures, reason = "each is run once")]

#[path = "../common/mod.rs"]
mod common;

mod carriers;
mod endings;
mod flows;
mod lanes;
mod proxy;
mod streams;
mod vitals;
