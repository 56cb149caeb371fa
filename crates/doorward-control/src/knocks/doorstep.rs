//! Who sees a portal that is hidden: whoever comes from where somebody knocked a while ago, or from where somebody's session is
//! open. In memory; the last knock of each key is remembered over a restart.

use super::KnockKeySummary;
use crate::Control;
use doorward_core::session::Source;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

#[derive(Default)]
pub(crate) struct Doorstep(Mutex<HashMap<Source, Timestamp>>);

/// Addresses that are remembered. Only holders of keys can fill it.
const MOST: usize = 4096;

impl Control {
    /// Whether the portal is there for whoever comes from this address. It is for everybody unless it is hidden.
    pub fn shows_portal(&self, from: IpAddr, now: Timestamp) -> bool {
        let snapshot = self.snapshot();
        let Some(shown_for) = snapshot.site().knock.hides_portal_but_for else { return true };
        let source = Source::of(from);
        snapshot.is_anybodys_source(source, now) || self.0.doorstep.knocked_within(source, shown_for, now)
    }
}

impl Doorstep {
    pub(crate) fn remember(&self, keys: &[KnockKeySummary]) {
        for (at, from) in keys.iter().filter_map(|key| key.used_at.zip(key.used_from)) {
            self.note(Source::of(from), at);
        }
    }

    pub(super) fn note(&self, source: Source, at: Timestamp) {
        let mut known = self.known();
        if known.len() >= MOST
            && !known.contains_key(&source)
            && let Some(oldest) = known.iter().min_by_key(|(_, at)| **at).map(|(source, _)| *source)
        {
            known.remove(&oldest);
        }
        known.insert(source, at);
    }

    /// Neither long ago, nor at a time that is still to come.
    fn knocked_within(&self, source: Source, span: SignedDuration, now: Timestamp) -> bool {
        self.known().get(&source).is_some_and(|at| now.duration_since(*at).abs() <= span)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Source, Timestamp>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}
