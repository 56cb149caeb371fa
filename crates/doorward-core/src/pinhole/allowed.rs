//! What the owner's file on the router allows. Whatever the agent wishes, or a stolen gateway has it wish, is held
//! against this; nothing said allows nothing.

use super::{Direct, Pinhole, PinholeId, Protocol, Site, Translated, Way};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is neither a port nor a range: write 22 or \"8000-8080\"")]
pub struct PortRangeError(String);

impl PortRange {
    pub fn contains(self, port: u16) -> bool {
        self.ports().contains(&port)
    }

    pub(super) fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(given: &str) -> Result<Self, PortRangeError> {
        let (first, last) = given.split_once('-').unwrap_or((given, given));
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            (_, _) => Err(PortRangeError(given.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[derive(Clone, Debug, Default)]
pub struct AllowList {
    pub rules: Vec<Rule>,
    /// The pool that sessions take their public ports from.
    pub public_ports: Vec<PortRange>,
}

/// Machines and ports inside that may be opened.
#[derive(Clone, Debug)]
pub struct Rule {
    pub targets: IpNet,
    /// `None`: both.
    pub protocol: Option<Protocol>,
    pub ports: Vec<PortRange>,
    /// No wish may reach further into the future.
    pub longest: Duration,
    /// Visitors appear with the router's address there: for machines whose way out is another one.
    pub masquerade: bool,
}

/// One person has a few addresses; the kernel's memory is bounded.
const MOST_SOURCES: usize = 32;

/// What the router knows of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Ports that something on the router listens on, or that lead somewhere already.
    pub taken: BTreeSet<(Protocol, u16)>,
    /// Nothing there could end a session in IPv6.
    pub lacks_ipv6: bool,
}

/// A wish that the file allows. Only [`AllowList::judge`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Granted {
    pinhole: Pinhole,
    masquerade: bool,
}

impl Granted {
    pub fn pinhole(&self) -> &Pinhole {
        &self.pinhole
    }

    pub fn is_masqueraded(&self) -> bool {
        self.masquerade
    }
}

/// Why not, for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error("its time is over")]
    Over,
    #[error("it names no target")]
    Nothing,
    #[error("it names no source")]
    NoSource,
    #[error("it names more than {MOST_SOURCES} sources")]
    TooManySources,
    #[error("{0} is no address that visitors come from")]
    Source(IpAddr),
    #[error("the router's file does not allow {protocol} to {target}, port {port}", protocol = protocol.word())]
    Target { protocol: Protocol, target: IpAddr, port: u16 },
    #[error("the router's file allows at most {0:?}")]
    TooLong(Duration),
    #[error("the router's file does not give out the public port {0}")]
    PublicPort(u16),
    #[error("no public port is free: the router's file gives out more")]
    NoPortFree,
    #[error("something on the router has port {0} already")]
    PortInUse(u16),
    #[error("the router's firewall has no IPv6: is ip6tables installed, and IPv6 in its kernel?")]
    NoIpv6,
    #[error("the session {0} has the same port or the same sources and target")]
    Shared(PinholeId),
    #[error("the router has as many sessions as it can keep; wait until one ends")]
    TooMany,
}

impl AllowList {
    /// What is allowed of all that is wished, in the order of the wishes. Of two that cannot be told apart, the first.
    pub fn judge(&self, wishes: &[Pinhole], facts: &Facts) -> Vec<Result<Granted, Refusal>> {
        let mut claims = BTreeMap::new();
        let judged = wishes.iter().map(|pinhole| {
            let granted = self.judge_one(pinhole, facts)?;
            let own = claims_of(&pinhole.way);
            if let Some(other) = own.iter().find_map(|claim| claims.get(claim)) {
                return Err(Refusal::Shared(PinholeId::clone(other)));
            }
            claims.extend(own.into_iter().map(|claim| (claim, pinhole.id.clone())));
            Ok(granted)
        });
        judged.collect()
    }

