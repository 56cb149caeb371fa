//! A small internet on one machine: the *world* tests start built programs in it and break it.
//!
//! ```text
//!   device ─┐                                        ┌─ gateway          203.0.113.10  2001:db8:10::10
//!           ├─ home router ─ (carrier) ─ internet ───┼─ other gateway    203.0.113.20  2001:db8:10::20
//!   second ─┘   NAT            NAT                   ├─ visitors         198.51.100.10, .20
//!   192.168.77.0/24   100.64.0.0/10                  └─ cafe router ─ hidden visitor
//! ```
//!
//! Every node is a Linux network and mount namespace. A world is one process tree under one PID namespace: when the
//! test ends, panics or is killed, the kernel ends everything in it. Nothing has a global name, so worlds run in
//! parallel. Root is not needed where user namespaces are allowed.
//!
//! Every fault is one call that returns a [`Fault`]; ending the fault ([`Fault::mend`], or dropping it) undoes it.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use doorward_world::{Program, Shape, World, built, until};
//! let soon = Duration::from_secs(15);
//! let world = World::build(Shape::home().behind_carrier_nat())?;
//! let mut gateway = world.gateway.spawn(&Program::new(built("doorward")?).args(["serve"]))?;
//! gateway.wait_for_line("listening", soon)?;
//! let cut = world.home_router.cut()?;
//! gateway.wait_for_line("link is dead", soon)?;
//! cut.mend()?;
//! let took = until(soon, "a visitor is served again", || {
//!     Ok(world.visitor.run("curl -sS --max-time 1 http://gateway.example/")?.succeeded())
//! })?;
//! println!("recovered after {took:?}");
//! # anyhow::Ok(())
//! ```
//!
//! [`site`] starts Doorward itself in a world. Nothing in this library depends on the other crates: a program is a path ([`built`]
//! finds those of this workspace). The program `ask-router` lets a device ask its router without an agent.

mod address_change;
mod conditions;
mod faults;
pub mod front;
mod holder;
mod line;
mod names;
mod node;
mod port;
mod process;
mod program;
mod requirements;
mod router;
mod shape;
pub mod site;
mod traffic;
mod wait;
mod wires;
mod world;

pub use conditions::Conditions;
pub use faults::Fault;
pub use line::handle::{Line, LineStats};
pub use line::lane::Counters;
pub use line::pump::{Direction, Emulator};
pub use node::Node;
pub use process::Process;
pub use program::{Output, Program, built};
pub use router::Router;
pub use shape::{Shape, addresses};
pub use traffic::{Count, Traffic};
pub use wait::until;
pub use world::World;

/// The Debian packages the world needs; `cargo xtask world` installs them when it may.
pub const PACKAGES: &[&str] = &[
    "iproute2",
    "nftables",
    "conntrack",
    "iputils-ping",
    "util-linux",
    "curl",
    "socat",
    "faketime",
    "python3",
    "iperf3",
    "openssl",
    "nginx",
    "caddy",
    "tinyproxy",
    "miniupnpd-iptables",
    "iptables",
    "fwknop-server",
    "fwknop-client",
    "knockd",
    "miniupnpc",
    "bind9",
    "openssh-client",
    "openssh-server",
];
