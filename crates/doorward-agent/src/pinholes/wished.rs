//! What gateways wish, as they said it last, and what that means here.

use crate::settings::Settings;
use doorward_core::names::Label;
use doorward_core::pinhole::{Direct, Pinhole, PinholeId, Protocol, Site, State, Told, Translated, Way, Wishes};
use doorward_core::service::ServiceKind;
use doorward_tunnel::messages::{PinholeSeen, PinholeState, PinholeWish, PinholesSeen, PinholesWished};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub(super) struct Wished(BTreeMap<Label, Heard>);

/// Of one gateway.
#[derive(Clone, Debug, Default)]
struct Heard {
    all: Vec<One>,
    seen: Sight,
}

/// How a gateway and this home see each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// The gateway's own address. `None`: it was not dialled straight.
    pub(super) gateway: Option<Ipv4Addr>,
    /// From where it sees the link come.
    pub(super) home: Option<Ipv4Addr>,
}

#[derive(Clone, Debug)]
pub(super) struct One {
    pub(super) wish: PinholeWish,
    pub(super) until: Instant,
}

/// Of one gateway; the router's memory is bounded.
const MOST: usize = 1000;
const MOST_SOURCES: usize = 32;
/// A session's own end is sooner as a rule.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

impl Wished {
    /// `dialled`: the gateway's own address, if nobody is between.
    pub(super) fn hear(&mut self, gateway: &Label, wished: PinholesWished, dialled: Option<IpAddr>, now: Instant) {
        let one = |wish: PinholeWish| {
            let until = now + Duration::from_millis(wish.remaining_ms).min(LONGEST);
            One { wish, until }
        };
        // Where somebody is between, it is not this home that the gateway sees.
        let home = wished.seen_from.filter(|_| dialled.is_some()).and_then(|home| home.parse().ok());
        let seen = Sight { gateway: dialled.and_then(of_four), home: home.and_then(of_four) };
        let all = wished.pinholes.into_iter().take(MOST).map(one).collect();
        self.0.insert(gateway.clone(), Heard { all, seen });
    }

    /// Whoever was left wishes nothing any more, which is said as if they had said it. Whether that is news.
    pub(super) fn forget(&mut self, gateway: &Label) -> bool {
        self.0.insert(gateway.clone(), Heard::default()).is_none_or(|before| !before.all.is_empty())
    }

    pub(super) fn is_heard(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn is_something(&self, now: Instant) -> bool {
        self.0.values().flat_map(|heard| &heard.all).any(|one| now < one.until)
    }

    /// With the gateway that wishes it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Label, &One)> {
        self.0.iter().flat_map(|(gateway, heard)| heard.all.iter().map(move |one| (gateway, one)))
    }

    pub(super) fn sight(&self, gateway: &Label) -> Sight {
        self.0.get(gateway).map(|heard| heard.seen).unwrap_or_default()
    }

    /// This home's address, as gateways see it.
    pub(super) fn home(&self) -> Option<Ipv4Addr> {
        self.0.values().find_map(|heard| heard.seen.home)
    }

    /// All that the router shall have. `home`: its own address in IPv4; who is seen to come from there is at home.
    pub(super) fn wishes(&self, settings: &Settings, home: Option<IpAddr>, now: Instant) -> Wishes {
        let pinhole = |(gateway, one): (&Label, &One)| {
            let remaining = one.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
            let (to, protocol) = target(settings, gateway, &one.wish).ok()?;
            Some(Pinhole { id: id(gateway, &one.wish.id)?, remaining, way: way(to, protocol, &one.wish, home) })
        };
        Wishes { pinholes: self.each().filter_map(pinhole).collect() }
    }

    /// What each gateway is told of its wishes.
    pub(super) fn told_as(&self, seen: impl Fn(&Label, &PinholeWish) -> PinholeSeen) -> BTreeMap<Label, PinholesSeen> {
        let all = |(gateway, heard): (&Label, &Heard)| {
            let pinholes = heard.all.iter().map(|one| seen(gateway, &one.wish)).collect();
            (gateway.clone(), PinholesSeen { pinholes })
        };
        self.0.iter().map(all).collect()
    }