    fn judge_one(&self, pinhole: &Pinhole, facts: &Facts) -> Result<Granted, Refusal> {
        if pinhole.remaining.is_zero() {
            return Err(Refusal::Over);
        }
        let Way { protocol, translated, direct } = &pinhole.way;
        let mut masquerade = false;
        if let Some(Translated { public_port, target, sources, neighbours }) = translated {
            masquerade = self.rule(*protocol, (*target.ip()).into(), target.port(), pinhole.remaining)?.masquerade;
            if *public_port == 0 {
                return Err(Refusal::NoPortFree);
            }
            if !self.public_ports.iter().any(|range| range.contains(*public_port)) {
                return Err(Refusal::PublicPort(*public_port));
            }
            if facts.taken.contains(&(*protocol, *public_port)) {
                return Err(Refusal::PortInUse(*public_port));
            }
            if sources.is_empty() && !neighbours {
                return Err(Refusal::NoSource);
            }
            check_sources(sources, |source| is_visitor(*source), |source| (*source).into())?;
        }
        if let Some(Direct { target, sources }) = direct {
            if facts.lacks_ipv6 {
                return Err(Refusal::NoIpv6);
            }
            self.rule(*protocol, (*target.ip()).into(), target.port(), pinhole.remaining)?;
            if sources.is_empty() {
                return Err(Refusal::NoSource);
            }
            check_sources(sources, |site| is_visitors_site(*site), |site| site.address().into())?;
        }
        if translated.is_none() && direct.is_none() {
            return Err(Refusal::Nothing);
        }
        Ok(Granted { pinhole: pinhole.clone(), masquerade })
    }

    fn rule(&self, protocol: Protocol, target: IpAddr, port: u16, remaining: Duration) -> Result<&Rule, Refusal> {
        let is_meant = |rule: &&Rule| {
            rule.targets.contains(&target)
                && rule.protocol.is_none_or(|only| only == protocol)
                && rule.ports.iter().any(|range| range.contains(port))
        };
        let rules = self.rules.iter().filter(is_meant);
        // Of several, the most generous counts.
        let rule = rules.max_by_key(|rule| rule.longest).filter(|_| is_machine(target));
        let rule = rule.ok_or(Refusal::Target { protocol, target, port })?;
        if remaining > rule.longest { Err(Refusal::TooLong(rule.longest)) } else { Ok(rule) }
    }
}

/// What a packet is told apart by: no two sessions may claim the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Port(Protocol, u16),
    Sites(Protocol, Ipv6Addr, u16, Site),
}

fn claims_of(way: &Way) -> Vec<Claim> {
    let port = way.translated.iter().map(|translated| Claim::Port(way.protocol, translated.public_port));
    let sites = way.direct.iter().flat_map(|Direct { target, sources }| {
        sources.iter().map(|site| Claim::Sites(way.protocol, *target.ip(), target.port(), *site))
    });
    port.chain(sites).collect()
}

fn check_sources<T>(
    sources: &BTreeSet<T>,
    is_usable: impl Fn(&T) -> bool,
    address: impl Fn(&T) -> IpAddr,
) -> Result<(), Refusal> {
    if sources.len() > MOST_SOURCES {
        return Err(Refusal::TooManySources);
    }
    sources.iter().find(|source| !is_usable(source)).map_or(Ok(()), |bad| Err(Refusal::Source(address(bad))))
}

fn is_visitor(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    // 0.0.0.0/8 and 240.0.0.0/4 (RFC 6890).
    !(source.is_loopback() || source.is_multicast() || source.is_link_local() || first == 0 || first >= 240)
}

/// 2000::/3 is what the Internet uses (RFC 4291, 2.4), fc00::/7 what private networks do.
fn is_visitors_site(site: Site) -> bool {
    let first = site.address().octets()[0];
    first >> 5 == 0b001 || first >> 1 == 0xfc >> 1
}

/// A redirect to the loopback address would reach what trusts it.
fn is_machine(target: IpAddr) -> bool {
    match target {
        IpAddr::V4(target) => is_visitor(target),
        IpAddr::V6(target) => is_visitors_site(target.into()),
    }
}
