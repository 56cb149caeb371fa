//! The daemon's way to iptables. Every change writes all our chains: a table at a time, in an order in which nobody is let in
//! before there is what ends it.

use crate::elements::{Gathered, elements, gather};
use crate::error::RouterError;
use crate::firewall::{Blocked, Firewall, Sight, short_cut, verify};
use crate::iptables::foreign::{blocking, offload, translated_ports};
use crate::iptables::rules::{Structure, bare, read_all, removal};
use crate::iptables::{Family, Flavour, Kept, Listing, Programs, Window};
use crate::privileges::{NET_ADMIN, NET_ADMIN_AND_RAW};
use crate::settings::Settings;
use doorward_core::pinhole::{Opening, PinholeId, Plan, Present, Step};
use rustix::thread::CapabilitySet;
use std::time::Instant;
use tracing::{debug, info, warn};

#[derive(Debug)]
pub(crate) struct Iptables {
    programs: Programs,
    structure: Structure,
    may_join: bool,
    /// What was listed of ours beside sessions when it was last written; `None`: it was not written by us.
    standing: Option<Vec<String>>,
    seen: Listing,
    has_strays: bool,
}

/// A packet passes the rules of a sixteenth of them, one after the other.
const MOST: usize = 256;

impl Iptables {
    pub(crate) fn new(programs: Programs, settings: &Settings) -> Self {
        let structure = Structure { bits: settings.marks, lan: settings.lan.clone(), joined: Vec::new() };
        let (may_join, seen) = (settings.join_firewalls, Listing::default());
        Self { programs, structure, may_join, standing: None, seen, has_strays: false }
    }

    /// If it works here.
    pub(crate) fn find(settings: &Settings) -> Result<Self, RouterError> {
        Ok(Self::new(Programs::find()?.that_work()?, settings))
    }

    fn families(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| self.programs.has(*family))
    }

    /// What another release wrote cannot be read, and is not kept.
    fn gathered(&mut self) -> Result<Gathered, RouterError> {
        match read_all(&self.seen) {
            Ok(all) => Ok(gather(all, self.structure.bits)),
            Err(RouterError::Listing(what)) if self.standing.is_none() => {
                warn!(what, "our chains were written by another release and are made anew");
                Ok(Gathered::default())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, kept: &[Kept], anew: bool) -> Result<(), RouterError> {
        for family in self.families() {
            self.programs.restore(family, &self.structure.text(family, kept, anew.then_some(&self.seen)))?;
        }
        Ok(())
    }

    fn read_back(&mut self, plan: &Plan, anew: bool, heard: Instant) -> Result<(), RouterError> {
        self.seen = self.programs.our_tables()?;
        let bare = bare(&self.seen);
        if anew {
            self.standing = Some(bare);
        } else if self.standing.as_ref() != Some(&bare) {
            return Err(RouterError::NotVerified("somebody else writes in our chains".to_owned()));
        }
        let sessions = gather(read_all(&self.seen)?, self.structure.bits).sessions;
        let there: Vec<Present> = sessions.into_iter().map(|(present, _)| present).collect();
        verify(plan, &there, heard)
    }

    /// Where others would drop what is alive.
    fn join(&mut self) -> bool {
        let families: Vec<Family> = self.families().collect();
        let is_joined = |family: &Family| self.may_join && blocking(&self.seen, *family).is_some();
        let joined: Vec<Family> = families.into_iter().filter(is_joined).collect();
        let is_other = joined != self.structure.joined;
        for family in joined.iter().filter(|family| is_other && !self.structure.joined.contains(family)) {
            info!(firewall = family.program(), "an accept for pinholes is put first into a firewall's chain");
        }
        self.structure.joined = joined;
        is_other
    }

    fn kept(&self, opening: &Opening, heard: Instant) -> Kept {
        let pinhole = opening.granted.pinhole();
        let elements = elements(&opening.granted, self.structure.bits.mark(opening.number));
        let window = Window::from_now(pinhole.remaining.saturating_sub(heard.elapsed()));
        Kept { id: pinhole.id.clone(), elements, window }
    }
}

impl Firewall for Iptables {
    fn words(&self) -> String {
        self.programs.words()
    }

    fn rights(&self) -> CapabilitySet {
        match self.programs.flavour {
            Flavour::Nft => NET_ADMIN,
            Flavour::Legacy => NET_ADMIN_AND_RAW,
        }
    }

    fn most(&self) -> usize {
        MOST
    }

    fn look(&mut self) -> Result<Sight, RouterError> {
        self.seen = self.programs.our_tables()?;
        let gathered = self.gathered()?;
        self.has_strays = !gathered.strays.is_empty();
        Ok(Sight {
            sessions: gathered.sessions.into_iter().map(|(present, _)| present).collect(),
            translated: translated_ports(&self.seen),
            offload: offload(&self.seen).or_else(short_cut),
            lacks_ipv6: !self.programs.has(Family::Six),
        })
    }

    fn carry_out(&mut self, plan: &Plan, heard: Instant) -> Result<Vec<PinholeId>, RouterError> {
        let anew = self.join() || self.standing.as_ref().is_none_or(|standing| *standing != bare(&self.seen));
        let is_other = !plan.endings.is_empty() || plan.openings.iter().any(|opening| opening.step != Step::Keep);
        if !anew && !is_other && !self.has_strays {
            return Ok(Vec::new());
        }
        let kept: Vec<Kept> = plan.openings.iter().map(|opening| self.kept(opening, heard)).collect();
        debug!(anew, written = kept.len(), ending = plan.endings.len(), "the rules are changed");
        self.write(&kept, anew)?;
        self.read_back(plan, anew, heard)?;
        Ok(kept.into_iter().map(|kept| kept.id).collect())
    }

    fn blocked(&self) -> Blocked {
        let by = |family: Family| blocking(&self.seen, family).filter(|_| !self.structure.joined.contains(&family));
        Blocked { translated: by(Family::Four), direct: by(Family::Six) }
    }

    fn remove(&mut self) -> Result<(), RouterError> {
        self.standing = None;
        let seen = self.programs.every_table()?;
        for family in self.families().filter(|_| seen.has_ours()) {
            self.programs.restore(family, &removal(family, &seen))?;
        }
        Ok(())
    }
}
