//! Refused attempts, counted by source prefix, service, reason and minute, so that a flood fills neither the disk nor
//! the memory (promise 12).

use super::allowance::Allowance;
use super::{AuditSettings, Due, IS_TOLD_EVERY};
use doorward_core::ServiceId;
use doorward_core::audit::Deed;
use ipnet::IpNet;
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

/// Those not yet stored.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Table>);

#[derive(Default)]
struct Table {
    each: HashMap<Refusal, Tally>,
    /// What there was no room for, by deed alone.
    surplus: HashMap<Deed, Tally>,
    surplus_told: Option<Timestamp>,
    allowance: Allowance,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    pub(super) deed: Deed,
    /// `None`: of no address, or of many.
    pub(super) source: Option<IpNet>,
    pub(super) service: Option<ServiceId>,
    pub(super) reason: &'static str,
    /// Since 1970.
    minute: i64,
}

#[derive(Clone, Copy)]
pub(super) struct Tally {
    pub(super) first: Timestamp,
    pub(super) count: u64,
}

/// How many different refusals of a minute are told apart before the rest is counted together.
pub(crate) const MAX_REFUSALS: usize = 1024;
const TOO_MANY: &str = "many-sources";
/// Of all lines, these may be refusals.
const SHARE: f64 = 0.25;

/// Neighbours share a prefix: a provider hands out whole ones.
fn prefix(ip: IpAddr) -> IpNet {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() { 24 } else { 64 };
    IpNet::new(ip, length).expect("24 and 64 are lengths of their families").trunc()
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

impl Refusals {
    pub(super) fn count(
        &self,
        deed: Deed,
        source: Option<IpAddr>,
        service: Option<ServiceId>,
        reason: &'static str,
        now: Timestamp,
    ) {
        let refusal = Refusal { deed, source: source.map(prefix), service, reason, minute: minute(now) };
        self.table().add(refusal, Tally { first: now, count: 1 });
    }

    /// They could not be stored; the next time, then.
    pub(super) fn put_back(&self, refusals: &[(Refusal, Tally)]) {
        let mut table = self.table();
        table.allowance.give_back(refusals.len());
        table.surplus_told = None;
        for (refusal, tally) in refusals {
            table.add(refusal.clone(), *tally);
        }
    }

    /// What is to be written now, in order.
    pub(super) fn take(&self, settings: AuditSettings, due: Due, now: Timestamp) -> Vec<(Refusal, Tally)> {
        let mut table = self.table();
        let share = settings.most as f64 * SHARE;
        table.allowance.fill(share, settings.kept_for, now);
        let this_minute = minute(now);
        let is_due = |refusal: &Refusal| due != Due::Ripe || refusal.minute != this_minute;
        let mut each: Vec<_> = table.each.extract_if(|refusal, _| is_due(refusal)).collect();
        each.sort_by_key(|(_, tally)| tally.first);
        each.retain(|(refusal, tally)| {
            let may = table.allowance.take(share, 0.0);
            if !may {
                table.overflow(refusal.deed, *tally);
            }
            may
        });
        let is_due = table.surplus_told.is_none_or(|told| now.duration_since(told).abs() >= IS_TOLD_EVERY);
        if !table.surplus.is_empty() && (is_due || due == Due::Last) {
            table.surplus_told = Some(now);
            let surplus = std::mem::take(&mut table.surplus);
            let line = |deed| Refusal { deed, source: None, service: None, reason: TOO_MANY, minute: 0 };
            each.extend(surplus.into_iter().map(|(deed, tally)| (line(deed), tally)));
        }
        each
    }

    pub(super) fn waiting(&self) -> usize {
        let table = self.table();
        table.each.len() + table.surplus.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Table {
    fn add(&mut self, refusal: Refusal, tally: Tally) {
        let is_surplus = refusal.reason == TOO_MANY;
        if is_surplus || (self.each.len() >= MAX_REFUSALS && !self.each.contains_key(&refusal)) {
            return self.overflow(refusal.deed, tally);
        }
        self.each.entry(refusal).or_insert(Tally { count: 0, ..tally }).count += tally.count;
    }

    fn overflow(&mut self, deed: Deed, tally: Tally) {
        metrics::counter!("doorward_audit_lumped_total", "what" => "refusals").increment(tally.count);
        self.surplus.entry(deed).or_insert(Tally { count: 0, ..tally }).count += tally.count;
    }
}
