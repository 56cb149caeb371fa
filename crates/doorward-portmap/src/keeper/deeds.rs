//! What is done next.

use super::{Deed, Keeper, LONGEST_LEASE, Mapping, Stage};
use crate::attempt::{Attempt, Chain};
use crate::ledger::{By, Line, LineId};
use crate::report::Why;
use crate::route::Network;
use crate::wish::{Way, WishName};
use std::time::{Duration, Instant};

impl Keeper {
    /// What is over comes first, then the address, which judges what is granted; then what is wished and what is open.
    pub(crate) fn next(&mut self, now: Instant) -> Deed {
        self.end_what_is_over(now);
        let Ok(network) = self.network else { return Deed::Wait(self.first_end()) };
        if let Some(deed) = self.withdrawal(now, &network) {
            return deed;
        }
        if self.rules.asks_address && self.address_at <= now {
            return Deed::AskAddress;
        }
        let names: Vec<_> = self.mappings.keys().cloned().collect();
        for name in names {
            if let Some(deed) = self.deed_for(now, &name, &network) {
                return deed;
            }
        }
        Deed::Wait(self.next_moment(&network))
    }

    fn end_what_is_over(&mut self, now: Instant) {
        let mut released = Vec::new();
        for mapping in self.mappings.values_mut() {
            let is_over = mapping.wish.ends.is_some_and(|end| end <= now);
            if is_over && !matches!(mapping.stage, Stage::Refused(_)) {
                released.extend(mapping.stage.line());
                mapping.stage = Stage::Refused(Why::Over);
            }
        }
        for id in released {
            self.release(now, id);
        }
    }

    fn withdrawal(&self, now: Instant, network: &Network) -> Option<Deed> {
        let mut due = self.leftovers.iter().filter(|(_, leftover)| leftover.at.is_some_and(|at| at <= now));
        due.find_map(|(id, _)| {
            let line = self.ledger.line(*id).filter(|line| is_within_reach(line, network))?;
            Some(Deed::Withdraw { id: *id, line: line.clone() })
        })
    }

    fn deed_for(&mut self, now: Instant, name: &WishName, network: &Network) -> Option<Deed> {
        let mapping = self.mappings.get(name)?;
        match &mapping.stage {
            Stage::Refused(_) => None,
            Stage::Due { at, .. } if *at > now => None,
            Stage::Due { .. } => {
                let is_silent = |way| self.silent.get(&way).is_some_and(|until| *until > now);
                let chain = Chain::new(&mapping.wish, self.rules.may_be_permanent, is_silent, (self.draw)());
                self.go_on_asking(now, name, chain, network)
            }
            Stage::Asking(chain, Some(id)) => self.ask(now, name, *id, chain.attempt()?),
            Stage::Asking(chain, None) => {
                let chain = chain.clone();
                self.go_on_asking(now, name, chain, network)
            }
            Stage::Open(held) => {
                let (id, attempt, is_over) = (held.id, held.attempt, held.open.until.is_some_and(|until| until <= now));
                if is_over {
                    self.release(now, id);
                    self.fail(now, name, Why::Silent);
                    return None;
                }
                let is_to_renew = held.renew_at.is_some_and(|at| at <= now);
                let is_to_check = held.check_at <= now;
                if is_to_renew {
                    return self.ask(now, name, id, attempt);
                }
                let line = self.ledger.line(id).filter(|_| is_to_check)?.clone();
                Some(Deed::Check { name: name.clone(), line })
            }
        }
    }

    fn go_on_asking(&mut self, now: Instant, name: &WishName, chain: Chain, network: &Network) -> Option<Deed> {
        let Some(attempt) = chain.attempt() else {
            self.fail(now, name, chain.why());
            return None;
        };
        if attempt.way == Way::Upnp && self.udn.is_none() {
            self.mappings.get_mut(name)?.stage = Stage::Asking(chain, None);
            return Some(Deed::FindUpnp);
        }
        let mapping = self.mappings.get_mut(name)?;
        let by = by(attempt, mapping, self.udn.clone(), self.draw);
        let line = Line {
            router: network.router,
            local: network.local,
            protocol: mapping.wish.protocol,
            internal_port: mapping.wish.internal_port.get(),
            external_port: attempt.external_port,
            by,
        };
        let Some(id) = self.ledger.add(line) else {
            self.fail(now, name, Why::Unwritable("too many mappings are left in routers".to_owned()));
            return None;
        };
        mapping.stage = Stage::Asking(chain, Some(id));
        self.is_ledger_new = true;
        self.ask(now, name, id, attempt)
    }

    fn ask(&self, now: Instant, name: &WishName, id: LineId, attempt: Attempt) -> Option<Deed> {
        let wish = &self.mappings.get(name)?.wish;
        let left = wish.ends.map_or(LONGEST_LEASE, |end| end.saturating_duration_since(now));
        // Less than a second would read as "take it back".
        let lease = self.rules.lease.min(left).max(Duration::from_secs(1));
        let lease = if attempt.is_permanent { Duration::ZERO } else { lease };
        let sources = if attempt.is_restricted { wish.sources.addresses().to_vec() } else { Vec::new() };
        let line = self.ledger.line(id)?.clone();
        Some(Deed::Ask { name: name.clone(), id, line, attempt, lease, sources })
    }

    /// When something is due at the latest.
    fn next_moment(&self, network: &Network) -> Option<Instant> {
        let stages = self.mappings.values().filter_map(|mapping| match &mapping.stage {
            Stage::Refused(_) | Stage::Asking(..) => None,
            Stage::Due { at, .. } => Some(*at),
            Stage::Open(held) => [held.renew_at, held.open.until, Some(held.check_at)].into_iter().flatten().min(),
        });
        let within_reach = |id: &LineId| self.ledger.line(*id).is_some_and(|line| is_within_reach(line, network));
        let leftovers = self.leftovers.iter().filter(|(id, _)| within_reach(id)).filter_map(|(_, left)| left.at);
        let address = self.rules.asks_address.then_some(self.address_at);
        stages.chain(leftovers).chain(self.first_end()).chain(address).min()
    }

    fn first_end(&self) -> Option<Instant> {
        let going_on = self.mappings.values().filter(|mapping| !matches!(mapping.stage, Stage::Refused(_)));
        going_on.filter_map(|mapping| mapping.wish.ends).min()
    }
}

/// PCP and NAT-PMP take a mapping back from the address that made it alone.
fn is_within_reach(line: &Line, network: &Network) -> bool {
    line.router == network.router
        && match line.by {
            By::Pcp { .. } | By::NatPmp => line.local == network.local,
            By::Upnp { .. } => true,
        }
}

fn by(attempt: Attempt, mapping: &Mapping, udn: Option<String>, draw: fn() -> u32) -> By {
    match attempt.way {
        Way::Pcp => {
            let mut nonce = [0; 12];
            for part in nonce.chunks_mut(4) {
                part.copy_from_slice(&draw().to_be_bytes());
            }
            By::Pcp { nonce }
        }
        Way::NatPmp => By::NatPmp,
        Way::Upnp => By::Upnp {
            udn: udn.unwrap_or_default(),
            remote: mapping.wish.sources.addresses().first().copied().filter(|_| attempt.is_restricted),
            permanent: attempt.is_permanent,
        },
    }
}
