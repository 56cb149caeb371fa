//! What an answer changes.

use super::{Checked, Deed, Held, Keeper, LEAST, LONGEST_LEASE, SILENCE, Stage, Withdrawn, backoff};
use crate::attempt::{Answer, Attempt, Granted};
use crate::epoch::Heard;
use crate::ledger::{By, LineId};
use crate::report::{Open, Why};
use crate::verdict::{Verdict, verdict};
use crate::wish::{Way, WishName};
use std::net::Ipv4Addr;
use std::time::Instant;

/// A router that does not answer when it is looked at may be busy; three times is no accident.
const MOST_SILENCES: u32 = 3;
/// A router that does not tell its address is asked so much less often.
const MUTE: u32 = 5;
/// A lease that cannot be withdrawn ends by itself.
const MOST_REFUSALS: u32 = 3;

impl Keeper {
    /// `udn`: the router's own name, if it speaks UPnP.
    pub(crate) fn found_upnp(&mut self, now: Instant, udn: Option<String>) {
        if udn.is_none() {
            self.silent.insert(Way::Upnp, now + SILENCE);
            let draw = self.draw;
            for mapping in self.mappings.values_mut() {
                if let Stage::Asking(chain, _) = &mut mapping.stage
                    && chain.attempt().is_some_and(|attempt| attempt.way == Way::Upnp)
                {
                    chain.refused(Answer::Silent, draw());
                }
            }
        }
        // Not found is asked again, by the next that wants to know.
        self.udn = udn;
    }

    pub(crate) fn asked(&mut self, now: Instant, deed: &Deed, answer: Answer) {
        let Deed::Ask { name, id, attempt, .. } = deed else { return };
        // What is asked for no more is left over already.
        if self.mappings.get(name).is_none_or(|mapping| mapping.stage.line() != Some(*id)) {
            return;
        }
        match answer {
            Answer::Granted(granted) => self.granted(now, name, *id, *attempt, granted),
            Answer::Silent => {
                self.note_silence(now, attempt.way, *id);
                self.not_granted(now, name, *id, Answer::Silent);
            }
            // Nothing was made, so there is nothing to take back.
            Answer::PortTaken
            | Answer::SamePortOnly
            | Answer::PermanentOnly
            | Answer::CannotRestrict
            | Answer::Refused(_) => {
                self.spoken.insert(attempt.way);
                if !self.is_open(name, *id) {
                    self.strike(*id);
                }
                self.not_granted(now, name, *id, answer);
            }
        }
    }

    fn granted(&mut self, now: Instant, name: &WishName, id: LineId, attempt: Attempt, granted: Granted) {
        self.spoken.insert(attempt.way);
        self.external = granted.address.or(self.external);
        if let Some(epoch) = granted.epoch {
            self.hear_epoch(now, attempt.way, epoch);
        }
        if attempt.is_exact && granted.port != attempt.external_port {
            self.release(now, id);
            return self.not_granted(now, name, id, Answer::PortTaken);
        }
        let verdict = verdict(granted.address, self.seen);
        let (Verdict::Reachable, Some(address)) = (verdict, granted.address) else {
            self.release(now, id);
            return self.fail(now, name, Why::Unreachable(verdict));
        };
        if granted.lease.is_none() && !self.note_permanent(id) {
            self.release(now, id);
            return self.not_granted(now, name, id, Answer::PermanentOnly);
        }
        let lease = granted.lease.map(|lease| lease.min(LONGEST_LEASE));
        let open = Open {
            address,
            port: granted.port,
            until: lease.map(|lease| now + lease),
            is_restricted: attempt.is_restricted,
            way: attempt.way,
        };
        let renew_at = lease.map(|lease| now + (lease / 2).max(LEAST));
        let attempt = Attempt { external_port: granted.port, ..attempt };
        let held = Held { open, attempt, id, granted_at: now, renew_at, check_at: now + self.rules.check, silences: 0 };
        self.leftovers.remove(&id);
        if let Some(mapping) = self.mappings.get_mut(name) {
            mapping.failures = 0;
            mapping.stage = Stage::Open(held);
        }
    }

    /// The router made it without an end, asked so or not.
    fn note_permanent(&mut self, id: LineId) -> bool {
        self.is_ledger_new = true;
        if let Some(line) = self.ledger.line_mut(id)
            && let By::Upnp { permanent, .. } = &mut line.by
        {
            *permanent = true;
        }
        self.rules.may_be_permanent
    }

    /// Without an answer nobody knows whether it was made.
    fn note_silence(&mut self, now: Instant, way: Way, id: LineId) {
        self.silent.insert(way, now + SILENCE);
        let is_held =
            self.mappings.values().any(|mapping| matches!(&mapping.stage, Stage::Open(held) if held.id == id));
        match way {
            _ if is_held => {}
            // Who never spoke this protocol made nothing, and a lease would end by itself.
            Way::Pcp | Way::NatPmp if !self.spoken.contains(&way) => self.strike(id),
            Way::Pcp | Way::NatPmp => self.release(now, id),
            Way::Upnp => {
                self.release(now, id);
                self.udn = None;
            }
        }
    }

