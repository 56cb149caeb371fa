//! `doorward knock`: the packet is made and sent. Which address to say is the one hard question: behind a NAT nobody knows their
//! own.

pub mod known;

use crate::serve::settings::is_private;
use anyhow::Context;
use doorward_core::knock::{Knock, KnockLine, MOST_NAMED, Nonce, Tag, Whence};
use doorward_core::session::USUAL_LENGTH;
use doorward_core::site::Host;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

#[derive(Debug)]
pub struct Sending {
    pub line: KnockLine,
    /// As they say themselves.
    pub source: Option<IpAddr>,
    /// As `device/service`.
    pub only: Vec<String>,
    pub length: Option<SignedDuration>,
}

/// At which of the gateway's addresses: one of each family, since what is opened is opened for the address that knocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent(Vec<Way>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    to: SocketAddr,
    /// From which address of this machine.
    own: IpAddr,
    whence: Whence,
}

pub const HONEST: &str = "A gateway never answers a knock, nor says whether it counted. Try the service; if nothing opens, its owner finds\n\
                          the reason in `doorward audit`, or nothing at all where the packet never came.\n";

/// UDP loses packets. Copies are the same packet, of which one counts.
const COPIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(300);
const LOOK_UP: Duration = Duration::from_secs(10);
/// How often an address is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Whatever is wrong with one family, the other is tried.
pub async fn send(sending: &Sending) -> anyhow::Result<Sent> {
    let KnockLine { host, port, .. } = &sending.line;
    anyhow::ensure!(sending.only.len() <= MOST_NAMED, "one knock names {MOST_NAMED} services at most");
    let (mut ways, mut trouble) = (Vec::new(), None);
    for to in look_up(host, *port, sending.source).await? {
        match knock_at(to, sending).await {
            Ok(way) => ways.push(way),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match trouble {
        Some(error) if ways.is_empty() => Err(error),
        Some(_) | None => Ok(Sent(ways)),
    }
}

/// The same packet, several times.
async fn knock_at(to: SocketAddr, sending: &Sending) -> anyhow::Result<Way> {
    let KnockLine { id, secret, may_be_seen, .. } = &sending.line;
    let socket = towards(to).await?;
    let own = socket.local_addr()?.ip();
    let whence = whence(sending.source, own, to.ip(), *may_be_seen)?;
    let named = sending.only.iter().map(|path| Tag::of(path)).collect();
    let knock = Knock { sent_at: Timestamp::now(), whence, length: sending.length, named };
    let mut nonce = [0; 16];
    rand::rng().fill(&mut nonce);
    let packet = doorward_core::knock::KnockKey::new(secret).seal(*id, Nonce(nonce), &knock);
    for copy in 0..COPIES {
        if copy > 0 {
            sleep(BETWEEN).await;
        }
        match socket.send(&packet).await {
            Ok(_) => {}
            // Of the copy before: whoever says so is not the gateway's last word, and the others are sent all the same.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).with_context(|| format!("no packet can be sent to {to}")),
        }
    }
    Ok(Way { to, own, whence })
}

/// Again, whenever this machine's address is another one, and before what was opened ends.
pub async fn watch(sending: &Sending, name: &str, first: Sent) -> anyhow::Result<()> {
    let length = sending.length.unwrap_or(USUAL_LENGTH);
    let renewed = Duration::try_from(length).unwrap_or(LOOK).mul_f64(0.8).max(LOOK);
    let (mut last, mut sent_at) = (first, tokio::time::Instant::now());
    loop {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => return Ok(pressed?),
            () = sleep(LOOK) => {}
        }
        if !last.is_elsewhere_now().await && sent_at.elapsed() < renewed {
            continue;
        }
        match send(sending).await {
            Ok(sent) => {
                crate::terminal::print(&sent.described(name))?;
                (last, sent_at) = (sent, tokio::time::Instant::now());
            }
            Err(error) => eprintln!("{}", crate::terminal::story(&error)),
        }
    }
}

impl Sent {
    pub fn described(&self, name: &str) -> String {
        let described = |way: &Way| match way.whence {
            Whence::At(ip) => format!("Knocked at {name} ({}), as {ip}.\n", way.to),
            Whence::AsSeen => format!("Knocked at {name} ({}), as whatever address it sees.\n", way.to),
        };
        self.0.iter().map(described).collect()
    }

    /// Without a network it is where it was.
    async fn is_elsewhere_now(&self) -> bool {
        for way in &self.0 {
            let own = towards(way.to).await.ok().and_then(|socket| socket.local_addr().ok());
            if own.is_some_and(|own| own.ip() != way.own) {
                return true;
            }
        }
        false
    }
}

/// One of each family, or of the one that was said.
async fn look_up(host: &Host, port: u16, source: Option<IpAddr>) -> anyhow::Result<Vec<SocketAddr>> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    let found = timeout(LOOK_UP, tokio::net::lookup_host((name.as_str(), port))).await;
    let found = found.with_context(|| format!("nobody told the address of {name} in time"))?;
    let found: Vec<_> = found.with_context(|| format!("the address of {name} cannot be found"))?.collect();
    let fits = |at: &SocketAddr| source.is_none_or(|ip| ip.is_ipv4() == at.is_ipv4());
    let first = |is_ipv4| found.iter().copied().find(|at| at.is_ipv4() == is_ipv4 && fits(at));
    let chosen: Vec<_> = [first(true), first(false)].into_iter().flatten().collect();
    anyhow::ensure!(!chosen.is_empty(), "{name} has no address that could be reached from there");
    Ok(chosen)
}

