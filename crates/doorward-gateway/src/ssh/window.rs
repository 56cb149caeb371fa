//! How much a client may send on each channel, so that a visitor who does not read holds up nobody else. Pure; the
//! reasons are in docs/decisions/0041-ssh.md.
//!
//! russh refills a channel to the session's target when less than half of the target is left there, then asks for the
//! next target. Nothing else can be said to it. A target of [`TRICKLE`] refills only who has nothing left.

use std::collections::HashMap;
use std::hash::Hash;

/// What a channel may send before it hears from us again.
pub(crate) const WIDE: u32 = 1024 * 1024;
/// The smallest target at which russh refills at all: half of it is one byte more than nothing.
const TRICKLE: u32 = 2;
/// A visitor with more than this before them is not keeping up.
pub(crate) const MARK: usize = 512 * 1024;
/// A visitor with more than this before them is given up.
pub(crate) const MOST: usize = 8 * 1024 * 1024;

/// The windows of one connection's channels.
pub(crate) struct Windows<Id> {
    target: u32,
    channels: HashMap<Id, Channel>,
}

#[derive(Clone, Copy)]
struct Channel {
    /// Bytes that wait for the visitor.
    backlog: usize,
    refill: Refill,
}

/// How a channel was refilled last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refill {
    Wide,
    /// On its way to the client, or used by it.
    Trickle,
    /// Written, and not sent: the client has nothing, and is silent.
    Held,
}

/// What follows from a refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) target: u32,
    /// Whether the refill is held back.
    pub(crate) is_held: bool,
}

impl<Id: Eq + Hash + Copy> Windows<Id> {
    pub(crate) fn new() -> Self {
        Self { target: WIDE, channels: HashMap::new() }
    }

    /// What waits for the visitor of this channel now. True if it is one that caught up.
    pub(crate) fn backlog(&mut self, id: Id, bytes: usize) -> bool {
        let channel = self.channels.entry(id).or_insert(Channel { backlog: 0, refill: Refill::Wide });
        let was_stalled = channel.is_stalled();
        channel.backlog = bytes;
        was_stalled && !channel.is_stalled()
    }

    /// Bytes that wait on all channels.
    pub(crate) fn waiting(&self) -> usize {
        self.channels.values().map(|channel| channel.backlog).sum()
    }

    pub(crate) fn gone(&mut self, id: Id) {
        self.channels.remove(&id);
    }

    /// russh has refilled this channel to the target.
    pub(crate) fn refilled(&mut self, id: Id) -> Next {
        let channel = self.channels.entry(id).or_insert(Channel { backlog: 0, refill: Refill::Wide });
        let is_trickle = self.target == TRICKLE;
        let is_held = is_trickle && channel.is_stalled();
        channel.refill = match (is_trickle, is_held) {
            (false, _) => Refill::Wide,
            (true, false) => Refill::Trickle,
            (true, true) => Refill::Held,
        };
        if !is_held {
            self.sent();
        }
        self.target = self.next_target();
        Next { target: self.target, is_held }
    }

    /// Everything that was held is on its way.
    pub(crate) fn sent(&mut self) {
        let held = self.channels.values_mut().filter(|channel| channel.refill == Refill::Held);
        held.for_each(|channel| channel.refill = Refill::Trickle);
    }

    fn next_target(&self) -> u32 {
        let mut stalled = self.channels.values().filter(|channel| channel.is_stalled()).peekable();
        let nobody_is_stalled = stalled.peek().is_none();
        let all_are_silent = stalled.all(|channel| channel.refill == Refill::Held);
        let is_somebody_next =
            self.channels.values().any(|channel| !channel.is_stalled() && channel.refill == Refill::Trickle);
        if nobody_is_stalled || (all_are_silent && is_somebody_next) { WIDE } else { TRICKLE }
    }
}

