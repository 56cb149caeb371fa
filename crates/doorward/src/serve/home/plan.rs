//! Which ports of the router are asked for. Pure.
//!
//! Each listener has ports in turn. Where the router refuses one, or another has it, the next one is asked for, and that
//! stays so until the gateway starts again: links that were given away name it.

use super::{MappingSettings, words};
use doorward_control::{MappingReport, MappingState};
use doorward_gateway::Bound;
use doorward_portmap::{ExternalPort, Protocol, Report, Sources, State, Why, Wish, Wishes};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use tracing::warn;

pub(super) const HTTPS: &str = "https";
pub(super) const QUIC: &str = "quic";
pub(super) const REDIRECT: &str = "redirect";

#[derive(Debug, Default)]
pub(super) struct Plan {
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Listener {
    name: &'static str,
    protocol: Protocol,
    port: NonZeroU16,
    asked: Vec<NonZeroU16>,
    /// Which of them.
    turn: usize,
}

impl Plan {
    pub(super) fn new(settings: &MappingSettings, bound: &Bound) -> Self {
        let listener = |name, protocol, addresses: &[SocketAddr], asked: &Vec<NonZeroU16>| {
            let outward = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())?;
            let port = NonZeroU16::new(outward.port())?;
            (!asked.is_empty()).then(|| Listener { name, protocol, port, asked: asked.clone(), turn: 0 })
        };
        let listeners = [
            listener(HTTPS, Protocol::Tcp, &bound.https, &settings.https),
            listener(QUIC, Protocol::Udp, &bound.quic, &settings.quic),
            listener(REDIRECT, Protocol::Tcp, &bound.redirect, &settings.http),
        ];
        Self { listeners: listeners.into_iter().flatten().collect() }
    }

    /// All there shall be.
    pub(super) fn wishes(&self) -> Wishes {
        self.listeners.iter().map(|listener| (listener.name.to_owned(), listener.wish())).collect()
    }

    /// Answers whether something else is asked for from now on.
    pub(super) fn learn(&mut self, report: &Report) -> bool {
        let mut is_new = false;
        for listener in &mut self.listeners {
            let Some(State::Failed(why)) = report.mappings.get(listener.name) else { continue };
            if gives_way(why, report) && listener.turn + 1 < listener.asked.len() {
                let before = listener.now();
                listener.turn += 1;
                warn!(
                    "{} cannot have port {before} of the router ({why}), so {} is asked for",
                    listener.name,
                    listener.now()
                );
                is_new = true;
            }
        }
        is_new
    }

    pub(super) fn report(&self, report: &Report) -> Vec<MappingReport> {
        let state = |listener: &Listener| match report.mappings.get(listener.name) {
            None | Some(State::Asked) => MappingState::Asked,
            Some(State::Open(open)) => MappingState::Open { port: open.port, by: open.way.to_string() },
            Some(State::Failed(why)) => words::failed(why, report.external),
        };
        let one = |listener: &Listener| MappingReport {
            listener: listener.name.to_owned(),
            protocol: match listener.protocol {
                Protocol::Tcp => doorward_control::Protocol::Tcp,
                Protocol::Udp => doorward_control::Protocol::Udp,
            },
            port: listener.port.get(),
            asked: listener.now().get(),
            first: listener.asked[0].get(),
            state: state(listener),
        };
        self.listeners.iter().map(one).collect()
    }
}

impl Listener {
    fn now(&self) -> NonZeroU16 {
        self.asked[self.turn]
    }

    fn wish(&self) -> Wish {
        let is_last = self.turn + 1 == self.asked.len();
        let external_port = if is_last { ExternalPort::Prefer(self.now()) } else { ExternalPort::Exactly(self.now()) };
        Wish { protocol: self.protocol, internal_port: self.port, external_port, sources: Sources::Anyone, ends: None }
    }
}

/// Whether another port of the router might do.
fn gives_way(why: &Why, report: &Report) -> bool {
    match why {
        Why::Taken(_) => true,
        // Without a line, as after a power cut, or behind a carrier's NAT, routers refuse every port.
        Why::Refused { .. } => words::is_reachable(report.external),
        Why::NoRouter(_)
        | Why::Silent
        | Why::Unreachable(_)
        | Why::CannotRestrict
        | Why::PermanentOnly
        | Why::Strange(_)
        | Why::Nobody
        | Why::Twice
        | Why::TooMany(_)
        | Why::Over
        | Why::Unwritable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_portmap::{Open, Way};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn ports(numbers: &[u16]) -> Vec<NonZeroU16> {
        numbers.iter().copied().filter_map(NonZeroU16::new).collect()
    }

    fn plan(https: &[u16]) -> Plan {
        let settings = MappingSettings {
            https: ports(https),
            quic: ports(&[443]),
            http: ports(&[]),
            may_be_permanent: true,
            lease: Duration::from_secs(600),
            check: Duration::from_secs(60),
        };
        let at = |text: &str| vec![text.parse().unwrap()];
        let bound = Bound {
            https: [at("127.0.0.1:1"), at("0.0.0.0:8443")].concat(),
            quic: at("127.0.0.1:443"),
            redirect: at("0.0.0.0:80"),
            ..Bound::default()
        };
        Plan::new(&settings, &bound)
    }

    fn report(state: State) -> Report {
        let external = Some(Ipv4Addr::new(198, 51, 100, 7));
        Report { external, mappings: [(HTTPS.to_owned(), state)].into(), ..Report::default() }
    }

    fn asked(plan: &Plan) -> ExternalPort {
        plan.wishes()[HTTPS].external_port
    }

    #[test]
    fn what_the_router_can_reach_is_wished_and_nothing_else() {
        let wishes = plan(&[443]).wishes();
        assert_eq!(wishes.keys().collect::<Vec<_>>(), [HTTPS], "QUIC is on loopback, and no port is wished for 80");
        assert_eq!(wishes[HTTPS].internal_port.get(), 8443);
    }

    #[test]
    fn a_port_that_is_refused_or_taken_gives_way_to_the_next_and_another_reason_does_not() {
        let mut plan = plan(&[443, 4443, 8443]);
        let exactly = |port| ExternalPort::Exactly(NonZeroU16::new(port).unwrap());
        assert_eq!(asked(&plan), exactly(443));
        for why in [Why::Silent, Why::Unwritable("full".to_owned()), Why::PermanentOnly] {
            assert!(!plan.learn(&report(State::Failed(why))));
        }
        assert!(plan.learn(&report(State::Failed(Why::Taken(443)))));
        assert_eq!(asked(&plan), exactly(4443));
        let refused = Why::Refused { way: Way::Upnp, code: 606, meaning: "not authorised" };
        let without_line = Report { external: None, ..report(State::Failed(refused.clone())) };
        assert!(!plan.learn(&without_line), "it refuses everything");
        assert!(plan.learn(&report(State::Failed(refused.clone()))));
        let last = ExternalPort::Prefer(NonZeroU16::new(8443).unwrap());
        assert_eq!(asked(&plan), last, "in place of the last one any will do");
        assert!(!plan.learn(&report(State::Failed(refused))));
        let open = Open {
            address: Ipv4Addr::new(198, 51, 100, 7),
            port: 8443,
            until: None,
            is_restricted: false,
            way: Way::Upnp,
        };
        assert!(!plan.learn(&report(State::Open(open.clone()))));
        let told = plan.report(&report(State::Open(open)));
        assert_eq!((told[0].first, told[0].asked, told[0].port), (443, 8443, 8443));
        assert_eq!(told[0].state, MappingState::Open { port: 8443, by: "UPnP".to_owned() });
    }
}