/// Bound to the address from which packets go there; none is sent.
async fn towards(to: SocketAddr) -> anyhow::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.context("no UDP port is to be had")?;
    socket.connect(to).await.with_context(|| format!("there is no way to {to}: is this machine online?"))?;
    Ok(socket)
}

/// What to say: what somebody said, else our own address if it is what the gateway sees, else nothing, if the key allows that.
fn whence(said: Option<IpAddr>, own: IpAddr, gateway: IpAddr, may_be_seen: bool) -> anyhow::Result<Whence> {
    match said {
        Some(ip) => Ok(Whence::At(ip)),
        None if is_public(own) || !is_public(gateway) => Ok(Whence::At(own)),
        None if may_be_seen => Ok(Whence::AsSeen),
        None => anyhow::bail!(
            "this machine is {own}, which is not how the gateway sees it: say your public address by --source, or have a key \
             made with --as-seen"
        ),
    }
}

/// Whether everybody sees the same address.
fn is_public(ip: IpAddr) -> bool {
    !is_private(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_said_where_the_gateway_sees_it_too() {
        let table = [
            (Some("203.0.113.7"), "192.168.3.4", "198.51.100.1", true, Some(Some("203.0.113.7"))),
            (None, "203.0.113.9", "198.51.100.1", true, Some(Some("203.0.113.9"))),
            (None, "192.168.3.4", "198.51.100.1", true, Some(None)),
            (None, "192.168.3.4", "198.51.100.1", false, None),
            (None, "100.64.1.1", "198.51.100.1", false, None),
            (None, "192.168.3.4", "192.168.3.1", false, Some(Some("192.168.3.4"))),
            (None, "127.0.0.1", "127.0.0.1", false, Some(Some("127.0.0.1"))),
            (None, "2001:db8::7", "2001:db8:1::1", false, Some(Some("2001:db8::7"))),
        ];
        for (said, own, gateway, may_be_seen, expected) in table {
            let said = said.map(|ip| ip.parse().unwrap());
            let found = whence(said, own.parse().unwrap(), gateway.parse().unwrap(), may_be_seen).ok();
            let expected = expected.map(|at| at.map_or(Whence::AsSeen, |ip| Whence::At(ip.parse().unwrap())));
            assert_eq!(found, expected, "{said:?} {own} {gateway} {may_be_seen}");
        }
    }
}
