//! Both ends of a link together, over real sockets and in memory.

#[path = "../common/mod.rs"]
mod common;

mod carriers;
mod endings;
mod flows;
mod lanes;
mod proxy;
mod streams;
mod vitals;
