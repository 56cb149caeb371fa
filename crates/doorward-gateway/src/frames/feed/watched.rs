//! One camera that a page watches.

use super::super::{GLIMPSES, News, Viewer};
use doorward_frames::pace::{Caps, Pace};
use doorward_frames::slot::{Reader, Seen};
use futures_util::future::select_all;
use std::collections::BTreeMap;
use std::future::pending;
use std::time::Instant;
use tokio::sync::watch;
use tokio::time::sleep;

pub(super) struct Watched {
    viewer: Viewer,
    reader: Reader,
    news: watch::Receiver<News>,
    /// What the page was told last.
    told: Option<News>,
    pace: Pace,
    is_glimpsed: bool,
}

fn is_glimpse(caps: Caps) -> bool {
    caps.frames_per_second.is_some_and(|rate| rate <= GLIMPSES)
}

pub(super) enum Happened {
    /// Their permission to look at this one ended.
    Cut,
    Ended,
    News,
    Frame(Seen),
}

impl Watched {
    pub(super) fn new(viewer: Viewer, caps: Caps, now: Instant) -> Self {
        let (reader, mut news) = (viewer.reader(), viewer.news());
        news.mark_changed();
        Self { viewer, reader, news, told: None, pace: Pace::new(caps, now), is_glimpsed: is_glimpse(caps) }
    }

    pub(super) fn change(&mut self, caps: Caps, now: Instant) {
        self.pace.change(caps, now);
        self.is_glimpsed = is_glimpse(caps);
        self.viewer.wish(caps);
    }

    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.pace.sent(bytes, now);
        match self.is_glimpsed {
            true => self.viewer.glimpsed(bytes),
            false => self.viewer.passed(bytes),
        }
    }

    /// And whether more of it is new than who looks.
    pub(super) fn take_news(&mut self) -> (News, bool) {
        let news = self.news.borrow_and_update().clone();
        let is_new = self.told.as_ref().is_none_or(|told| (told.state, &told.text) != (news.state, &news.text));
        self.told = Some(news.clone());
        (news, is_new)
    }

    /// Cancel-safe. A frame is taken only when it can be sent, and then it is the newest.
    async fn next(&mut self, has_room: bool) -> Happened {
        let Self { viewer, reader, news, pace, .. } = self;
        let frame = async {
            if !has_room {
                return pending().await;
            }
            sleep(pace.wait(Instant::now())).await;
            reader.next().await
        };
        tokio::select! {
            biased;
            () = viewer.admitted.presence.cut() => Happened::Cut,
            changed = news.changed() => if changed.is_ok() { Happened::News } else { Happened::Ended },
            seen = frame => seen.map_or(Happened::Ended, Happened::Frame),
        }
    }
}

/// What happens next at any of them. Of those that have a frame to show, it is the turn of the one after `last`.
pub(super) async fn next_of(all: &mut BTreeMap<u16, Watched>, last: u16, has_room: bool) -> (u16, Happened) {
    if all.is_empty() {
        return pending().await;
    }
    let mut in_turn: Vec<_> = all.iter_mut().collect();
    let first = in_turn.iter().position(|(number, _)| **number > last).unwrap_or_default();
    in_turn.rotate_left(first);
    let each = in_turn.into_iter().map(|(number, one)| Box::pin(async move { (*number, one.next(has_room).await) }));
    select_all(each).await.0
}

/// Resolves when one of them is cut.
pub(super) async fn any_cut(all: &BTreeMap<u16, Watched>) {
    if all.is_empty() {
        return pending().await;
    }
    select_all(all.values().map(|one| Box::pin(one.viewer.admitted.presence.cut()))).await;
}