    /// The same of a router's daemon; `home`: the router's own public address in IPv4; `answer`: what the router said of a pinhole,
    /// or why it was not asked.
    pub(super) fn told(
        &self,
        settings: &Settings,
        home: Option<IpAddr>,
        answer: impl Fn(&PinholeId) -> Result<Told, String>,
    ) -> BTreeMap<Label, PinholesSeen> {
        let seen = |gateway: &Label, wish: &PinholeWish| {
            let closed = |why| closed(wish, why);
            let (to, _) = match target(settings, gateway, wish) {
                Ok(found) => found,
                Err(why) => return closed(why.to_owned()),
            };
            let Some(id) = id(gateway, &wish.id) else { return closed("its name is too long".to_owned()) };
            let told = match answer(&id) {
                Ok(told) => told,
                Err(why) => return closed(why),
            };
            let state = match told.state {
                State::Ready => PinholeState::Ready,
                State::Passed => PinholeState::Passed,
                State::Blocked(chain) => return closed(format!("another firewall on the router drops it: {chain}")),
                State::Refused(refusal) => return closed(refusal.to_string()),
            };
            let host = if to.is_ipv6() { Some(to.ip()) } else { home }.map(|host| host.to_string());
            let port = told.public_port.unwrap_or(to.port()).into();
            PinholeSeen { id: wish.id.clone(), state: state.into(), host, port, why: None }
        };
        self.told_as(seen)
    }
}

pub(super) fn closed(wish: &PinholeWish, why: String) -> PinholeSeen {
    PinholeSeen { id: wish.id.clone(), state: PinholeState::Closed.into(), host: None, port: 0, why: Some(why) }
}

/// Those that can be told apart by IPv4.
pub(super) fn sources_of_four(wish: &PinholeWish) -> impl Iterator<Item = Ipv4Addr> {
    wish.sources.iter().take(MOST_SOURCES).filter_map(|source| source.parse().ok()).filter_map(of_four)
}

fn of_four(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Two gateways may have a session of the same number.
pub(super) fn id(gateway: &Label, wish: &str) -> Option<PinholeId> {
    PinholeId::parse(&format!("{gateway}-{wish}")).ok()
}

/// Where it leads, as the settings say.
fn target(settings: &Settings, gateway: &Label, wish: &PinholeWish) -> Result<(SocketAddr, Protocol), &'static str> {
    let mut services = settings.services_for(gateway);
    let service = services.find(|service| service.offer.name.as_str() == wish.service);
    let service = service.ok_or("the device does not offer it")?;
    let to = service.pinhole_to.ok_or("the device's agent.toml does not say where it leads: pinhole-to")?;
    match service.offer.kind {
        ServiceKind::Tcp => Ok((to, Protocol::Tcp)),
        ServiceKind::Udp => Ok((to, Protocol::Udp)),
        ServiceKind::Http | ServiceKind::Camera => Err("a web service has none"),
    }
}

