//! Who looks at what is shared: by share and use. In memory, as presence is: shown to people, never part of a decision.

use crate::Shared;
use doorward_core::ShareId;
use doorward_core::share::ShareUse;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A browser that came by a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The first that used the share has number 1.
    pub number: u32,
    /// From where it came last.
    pub source: IpAddr,
    /// As far as this gateway has been running.
    pub since: Timestamp,
    pub seen_at: Timestamp,
    pub is_looking: bool,
    /// From and to them.
    pub up: u64,
    pub down: u64,
}

#[derive(Default)]
pub(crate) struct Viewers(Mutex<HashMap<ShareUse, Course>>);

struct Course {
    source: IpAddr,
    since: Timestamp,
    seen_at: Timestamp,
    /// Requests, streams and sockets.
    open: u32,
    up: u64,
    down: u64,
}

/// One visit of such a browser.
pub(crate) struct ViewerSeat {
    shared: Arc<Shared>,
    used: ShareUse,
}

/// At once; whoever has been away for longest gives way.
const MOST: usize = 4096;
/// Who reads a page asks for nothing meanwhile.
const LOOKS_ON_FOR: SignedDuration = SignedDuration::from_secs(60);

impl ViewerSeat {
    pub(crate) fn take(shared: &Arc<Shared>, used: ShareUse, source: IpAddr, now: Timestamp) -> Self {
        shared.viewers.come(used, source, now);
        Self { shared: shared.clone(), used }
    }

    pub(crate) fn passed(&self, up: u64, down: u64, now: Timestamp) {
        if let Some(course) = self.shared.viewers.table().get_mut(&self.used) {
            (course.up, course.down, course.seen_at) = (course.up + up, course.down + down, now);
        }
    }

    pub(crate) fn leave(&self, now: Timestamp) {
        if let Some(course) = self.shared.viewers.table().get_mut(&self.used) {
            (course.open, course.seen_at) = (course.open.saturating_sub(1), now);
        }
    }
}

impl Viewers {
    /// Who came by this share, the newest first.
    pub(super) fn of(&self, share: ShareId, now: Timestamp) -> Vec<Viewer> {
        let table = self.table();
        let theirs = table.iter().filter(|(used, _)| used.share == share);
        let mut viewers: Vec<_> = theirs.map(|(used, course)| course.viewer(used.number, now)).collect();
        viewers.sort_by_key(|viewer| std::cmp::Reverse(viewer.number));
        viewers
    }

    fn come(&self, used: ShareUse, source: IpAddr, now: Timestamp) {
        let mut table = self.table();
        if table.len() >= MOST && !table.contains_key(&used) {
            let away = table.iter().filter(|(_, course)| course.open == 0).min_by_key(|(_, course)| course.seen_at);
            if let Some(longest) = away.map(|(used, _)| *used) {
                table.remove(&longest);
            }
        }
        let new = || Course { source, since: now, seen_at: now, open: 0, up: 0, down: 0 };
        let course = table.entry(used).or_insert_with(new);
        (course.source, course.seen_at, course.open) = (source, now, course.open + 1);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ShareUse, Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn viewer(&self, number: u32, now: Timestamp) -> Viewer {
        let Self { source, since, seen_at, open, up, down } = *self;
        let is_looking = open > 0 || now.duration_since(seen_at) < LOOKS_ON_FOR;
        Viewer { number, source, since, seen_at, is_looking, up, down }
    }
}
