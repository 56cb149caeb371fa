//! What keeps the sessions: one of the kernel's firewalls, chosen by asking the machine.

use crate::error::RouterError;
use crate::iptables::{self, Iptables};
use crate::nftables::Nftables;
use crate::settings::{Backend, Settings};
use doorward_core::pinhole::{Pinhole, PinholeId, Plan, Present, Protocol};
use rustix::thread::CapabilitySet;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::time::{Duration, Instant};

/// Says in a foreign chain whose rule it is.
pub(crate) const TAG: &str = "doorward router";

/// What the daemon needs of a firewall.
pub(crate) trait Firewall: Debug {
    /// Which one it is, also for whoever reads the log.
    fn words(&self) -> String;
    /// What its programs cannot do without.
    fn rights(&self) -> CapabilitySet;
    /// How many sessions it keeps at once.
    fn most(&self) -> usize;
    fn look(&mut self) -> Result<Sight, RouterError>;
    /// Makes it so, an accept in chains that would drop our packets included where the file says so, and reads it back; what a session has left counts from `heard`. To be called after a look. Answers which
    /// sessions were written.
    fn carry_out(&mut self, plan: &Plan, heard: Instant) -> Result<Vec<PinholeId>, RouterError>;
    /// By what was seen last.
    fn blocked(&self) -> Blocked;
    /// Takes every rule of ours away.
    fn remove(&mut self) -> Result<(), RouterError>;
}

/// What was seen before anything is done.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub(crate) sessions: Vec<Present>,
    /// Public ports that the owner's own rules lead somewhere.
    pub(crate) translated: BTreeSet<(Protocol, u16)>,
    /// What lets packets pass unseen.
    pub(crate) offload: Option<String>,
    pub(crate) lacks_ipv6: bool,
}

/// What drops our packets, a chain of others for instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocked {
    pub(crate) translated: Option<String>,
    pub(crate) direct: Option<String>,
}

impl Blocked {
    /// Whom a pinhole has no way past.
    pub(crate) fn by(&self, pinhole: &Pinhole) -> Option<String> {
        let translated = pinhole.way.translated.as_ref().map(|_| &self.translated);
        let direct = pinhole.way.direct.as_ref().map(|_| &self.direct);
        translated.into_iter().chain(direct).flatten().next().cloned()
    }
}

/// The one to use. Must run before rights are given up: what another program keeps is not shown to everybody.
pub(crate) fn choose(settings: &Settings) -> Result<Box<dyn Firewall>, RouterError> {
    let nftables = || Nftables::find(settings).map(|found| Box::new(found) as Box<dyn Firewall>);
    let iptables = || Iptables::find(settings).map(|found| Box::new(found) as Box<dyn Firewall>);
    match settings.backend {
        Backend::Nftables => nftables(),
        Backend::Iptables => iptables(),
        Backend::Auto => nftables().or_else(|nftables| {
            iptables().map_err(|iptables| RouterError::NoFirewall {
                nftables: Box::new(nftables),
                iptables: Box::new(iptables),
            })
        }),
    }
}

/// All that there are, each of which an earlier daemon may have used.
pub(crate) fn all(settings: &Settings) -> Vec<Box<dyn Firewall>> {
    let nftables = Nftables::find(settings).ok().map(|found| Box::new(found) as Box<dyn Firewall>);
    let others = iptables::all(settings).into_iter().map(|found| Box::new(found) as Box<dyn Firewall>);
    nftables.into_iter().chain(others).collect()
}

/// What an earlier daemon left in another one would stand there with nobody to end it by hand.
pub(crate) fn clear_others(settings: &Settings, chosen: &dyn Firewall) {
    for mut other in all(settings).into_iter().filter(|other| other.words() != chosen.words()) {
        // One that cannot be read or written by us has nothing of ours, or ends it by itself.
        let _left = other.remove();
    }
}

/// Vendors' own short cuts.
const MODULES: [&str; 7] =
    ["shortcut_fe", "shortcut_fe_cm", "fast_classifier", "xt_FLOWOFFLOAD", "hw_nat", "mtkhnat", "ecm"];

/// What lets established connections pass without the rules that end them, whoever keeps these.
pub(crate) fn short_cut() -> Option<String> {
    let module = MODULES.iter().find(|module| fs::exists(format!("/sys/module/{module}")).unwrap_or_default());
    module.map(|module| format!("the kernel module {module}"))
}

/// Whether what is there by now is what was planned, and nothing else.
pub(crate) fn verify(plan: &Plan, there: &[Present], heard: Instant) -> Result<(), RouterError> {
    let passed = heard.elapsed();
    let mut wanted = 0;
    for opening in &plan.openings {
        let pinhole = opening.granted.pinhole();
        let left = pinhole.remaining.saturating_sub(passed);
        let Ok(place) = there.binary_search_by_key(&opening.number, |present| present.number) else {
            // Its time may be over by now.
            if left < Duration::from_secs(1) {
                continue;
            }
            return Err(RouterError::NotVerified(format!("{} is not there", pinhole.id)));
        };
        let present = &there[place];
        wanted += 1;
        let is_longer = present.ends_within > pinhole.remaining + Duration::from_secs(2);
        if present.way != pinhole.way || present.id != pinhole.id || is_longer {
            return Err(RouterError::NotVerified(format!("{} is there as {present:?}", pinhole.id)));
        }
    }
    if wanted == there.len() { Ok(()) } else { Err(RouterError::NotVerified("there is more".to_owned())) }
}
