//! Visits, by visitor, service and grounds. A line says that one began, another each hour that it lasts, and one how it
//! ended; what a visitor does many times a minute (requests of a web page, connections of a program that polls) is one
//! visit until they were quiet for a while. Each line counts what came since the line before, so that lines add up.

use super::allowance::Allowance;
use super::{AuditSettings, Due, IS_TOLD_EVERY};
use crate::shares::ViewerSeat;
use crate::{Control, Shared};
use doorward_core::access::{Permit, Visitor};
use doorward_core::audit::{Deed, Grounds};
use doorward_core::service::Entrance;
use doorward_core::{AccountId, ServiceId};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub(crate) struct Visits(Mutex<Table>);

#[derive(Default)]
struct Table {
    each: HashMap<Visit, Course>,
    /// What there was no room for.
    surplus: Part,
    surplus_told: Option<Timestamp>,
    allowance: Allowance,
}

/// Whose visit it is, to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Visit {
    pub(super) service: ServiceId,
    pub(super) entrance: &'static str,
    pub(super) source: IpAddr,
    pub(super) person: Option<AccountId>,
    pub(super) grounds: String,
}

struct Course {
    /// As whoever came first came.
    visitor: Visitor,
    open: u32,
    last: Timestamp,
    /// The last line of it, and when it was written.
    told: Option<(Deed, Timestamp)>,
    fresh: Part,
}

/// What came since the last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) count: u64,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) endings: BTreeMap<&'static str, u64>,
}

/// A line to be written. `visit`: `None` for what was lumped together.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) deed: Deed,
    pub(super) visit: Option<Visit>,
    pub(super) part: Part,
}

/// One visit while it lasts; dropping it ends it.
pub struct Attendance {
    shared: Arc<Shared>,
    visit: Visit,
    /// Of whoever came by a share link.
    viewer: Option<ViewerSeat>,
    up: AtomicU64,
    down: AtomicU64,
    ending: Mutex<&'static str>,
    is_over: AtomicBool,
}

/// How many visitors are told apart at once before the rest is counted together.
pub(crate) const MAX_VISITS: usize = 8192;
/// Of all lines, these may be of visits.
const SHARE: f64 = 0.5;
/// Strangers leave so much of it to people who said who they are.
const RESERVE: f64 = 0.5;
/// Somebody who reads a page makes no requests meanwhile.
const QUIET_WEB: SignedDuration = SignedDuration::from_mins(5);
const QUIET: SignedDuration = SignedDuration::from_mins(1);

impl Control {
    /// Somebody came in. Never waits; housekeeping stores it within seconds.
    pub fn attend(&self, permit: &Permit, now: Timestamp) -> Attendance {
        let visitor = permit.visitor();
        let visit = Visit {
            service: permit.service(),
            entrance: visitor.entrance.word(),
            source: visitor.source(),
            person: self.snapshot().accounts_of(visitor).next(),
            grounds: Grounds(&visitor.proofs).to_string(),
        };
        self.0.audit.visits.table().begin(&visit, visitor, now);
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let (ending, is_over) = (Mutex::new("ended"), AtomicBool::new(false));
        let viewer = visitor.shares().next().map(|used| ViewerSeat::take(&self.0, used, visitor.source(), now));
        Attendance { shared: self.0.clone(), visit, viewer, up, down, ending, is_over }
    }
}

impl Attendance {
    /// What has passed since it began.
    pub fn passed(&self, up: u64, down: u64, now: Timestamp) {
        let new = |known: &AtomicU64, all: u64| all.saturating_sub(known.fetch_max(all, Ordering::Relaxed));
        let (up, down) = (new(&self.up, up), new(&self.down, down));
        if up + down > 0 {
            self.shared.audit.visits.table().pass(&self.visit, up, down, now);
            self.viewer.iter().for_each(|viewer| viewer.passed(up, down, now));
            self.shared.count_for_its_device(self.visit.service, up + down, now);
        }
    }

    /// How it will have ended. The first word counts.
    pub fn ends(&self, how: &'static str) {
        let mut ending = self.ending.lock().expect("nothing panics while it holds this lock");
        if *ending == "ended" {
            *ending = how;
        }
    }

    /// It is over, whoever still holds this.
    pub fn leave(&self, now: Timestamp) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            let how = *self.ending.lock().expect("nothing panics while it holds this lock");
            self.shared.audit.visits.table().end(&self.visit, how, now);
            self.viewer.iter().for_each(|viewer| viewer.leave(now));
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.leave(Timestamp::now());
    }
}