impl Channel {
    fn is_stalled(&self) -> bool {
        self.backlog > MARK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A client's end of a channel, and russh's view of it.
    struct Peer {
        window: u32,
        counted: u32,
        queue: usize,
        left: usize,
        got: usize,
    }

    /// A connection: packets arrive in order, refills take a round trip.
    struct Model {
        windows: Windows<usize>,
        target: u32,
        peers: Vec<Peer>,
        arriving: VecDeque<(u64, usize, u32)>,
        held: Vec<(usize, u32)>,
        held_since: u64,
        leaving: VecDeque<(u64, usize, u32)>,
        now: u64,
    }

    const TRIP: u64 = 7;
    const HOLD: u64 = 30;
    const PACKET: u32 = 32 * 1024;

    impl Model {
        fn new(loads: &[usize]) -> Self {
            let peer = |left: &usize| Peer { window: WIDE, counted: WIDE, queue: 0, left: *left, got: 0 };
            Self {
                windows: Windows::new(),
                target: WIDE,
                peers: loads.iter().map(peer).collect(),
                arriving: VecDeque::new(),
                held: Vec::new(),
                held_since: 0,
                leaving: VecDeque::new(),
                now: 0,
            }
        }

        /// One packet's time. `reads`: how much each visitor takes in it.
        fn step(&mut self, reads: &[usize]) {
            self.now += 1;
            while self.leaving.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, id, bytes) = self.leaving.pop_front().unwrap();
                self.peers[id].window += bytes;
            }
            self.send_one();
            if self.arriving.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, id, bytes) = self.arriving.pop_front().unwrap();
                self.receive(id, bytes);
            }
            for (id, bytes) in reads.iter().enumerate() {
                let taken = self.peers[id].queue.min(*bytes);
                self.peers[id].queue -= taken;
                self.peers[id].got += taken;
                if self.windows.backlog(id, self.peers[id].queue) {
                    self.release();
                }
            }
            if self.now > self.held_since + HOLD {
                self.release();
            }
        }

        /// The client sends for each channel in turn.
        fn send_one(&mut self) {
            let count = self.peers.len();
            let first = usize::try_from(self.now).unwrap() % count;
            for id in (0..count).map(|n| (n + first) % count) {
                let peer = &mut self.peers[id];
                let bytes = peer.window.min(PACKET).min(u32::try_from(peer.left).unwrap_or(u32::MAX));
                if bytes > 0 {
                    peer.window -= bytes;
                    peer.left -= bytes as usize;
                    self.arriving.push_back((self.now + TRIP, id, bytes));
                    return;
                }
            }
        }

        fn receive(&mut self, id: usize, bytes: u32) {
            let peer = &mut self.peers[id];
            peer.counted -= bytes;
            let refill = (peer.counted < self.target / 2).then(|| self.target - peer.counted);
            if let Some(bytes) = refill {
                peer.counted = self.target;
                let next = self.windows.refilled(id);
                self.target = next.target;
                if next.is_held {
                    if self.held.is_empty() {
                        self.held_since = self.now;
                    }
                    self.held.push((id, bytes));
                } else {
                    self.release();
                    self.leaving.push_back((self.now + TRIP, id, bytes));
                }
            }
            self.peers[id].queue += bytes as usize;
            self.windows.backlog(id, self.peers[id].queue);
        }

        fn release(&mut self) {
            let held = std::mem::take(&mut self.held);
            self.leaving.extend(held.into_iter().map(|(id, bytes)| (self.now + TRIP, id, bytes)));
            self.windows.sent();
        }
    }

    #[test]
    fn those_who_read_go_on_while_others_do_not_and_what_waits_is_bounded() {
        let endless = usize::MAX / 2;
        let mut model = Model::new(&[endless, endless, endless, endless]);
        let mut most = 0;
        for _ in 0..200_000 {
            model.step(&[0, PACKET as usize, PACKET as usize, 0]);
            most = most.max(model.peers[0].queue).max(model.peers[3].queue);
        }
        assert!(most < 4 * WIDE as usize, "{most} bytes wait for a visitor who does not read");
        let (fast, other) = (model.peers[1].got, model.peers[2].got);
        let line = 200_000 * PACKET as usize;
        assert!(fast + other > line / 4, "{fast} and {other} of {line} passed");
        assert!(fast.min(other) > fast.max(other) / 4, "{fast} and {other} are too different");
    }

    #[test]
    fn a_slow_visitor_gets_what_they_take_and_no_pile_before_it() {
        let endless = usize::MAX / 2;
        let mut model = Model::new(&[endless, endless]);
        let mut most = 0;
        for _ in 0..200_000 {
            model.step(&[1000, PACKET as usize]);
            most = most.max(model.peers[0].queue);
        }
        assert!(most < 4 * WIDE as usize, "{most} bytes wait for a slow visitor");
        assert!(model.peers[0].got > 199_000 * 1000, "the slow visitor got {}", model.peers[0].got);
        assert!(model.peers[1].got > 200_000 * PACKET as usize / 4, "the fast visitor got {}", model.peers[1].got);
    }

    #[test]
    fn whoever_reads_again_gets_everything() {
        let load = 20 * WIDE as usize;
        let mut model = Model::new(&[load, load]);
        (0..5_000).for_each(|_| model.step(&[0, PACKET as usize]));
        assert_eq!(model.peers[1].got, load);
        assert!(model.peers[0].queue < 4 * WIDE as usize);
        (0..20_000).for_each(|_| model.step(&[PACKET as usize, 0]));
        assert_eq!(model.peers[0].got, load);
    }

    #[test]
    fn nobody_trickles_while_all_keep_up() {
        let mut windows = Windows::new();
        windows.backlog(1, MARK);
        assert_eq!(windows.refilled(1), Next { target: WIDE, is_held: false });
        windows.backlog(1, MARK + 1);
        assert_eq!(windows.refilled(1), Next { target: TRICKLE, is_held: false });
        assert_eq!(windows.refilled(1), Next { target: TRICKLE, is_held: true });
        assert!(windows.backlog(1, 0), "it caught up");
        assert_eq!(windows.refilled(2), Next { target: WIDE, is_held: false });
        windows.backlog(1, MARK + 1);
        windows.gone(1);
        assert_eq!(windows.refilled(2), Next { target: WIDE, is_held: false });
    }
}