/// Only sources of the target's own family can come to it.
fn way(to: SocketAddr, protocol: Protocol, wish: &PinholeWish, home: Option<IpAddr>) -> Way {
    let sources = wish.sources.iter().take(MOST_SOURCES).filter_map(|source| source.parse::<IpAddr>().ok());
    let of_six = sources.filter_map(|source| match source {
        IpAddr::V4(_) => None,
        IpAddr::V6(source) => Some(Site::from(source)),
    });
    match to {
        SocketAddr::V4(target) => {
            let sources: BTreeSet<_> = sources_of_four(wish).collect();
            let neighbours = home.and_then(of_four).is_some_and(|home| sources.contains(&home));
            let translated = Translated { public_port: 0, target, sources, neighbours };
            Way { protocol, translated: Some(translated), direct: None }
        }
        SocketAddr::V6(target) => {
            Way { protocol, translated: None, direct: Some(Direct { target, sources: of_six.collect() }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::pinhole::Refusal;
    use std::path::Path;

    const FILE: &str = "[router]\nsocket = \"/run/r.sock\"\n\
        [[service]]\nname = \"nas\"\ntarget = \"tcp://192.168.1.20:22\"\npinhole-to = \"192.168.1.20:22\"\nentrances = [\"pinhole\"]\n\
        [[service]]\nname = \"six\"\ntarget = \"udp://[2001:db8::7]:53\"\npinhole-to = \"[2001:db8::7]:53\"\nentrances = [\"pinhole\"]\n\
        [[service]]\nname = \"plain\"\ntarget = \"tcp://192.168.1.21:22\"\n";

    fn wish(id: &str, service: &str, remaining_ms: u64) -> PinholeWish {
        let sources = ["198.51.100.7", "2001:db8:9:9::"].map(str::to_owned).to_vec();
        PinholeWish { id: id.to_owned(), service: service.to_owned(), sources, remaining_ms }
    }

    fn all(now: Instant) -> (Wished, Settings) {
        let settings = Settings::parse(FILE, Path::new("agent.toml")).unwrap();
        let mut wished = Wished::default();
        let pinholes =
            vec![wish("s1", "nas", 9000), wish("s2", "six", 5000), wish("s3", "plain", 5000), wish("s4", "none", 5000)];
        wished.hear(&Label::parse("home").unwrap(), PinholesWished { pinholes, seen_from: None }, None, now);
        (wished, settings)
    }

    #[test]
    fn only_what_the_settings_say_is_opened_and_only_as_long_as_it_was_wished() {
        let now = Instant::now();
        let (wished, settings) = all(now);
        let wishes = wished.wishes(&settings, None, now + Duration::from_secs(1));
        let ids: Vec<_> = wishes.pinholes.iter().map(|pinhole| pinhole.id.as_str()).collect();
        assert_eq!(ids, ["home-s1", "home-s2"]);
        assert_eq!(wishes.pinholes[0].remaining, Duration::from_secs(8));
        let translated = wishes.pinholes[0].way.translated.as_ref().unwrap();
        assert_eq!((translated.public_port, translated.target.to_string()), (0, "192.168.1.20:22".to_owned()));
        assert_eq!(translated.sources.iter().map(ToString::to_string).collect::<Vec<_>>(), ["198.51.100.7"]);
        let direct = wishes.pinholes[1].way.direct.as_ref().unwrap();
        assert_eq!(
            direct.sources.iter().map(|site| site.address().to_string()).collect::<Vec<_>>(),
            ["2001:db8:9:9::"]
        );
        let later = wished.wishes(&settings, None, now + Duration::from_secs(5));
        assert_eq!(later.pinholes.len(), 1, "at its end nobody needs to say so");
    }

    #[test]
    fn a_gateway_that_was_left_wishes_nothing_and_the_router_is_told() {
        let now = Instant::now();
        let (mut wished, settings) = all(now);
        let home = Label::parse("home").unwrap();
        assert!(wished.forget(&home), "it is news");
        assert!(wished.is_heard() && !wished.is_something(now));
        assert!(wished.wishes(&settings, None, now).pinholes.is_empty());
        assert!(!wished.forget(&home), "it is none again");
    }

    #[test]
    fn whoever_opened_it_from_inside_this_home_comes_in_from_there_too() {
        let now = Instant::now();
        let (wished, settings) = all(now);
        let neighbours = |home: Option<&str>| {
            let wishes = wished.wishes(&settings, home.map(|home| home.parse().unwrap()), now);
            wishes.pinholes[0].way.translated.as_ref().unwrap().neighbours
        };
        assert!(neighbours(Some("198.51.100.7")) && neighbours(Some("::ffff:198.51.100.7")));
        assert!(!neighbours(Some("198.51.100.8")) && !neighbours(Some("2001:db8:9:9::")) && !neighbours(None));
    }

    #[test]
    fn where_this_home_is_seen_counts_only_where_nobody_is_between() {
        let now = Instant::now();
        let wished = |dialled: Option<&str>, seen: &str| {
            let mut wished = Wished::default();
            let said = PinholesWished { pinholes: Vec::new(), seen_from: Some(seen.to_owned()) };
            let dialled = dialled.map(|address| address.parse().unwrap());
            wished.hear(&Label::parse("home").unwrap(), said, dialled, now);
            wished.home().map(|home| home.to_string())
        };
        assert_eq!(wished(Some("203.0.113.10"), "198.51.100.77").as_deref(), Some("198.51.100.77"));
        assert_eq!(wished(Some("203.0.113.10"), "::ffff:198.51.100.77").as_deref(), Some("198.51.100.77"));
        assert_eq!(wished(None, "198.51.100.77"), None, "a proxy's address, perhaps");
        assert_eq!(wished(Some("2001:db8::10"), "2001:db8::77"), None);
        assert_eq!(wished(Some("203.0.113.10"), "home"), None);
    }

    #[test]
    fn gateways_hear_what_became_of_each_of_their_wishes_and_why_not() {
        let (wished, settings) = all(Instant::now());
        let home = "198.51.100.9".parse().ok();
        let told = wished.told(&settings, home, |id| {
            let state = match id.as_str() {
                "home-s1" => State::Passed,
                _ => State::Refused(Refusal::NoPortFree),
            };
            Ok(Told { id: id.clone(), state, public_port: Some(40_001) })
        });
        let seen = &told[&Label::parse("home").unwrap()].pinholes;
        let short: Vec<_> =
            seen.iter().map(|seen| (seen.state(), seen.port, seen.why.clone().unwrap_or_default())).collect();
        assert_eq!(short[0], (PinholeState::Passed, 40_001, String::new()));
        assert_eq!(seen[0].host.as_deref(), Some("198.51.100.9"));
        for (at, why) in [(1, "no public port is free"), (2, "pinhole-to"), (3, "does not offer it")] {
            assert_eq!(short[at].0, PinholeState::Closed);
            assert!(short[at].2.contains(why), "{short:?}");
        }
    }
}