impl Visits {
    /// What is to be written now, in order.
    pub(super) fn take(&self, settings: AuditSettings, due: Due, now: Timestamp) -> Vec<Passage> {
        let is_last = due == Due::Last;
        let mut guard = self.table();
        let table = &mut *guard;
        let share = settings.most as f64 * SHARE;
        table.allowance.fill(share, settings.kept_for, now);
        let (mut told, mut untold) = (Vec::new(), Vec::new());
        table.each.retain(|visit, course| {
            let next = course.next(visit, is_last, now);
            let is_over = course.is_over(visit, is_last, now);
            if let Some(deed) = next {
                let reserve = if visit.person.is_some() { 0.0 } else { RESERVE };
                let part = course.tell(deed, now);
                match table.allowance.take(share, reserve) {
                    true => told.push(Passage { deed, visit: Some(visit.clone()), part }),
                    false => untold.push(part),
                }
            }
            !is_over
        });
        untold.into_iter().for_each(|part| table.lump(part));
        let is_due = table.surplus_told.is_none_or(|told| now.duration_since(told).abs() >= IS_TOLD_EVERY);
        if table.surplus != Part::default() && (is_due || is_last) {
            table.surplus_told = Some(now);
            told.push(Passage { deed: Deed::VisitEnded, visit: None, part: std::mem::take(&mut table.surplus) });
        }
        told.sort_by_key(|passage| passage.part.from);
        told
    }

    /// They could not be stored: they are counted, but not told apart any more.
    pub(super) fn put_back(&self, passages: &[Passage]) {
        let mut table = self.table();
        table.allowance.give_back(passages.len());
        table.surplus_told = None;
        for passage in passages {
            match passage.visit.as_ref().and_then(|visit| table.each.get_mut(visit)) {
                Some(course) => {
                    course.told = None;
                    course.fresh.add(&passage.part);
                }
                None => table.lump(passage.part.clone()),
            }
        }
    }

    /// Who is at this service now, and how often. Of a crowd that is not told apart any more, nothing.
    pub(super) fn open_at(&self, service: ServiceId) -> Vec<(Visitor, u32)> {
        let table = self.table();
        let there = table.each.iter().filter(|(visit, course)| visit.service == service && course.open > 0);
        there.map(|(_, course)| (course.visitor.clone(), course.open)).collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.table().each.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl Table {
    fn begin(&mut self, visit: &Visit, visitor: &Visitor, now: Timestamp) {
        let part = Part { from: Some(now), until: Some(now), count: 1, ..Part::default() };
        if let Some(course) = self.each.get_mut(visit) {
            course.open += 1;
            course.last = now;
            course.fresh.add(&part);
        } else if self.each.len() < MAX_VISITS {
            self.each.insert(
                visit.clone(),
                Course { visitor: visitor.clone(), open: 1, last: now, told: None, fresh: part },
            );
        } else {
            self.lump(part);
        }
    }

    fn pass(&mut self, visit: &Visit, up: u64, down: u64, now: Timestamp) {
        let part = Part { from: Some(now), until: Some(now), up, down, ..Part::default() };
        match self.each.get_mut(visit) {
            Some(course) => {
                course.last = now;
                course.fresh.add(&part);
            }
            None => self.surplus.add(&part),
        }
    }

    fn end(&mut self, visit: &Visit, how: &'static str, now: Timestamp) {
        let endings = BTreeMap::from([(how, 1)]);
        let part = Part { from: Some(now), until: Some(now), endings, ..Part::default() };
        match self.each.get_mut(visit) {
            Some(course) => {
                course.open = course.open.saturating_sub(1);
                course.last = now;
                course.fresh.add(&part);
            }
            None => self.surplus.add(&part),
        }
    }

    fn lump(&mut self, part: Part) {
        metrics::counter!("doorward_audit_lumped_total", "what" => "visits").increment(part.count);
        self.surplus.add(&part);
    }
}

impl Course {
    /// What is to be said of it now.
    fn next(&self, visit: &Visit, is_last: bool, now: Timestamp) -> Option<Deed> {
        let is_known = self.told.is_some_and(|(deed, _)| deed != Deed::VisitEnded);
        let has_more = self.fresh != Part::default();
        if self.is_over(visit, is_last, now) {
            return (is_known || has_more).then_some(Deed::VisitEnded);
        }
        let is_there = self.open > 0 || visit.entrance == Entrance::Web.word();
        match self.told {
            None if is_there => Some(Deed::VisitBegun),
            None => Some(Deed::VisitEnded),
            Some((Deed::VisitEnded, _)) if self.open > 0 => Some(Deed::VisitBegun),
            Some((_, told)) if now.duration_since(told).abs() >= IS_TOLD_EVERY => Some(Deed::VisitLasts),
            Some(_) => None,
        }
    }

    fn is_over(&self, visit: &Visit, is_last: bool, now: Timestamp) -> bool {
        let quiet = if visit.entrance == Entrance::Web.word() { QUIET_WEB } else { QUIET };
        is_last || (self.open == 0 && now.duration_since(self.last).abs() >= quiet)
    }

    fn tell(&mut self, deed: Deed, now: Timestamp) -> Part {
        self.told = Some((deed, now));
        std::mem::take(&mut self.fresh)
    }
}

impl Part {
    fn add(&mut self, other: &Self) {
        self.from = self.from.into_iter().chain(other.from).min();
        self.until = self.until.max(other.until);
        self.count += other.count;
        self.up += other.up;
        self.down += other.down;
        for (how, times) in &other.endings {
            *self.endings.entry(how).or_default() += times;
        }
    }

    /// `cut`, or `2 cut, 31 finished`.
    pub(super) fn ending(&self) -> String {
        match self.endings.iter().next() {
            Some((how, 1)) if self.endings.len() == 1 => (*how).to_owned(),
            Some(_) | None => {
                self.endings.iter().map(|(how, times)| format!("{times} {how}")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}
