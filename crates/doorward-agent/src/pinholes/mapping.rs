//! One session's door, and what is asked of the router for it.

use super::door::{Common, Door, Terms};
use super::wished::Sight;
use crate::target::Place;
use doorward_core::pinhole::PinholeId;
use doorward_portmap::{ExternalPort, Open, Protocol, Sources, Wish};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(super) struct Mapping {
    pub(super) door: Door,
    pub(super) wish: Wish,
    /// The router's address and port, as it said last.
    place: Option<(Ipv4Addr, NonZeroU16)>,
}

/// Two messages about one end differ by what they were under way.
const JITTER: Duration = Duration::from_secs(5);

impl Mapping {
    pub(super) async fn open(
        place: (PinholeId, Ipv4Addr, Place),
        (terms, sight): (Terms, Sight),
        common: &Common,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<Self> {
        let (ends, sources) = (Some(terms.until.into_std()), sources(&terms.sources, sight));
        let door = Door::open(place, terms, common, tasks).await?;
        let (protocol, external_port) = (Protocol::Tcp, ExternalPort::Any);
        let wish = Wish { protocol, internal_port: door.port, external_port, sources, ends };
        Ok(Self { door, wish, place: None })
    }

    pub(super) fn set(&mut self, terms: Terms, sight: Sight) {
        let port = self.place.map(|(_, port)| port);
        self.wish = renewed(&self.wish, sources(&terms.sources, sight), terms.until, port);
        self.door.set(terms);
    }

    /// As the router says. Who passed at another place passed at another place.
    pub(super) fn is_at(&mut self, open: &Open) {
        let place = NonZeroU16::new(open.port).map(|port| (open.address, port));
        if self.place.is_some() && self.place != place {
            self.door.forget_passed();
        }
        self.place = place;
    }
}

/// What is asked from now on. A router is told of no end that is sooner by a moment only; and whoever was told a port finds it
/// again when others may come, too.
fn renewed(before: &Wish, sources: Sources, until: Instant, port: Option<NonZeroU16>) -> Wish {
    let until = until.into_std();
    let is_same_end = before.ends.is_some_and(|end| until < end && end - until < JITTER);
    let ends = if is_same_end { before.ends } else { Some(until) };
    let external_port = match port {
        Some(port) if before.sources != sources => ExternalPort::Prefer(port),
        Some(_) | None => before.external_port,
    };
    Wish { sources, ends, external_port, ..before.clone() }
}

/// Whom the router shall let through, as far as it can tell: the session's sources, and the gateway, which tries it. Where the
/// gateway's address is not known the door alone decides, which it does in any case.
fn sources(wished: &BTreeSet<Ipv4Addr>, sight: Sight) -> Sources {
    match sight.gateway {
        None => Sources::Anyone,
        Some(gateway) => {
            let all: BTreeSet<_> = wished.iter().copied().chain([gateway]).collect();
            Sources::Prefer(all.into_iter().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    #[test]
    fn a_router_hears_of_ends_and_sources_that_are_other_ones_and_keeps_its_port() {
        let (now, port) = (Instant::now(), NonZeroU16::new(40_000).unwrap());
        let (end, sources) = (now + Duration::from_secs(600), Sources::Prefer(vec![HOME]));
        let wish = Wish {
            protocol: Protocol::Tcp,
            internal_port: port,
            external_port: ExternalPort::Any,
            sources: sources.clone(),
            ends: Some(end.into_std()),
        };
        let moment = Duration::from_millis(30);
        assert_eq!(renewed(&wish, sources.clone(), end - moment, Some(port)), wish, "the same end, said again");
        let longer = renewed(&wish, sources.clone(), end + moment, Some(port));
        assert_eq!(longer, Wish { ends: Some((end + moment).into_std()), ..wish.clone() });
        let shorter = renewed(&wish, sources, now + JITTER, Some(port));
        assert_eq!(shorter.ends, Some((now + JITTER).into_std()));
        let more = renewed(&wish, Sources::Anyone, end, Some(port));
        assert_eq!((more.sources, more.external_port), (Sources::Anyone, ExternalPort::Prefer(port)));
        assert_eq!(renewed(&wish, Sources::Anyone, end, None).external_port, ExternalPort::Any, "none was given yet");
    }

    #[test]
    fn the_gateway_is_among_those_whom_a_router_lets_through_or_everybody_is() {
        let wished = BTreeSet::from([HOME]);
        let gateway = Ipv4Addr::new(203, 0, 113, 10);
        let sight = |gateway| Sight { gateway, home: None };
        assert_eq!(sources(&wished, sight(Some(gateway))), Sources::Prefer(vec![HOME, gateway]));
        assert_eq!(sources(&wished, sight(Some(HOME))), Sources::Prefer(vec![HOME]));
        assert_eq!(sources(&wished, sight(None)), Sources::Anyone);
    }
}
