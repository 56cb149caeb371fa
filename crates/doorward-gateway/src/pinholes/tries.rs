//! A router that says that a port is open says no more than that. Nobody is told of a port mapping before this gateway came
//! through it from outside, and was answered by the device itself ([`Probe`]).

use doorward_control::{PinholeStanding, StraightWay};
use doorward_core::SessionId;
use doorward_tunnel::{GatewayLink, Probe};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Weak;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

/// What a device said of a session's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Way(StraightWay),
    /// A port mapping, as its router says.
    Untried {
        host: Option<IpAddr>,
        port: u16,
    },
}

/// Of one device's port mappings.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<SessionId, Try>);

#[derive(Debug)]
struct Try {
    place: SocketAddr,
    begun: Instant,
    /// Of the last that ended.
    worked: Option<bool>,
}

/// In all, for one try.
const LIMIT: Duration = Duration::from_secs(10);
/// For one connection.
const ONE: Duration = Duration::from_secs(3);
/// What the link carries and what comes from outside are two ways: the first must have time to arrive. Longer each time.
const HEAD_START: Duration = Duration::from_millis(100);
/// Where nothing came through.
const AGAIN: Duration = Duration::from_secs(60);

const BEING_TRIED: &str = "the router says that it is open; it is being tried from outside";
const NOTHING: &str = "the router says that it is open, and nothing comes through: using the relay";

impl Tries {
    /// Those of `said` that are to be tried now, at most `room`; they count as begun. `peer`: from where the device's link comes.
    pub(super) fn begin(
        &mut self,
        said: &HashMap<SessionId, Said>,
        peer: IpAddr,
        now: Instant,
        room: usize,
    ) -> Vec<(SessionId, SocketAddr)> {
        self.0.retain(|session, _| said.contains_key(session));
        let place = |(session, said): (&SessionId, &Said)| match said {
            Said::Way(_) => None,
            Said::Untried { host, port } => Some((*session, place(*host, *port, peer).ok()?)),
        };
        let is_due = |(session, place): &(SessionId, SocketAddr)| match self.of(*session, *place) {
            None => true,
            Some(tried) => tried.worked != Some(true) && now.duration_since(tried.begun) >= AGAIN,
        };
        let due: Vec<_> = said.iter().filter_map(place).filter(is_due).take(room).collect();
        for (session, place) in &due {
            let worked = self.of(*session, *place).and_then(|tried| tried.worked);
            self.0.insert(*session, Try { place: *place, begun: now, worked });
        }
        due
    }

    /// It may be that something else is said of it meanwhile.
    pub(super) fn ended(&mut self, session: SessionId, place: SocketAddr, worked: bool) {
        if let Some(tried) = self.0.get_mut(&session).filter(|tried| tried.place == place) {
            tried.worked = Some(worked);
        }
    }

    /// What people are told.
    pub(super) fn shown(&self, session: SessionId, said: &Said, peer: IpAddr) -> StraightWay {
        let (host, port) = match said {
            Said::Way(way) => return way.clone(),
            Said::Untried { host, port } => (*host, *port),
        };
        let closed = |why: &str| PinholeStanding::Closed { why: why.to_owned() };
        let standing = match place(host, port, peer) {
            Err(why) => closed(&why),
            Ok(place) => match self.of(session, place).and_then(|tried| tried.worked) {
                None => closed(BEING_TRIED),
                Some(false) => closed(NOTHING),
                Some(true) => PinholeStanding::Ready,
            },
        };
        StraightWay { standing, host, port }
    }

    fn of(&self, session: SessionId, place: SocketAddr) -> Option<&Try> {
        self.0.get(&session).filter(|tried| tried.place == place)
    }
}

/// Where to come in. A device must not have this gateway knock at other people's doors, nor at those of the gateway's own
/// network: only the address that its link comes from is tried; where that is none of the IPv4 internet, one that is.
fn place(host: Option<IpAddr>, port: u16, peer: IpAddr) -> Result<SocketAddr, String> {
    let host = match host.map(|host| host.to_canonical()) {
        Some(IpAddr::V4(host)) if port != 0 => host,
        Some(_) | None => return Err("the device says no place to try".to_owned()),
    };
    let is_theirs = match peer.to_canonical() {
        IpAddr::V4(peer) if is_public(peer) || peer == host => peer == host,
        IpAddr::V4(_) | IpAddr::V6(_) => is_public(host),
    };
    let elsewhere =
        || format!("behind carrier NAT (the router says {host}, the gateway sees {peer}): using the relay instead");
    is_theirs.then_some((host, port).into()).ok_or_else(elsewhere)
}

fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_inside = address.is_private() || address.is_loopback() || address.is_link_local() || is_shared;
    !is_inside && a != 0 && a < 224 && (a, b, c) != (192, 0, 0)
}

/// Whether the device was reached. It takes a moment until some routers do what they say.
pub(super) async fn try_from_outside(link: Weak<GatewayLink>, session: SessionId, place: SocketAddr) -> bool {
    let trying = async {
        let mut head_start = HEAD_START;
        loop {
            // Each counts once.
            let probe = Probe::new(format!("s{session}"));
            let Some(link) = link.upgrade() else { return false };
            if !link.say(probe.announce()).await {
                return false;
            }
            drop(link);
            sleep(head_start).await;
            head_start *= 2;
            let asking = async { probe.ask(TcpStream::connect(place).await?).await };
            match timeout(ONE, asking).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => debug!(%session, %error, "a port mapping did not let through"),
                Err(_) => debug!(%session, "a port mapping did not let through: no answer"),
            }
        }
    };
    timeout(LIMIT, trying).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(7);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn untried(host: &str, port: u16) -> HashMap<SessionId, Said> {
        HashMap::from([(SESSION, Said::Untried { host: host.parse().ok(), port })])
    }

    #[test]
    fn a_device_has_its_own_home_tried_and_nobody_elses() {
        for (host, peer, expected) in [
            ("198.51.100.77", "198.51.100.77", None),
            ("198.51.100.77", "::ffff:198.51.100.77", None),
            ("198.51.100.77", "2001:db8::77", None),
            ("198.51.100.77", "192.168.1.5", None),
            ("192.168.1.5", "192.168.1.5", None),
            ("198.51.100.77", "203.0.113.9", Some("behind carrier NAT")),
            ("127.0.0.1", "203.0.113.9", Some("behind carrier NAT")),
            ("192.168.1.1", "2001:db8::77", Some("behind carrier NAT")),
            ("10.0.0.1", "192.168.1.5", Some("behind carrier NAT")),
            ("169.254.169.254", "2001:db8::77", Some("behind carrier NAT")),
            ("127.0.0.1", "::1", Some("behind carrier NAT")),
            ("224.0.0.1", "2001:db8::77", Some("behind carrier NAT")),
            ("2001:db8::77", "2001:db8::77", Some("no place")),
            ("", "203.0.113.9", Some("no place")),
        ] {
            let judged = place(host.parse().ok(), 40_000, ip(peer));
            match expected {
                None => assert_eq!(judged.unwrap().to_string(), format!("{host}:40000"), "{peer}"),
                Some(why) => assert!(judged.clone().unwrap_err().contains(why), "{host} {peer} {judged:?}"),
            }
        }
        assert!(place(Some(ip("198.51.100.77")), 0, ip("198.51.100.77")).is_err());
    }

    #[test]
    fn nobody_is_told_of_a_port_before_somebody_came_through_and_what_failed_is_tried_again() {
        let (peer, now) = (ip("198.51.100.77"), Instant::now());
        let (said, mut tries) = (untried("198.51.100.77", 40_000), Tries::default());
        let why = |tries: &Tries, said: &HashMap<_, _>| match tries.shown(SESSION, &said[&SESSION], peer).standing {
            PinholeStanding::Closed { why } => why,
            PinholeStanding::Ready => "ready".to_owned(),
            PinholeStanding::Passed => "passed".to_owned(),
        };
        assert_eq!(why(&tries, &said), BEING_TRIED);
        let begun = tries.begin(&said, peer, now, 9);
        assert_eq!(begun.len(), 1);
        let place = begun[0].1;
        assert!(tries.begin(&said, peer, now + LIMIT, 9).is_empty(), "it is under way");
        assert_eq!(why(&tries, &said), BEING_TRIED);
        tries.ended(SESSION, place, false);
        assert_eq!(why(&tries, &said), NOTHING);
        assert_eq!(tries.begin(&said, peer, now + AGAIN, 9).len(), 1);
        assert_eq!(why(&tries, &said), NOTHING, "until it is known better");
        tries.ended(SESSION, place, true);
        assert_eq!(why(&tries, &said), "ready");
        assert!(tries.begin(&said, peer, now + 10 * AGAIN, 9).is_empty(), "once is enough");
        let moved = untried("198.51.100.77", 40_001);
        assert_eq!(why(&tries, &moved), BEING_TRIED, "another port is another way");
        assert_eq!(tries.begin(&moved, peer, now, 9).len(), 1);
        tries.ended(SESSION, place, true);
        assert_eq!(why(&tries, &moved), BEING_TRIED, "that was the old one");
        tries.begin(&HashMap::new(), peer, now, 9);
        assert!(tries.0.is_empty(), "what is over is forgotten");
    }
}