    fn not_granted(&mut self, now: Instant, name: &WishName, id: LineId, answer: Answer) {
        let draw = (self.draw)();
        let Some(mapping) = self.mappings.get_mut(name) else { return };
        match &mut mapping.stage {
            Stage::Refused(_) | Stage::Due { .. } => {}
            Stage::Asking(chain, asked) => {
                *asked = None;
                chain.refused(answer, draw);
            }
            // It was to be renewed, and stands until its end.
            Stage::Open(held) if answer == Answer::Silent => {
                let left = held.open.until.map(|until| until.saturating_duration_since(now) / 2);
                held.renew_at = left.map(|left| now + left.max(LEAST));
            }
            Stage::Open(_) => {
                mapping.stage = Stage::Due { at: now + LEAST, why: None };
                self.release(now, id);
            }
        }
    }

    pub(super) fn is_open(&self, name: &WishName, id: LineId) -> bool {
        self.mappings.get(name).is_some_and(|mapping| matches!(&mapping.stage, Stage::Open(held) if held.id == id))
    }

    pub(crate) fn checked(&mut self, now: Instant, name: &WishName, checked: Checked) {
        let check_at = now + self.rules.check;
        let Some(Stage::Open(held)) = self.mappings.get_mut(name).map(|mapping| &mut mapping.stage) else { return };
        held.check_at = check_at;
        let way = held.open.way;
        match checked {
            Checked::Stands { epoch, address } => {
                held.silences = 0;
                if let Some(address) = address {
                    self.external = Some(address);
                    self.judge_all_again(now);
                }
                if let Some(epoch) = epoch {
                    self.hear_epoch(now, way, epoch);
                }
            }
            Checked::Lost => held.renew_at = Some(held.least(now)),
            Checked::Unsure => held.renew_at = held.renew_at.map(|_| held.least(now)),
            Checked::Silent => {
                held.silences += 1;
                if held.silences >= MOST_SILENCES {
                    held.silences = 0;
                    held.renew_at = Some(held.least(now));
                }
            }
        }
    }

    /// `None`: it does not say. What it said before counts until it says something else.
    pub(crate) fn told_address(&mut self, now: Instant, address: Option<Ipv4Addr>) {
        self.address_at = now + if address.is_some() { self.rules.check } else { self.rules.check * MUTE };
        if address.is_none() || address == self.external {
            return;
        }
        // Mappings of another address are gone in many routers, whatever their clocks say.
        if self.external.is_some() {
            self.renew_all(now, |_| true);
        }
        self.external = address;
        self.judge_all_again(now);
    }

    /// The external address, or where we are seen, may have changed.
    pub(super) fn judge_all_again(&mut self, now: Instant) {
        let names: Vec<_> = self.mappings.keys().cloned().collect();
        for name in names {
            self.judge_again(now, &name);
        }
    }

    fn judge_again(&mut self, now: Instant, name: &WishName) {
        let (external, seen) = (self.external, self.seen);
        let Some(mapping) = self.mappings.get_mut(name) else { return };
        match (&mut mapping.stage, verdict(external, seen), external) {
            (Stage::Open(held), Verdict::Reachable, Some(address)) => held.open.address = address,
            (Stage::Open(held), why, _) => {
                let id = held.id;
                self.release(now, id);
                self.fail(now, name, Why::Unreachable(why));
            }
            // It may be otherwise now.
            (Stage::Due { why: Some(Why::Unreachable(_)), at }, Verdict::Reachable, _) => *at = now,
            (Stage::Refused(_) | Stage::Due { .. } | Stage::Asking(..), _, _) => {}
        }
    }

    /// A router that restarted is asked anew for everything that it may have forgotten.
    fn hear_epoch(&mut self, now: Instant, way: Way, seconds: u32) {
        if self.epochs.entry(way).or_default().hear(now, seconds) == Heard::GoesOn {
            return;
        }
        self.renew_all(now, |held| held.open.way == way);
    }

    fn renew_all(&mut self, now: Instant, is_meant: impl Fn(&Held) -> bool) {
        for mapping in self.mappings.values_mut() {
            if let Stage::Open(held) = &mut mapping.stage
                && is_meant(held)
            {
                held.renew_at = Some(held.least(now));
            }
        }
    }

    pub(crate) fn withdrawn(&mut self, now: Instant, id: LineId, withdrawn: Withdrawn) {
        let Some(leftover) = self.leftovers.get_mut(&id) else { return };
        let ends_by_itself = match self.ledger.line(id).map(|line| &line.by) {
            Some(By::Pcp { .. } | By::NatPmp) | None => true,
            // Whether the router kept to the lease is not known for sure.
            Some(By::Upnp { .. }) => false,
        };
        match withdrawn {
            Withdrawn::Gone => self.strike(id),
            Withdrawn::OtherRouter => leftover.at = None,
            Withdrawn::Refused | Withdrawn::Silent if ends_by_itself && leftover.failures + 1 >= MOST_REFUSALS => {
                tracing::warn!("a port mapping cannot be withdrawn, and ends with its lease");
                self.strike(id);
            }
            Withdrawn::Refused | Withdrawn::Silent => {
                leftover.at = Some(now + backoff(leftover.failures));
                leftover.failures = leftover.failures.saturating_add(1);
            }
        }
    }
}
