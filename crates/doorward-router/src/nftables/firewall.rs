//! The daemon's way to nftables: one transaction for everything that changes.

use crate::elements::{Element, Gathered, elements, gather};
use crate::error::RouterError;
use crate::firewall::{Blocked, Firewall, Sight, verify};
use crate::nftables::elements::read_all;
use crate::nftables::{
    Family, Nft, Ruleset, Structure, accept_rule, batch, blocking, drop_rule, drop_table, offload, own_accepts,
    translated_ports,
};
use crate::privileges::NET_ADMIN;
use crate::settings::Settings;
use doorward_core::pinhole::{MarkBits, Number, Opening, PinholeId, Plan, Present, Step};
use rustix::thread::CapabilitySet;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

#[derive(Debug)]
pub(crate) struct Nftables {
    nft: Nft,
    structure: Structure,
    bits: MarkBits,
    may_join: bool,
    /// How our table was listed when it was last written; `None`: it was not written by us.
    standing: Option<Vec<Value>>,
    seen: Seen,
}

/// The last look.
#[derive(Debug, Default)]
struct Seen {
    ruleset: Ruleset,
    sessions: Vec<(Present, Vec<Element>)>,
    strays: Vec<Element>,
}

impl Nftables {
    /// If it works here.
    pub(crate) fn find(settings: &Settings) -> Result<Self, RouterError> {
        let nft = Nft::find()?;
        nft.ruleset()?;
        let structure = Structure { bits: settings.marks, lan: settings.lan.clone() };
        Ok(Self {
            nft,
            structure,
            bits: settings.marks,
            may_join: settings.join_firewalls,
            standing: None,
            seen: Seen::default(),
        })
    }

    /// What another release wrote cannot be read, and is not kept.
    fn gathered(&mut self, ruleset: &Ruleset) -> Result<Gathered, RouterError> {
        match read_all(ruleset) {
            Ok(all) => Ok(gather(all, self.bits)),
            Err(RouterError::Listing(what)) if self.standing.is_none() => {
                warn!(what, "the table was written by another release and is made anew");
                self.nft.apply(&drop_table())?;
                Ok(gather(Vec::new(), self.bits))
            }
            Err(error) => Err(error),
        }
    }

    fn read_back(&mut self, plan: &Plan, anew: bool, heard: Instant) -> Result<(), RouterError> {
        let own = self.nft.own_table()?;
        let structure = own.structure();
        if anew {
            self.standing = Some(structure);
        } else if self.standing.as_ref() != Some(&structure) {
            return Err(RouterError::NotVerified("somebody else writes in our table".to_owned()));
        }
        let there: Vec<Present> =
            gather(read_all(&own)?, self.bits).sessions.into_iter().map(|(present, _)| present).collect();
        verify(plan, &there, heard)
    }

    /// Puts an accept for our packets into chains that would drop them.
    fn join(&mut self) -> Result<(), RouterError> {
        let mut chains = blocking(&self.seen.ruleset, Family::Translated);
        chains.extend(blocking(&self.seen.ruleset, Family::Direct));
        chains.sort();
        chains.dedup();
        if chains.is_empty() {
            return Ok(());
        }
        for chain in chains {
            self.nft.apply(&accept_rule(&chain.family, &chain.table, &chain.name, self.bits))?;
            info!(chain = chain.words(), "an accept for pinholes was put first into a firewall's chain");
        }
        self.seen.ruleset = self.nft.ruleset()?;
        Ok(())
    }
}

impl Firewall for Nftables {
    fn words(&self) -> String {
        "nftables".to_owned()
    }

    fn rights(&self) -> CapabilitySet {
        NET_ADMIN
    }

    fn most(&self) -> usize {
        self.bits.capacity() as usize
    }

    fn look(&mut self) -> Result<Sight, RouterError> {
        let ruleset = self.nft.ruleset()?;
        let gathered = self.gathered(&ruleset)?;
        let sight = Sight {
            sessions: gathered.sessions.iter().map(|(present, _)| present.clone()).collect(),
            translated: translated_ports(&ruleset),
            offload: offload(&ruleset),
            lacks_ipv6: false,
        };
        self.seen = Seen { ruleset, sessions: gathered.sessions, strays: gathered.strays };
        Ok(sight)
    }

    fn carry_out(&mut self, plan: &Plan, heard: Instant) -> Result<Vec<PinholeId>, RouterError> {
        let anew = self.standing.as_ref().is_none_or(|standing| *standing != self.seen.ruleset.structure());
        let is_written = |opening: &&Opening| anew || opening.step != Step::Keep;
        let written: Vec<&Opening> = plan.openings.iter().filter(is_written).collect();
        let rewritten: BTreeSet<Number> = written.iter().map(|opening| opening.number).collect();
        let ended: BTreeSet<Number> = plan.endings.iter().map(|ending| ending.number).collect();
        let is_gone = |number: &Number| rewritten.contains(number) || ended.contains(number);
        let gone = self.seen.sessions.iter().filter(|(present, _)| is_gone(&present.number));
        let gone: Vec<Element> = gone.flat_map(|(_, all)| all).chain(&self.seen.strays).cloned().collect();
        let passed = heard.elapsed();
        let come = written.iter().flat_map(|opening| {
            let left = opening.granted.pinhole().remaining.saturating_sub(passed);
            elements(&opening.granted, self.bits.mark(opening.number)).into_iter().map(move |e| (e, left))
        });
        let come: Vec<(Element, Duration)> = come.collect();
        if anew || !gone.is_empty() || !come.is_empty() {
            let ending = plan.endings.len();
            debug!(anew, written = written.len(), ending, "the rules are changed");
            self.nft.apply(&batch(anew.then_some(&self.structure), &gone, &come))?;
            self.read_back(plan, anew, heard)?;
        }
        let written = written.into_iter().map(|opening| opening.granted.pinhole().id.clone()).collect();
        if self.may_join {
            self.join()?;
        }
        Ok(written)
    }

    fn blocked(&self) -> Blocked {
        let first = |family| blocking(&self.seen.ruleset, family).first().map(|chain| chain.words());
        Blocked { translated: first(Family::Translated), direct: first(Family::Direct) }
    }

    fn remove(&mut self) -> Result<(), RouterError> {
        self.standing = None;
        let accepts = own_accepts(&self.nft.ruleset()?);
        let rules = accepts.iter().map(|(chain, handle)| drop_rule(&chain.family, &chain.table, &chain.name, *handle));
        self.nft.apply(&(rules.collect::<String>() + &drop_table()))
    }
}
