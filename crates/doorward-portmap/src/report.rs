//! What became of the wishes.

use crate::route::NoRouter;
use crate::verdict::Verdict;
use crate::wish::{Way, WishName};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;
use thiserror::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The router's address towards the internet, as far as it said.
    pub external: Option<Ipv4Addr>,
    pub mappings: BTreeMap<WishName, State>,
    /// Mappings that nobody wishes any more and that are not yet withdrawn: the router does not answer, or it is
    /// another network's.
    pub leftovers: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Asked,
    /// The router says so. Nobody is to be told that it works before a packet came through.
    Open(Open),
    /// Tried again by itself, later and later.
    Failed(Why),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub address: Ipv4Addr,
    pub port: u16,
    /// Unless it is renewed, which it is at half of its time. `None`: the router knows no ends; it is withdrawn by us.
    pub until: Option<Instant>,
    /// Whether the router says that it lets only the wished sources through. Some say so and do not do it: whoever
    /// listens looks at the source again.
    pub is_restricted: bool,
    pub way: Way,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Why {
    #[error("{0}")]
    NoRouter(NoRouter),
    #[error(
        "the router answers in none of the protocols that would do (PCP, NAT-PMP, UPnP), or they are switched off in \
         it: using the relay instead"
    )]
    Silent,
    #[error("{0}")]
    Unreachable(Verdict),
    #[error("port {0} of the router is in use by another: choose another port, or free it in the router")]
    Taken(u16),
    #[error("the router cannot restrict a mapping to certain sources, and it may be open to no others")]
    CannotRestrict,
    #[error("the router only makes mappings without an end, which the settings forbid")]
    PermanentOnly,
    /// miniupnpd without a public address refuses everything, and does not say why.
    #[error(
        "the router refuses by {way} (code {code}: {meaning}), as routers behind carrier NAT do: using the relay instead"
    )]
    Refused { way: Way, code: u16, meaning: &'static str },
    #[error("the router's answer by {0} makes no sense")]
    Strange(Way),
    #[error("nobody may come through it, so nothing is mapped")]
    Nobody,
    #[error("another wish is for the same port of this machine")]
    Twice,
    #[error("more than {0} mappings are wished")]
    TooMany(usize),
    #[error("its time is over")]
    Over,
    #[error("what is asked cannot be written down, so nothing is asked: {0}")]
    Unwritable(String),
}
