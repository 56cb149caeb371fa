//! The last knocks, so that copies of them cost no look into the store, which alone knows whether an older one came before.

use doorward_core::knock::Nonce;
use std::collections::{HashSet, VecDeque};

#[derive(Default)]
pub(super) struct Heard {
    nonces: HashSet<Nonce>,
    order: VecDeque<Nonce>,
}

const MOST: usize = 1024;

impl Heard {
    pub(super) fn has(&self, nonce: &Nonce) -> bool {
        self.nonces.contains(nonce)
    }

    pub(super) fn note(&mut self, nonce: Nonce) {
        if !self.nonces.insert(nonce) {
            return;
        }
        self.order.push_back(nonce);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_known_and_no_more_than_there_is_room_for() {
        let nonce = |n: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Nonce(bytes)
        };
        let mut heard = Heard::default();
        for n in 0..5000 {
            heard.note(nonce(n));
            heard.note(nonce(n));
        }
        assert_eq!((heard.nonces.len(), heard.order.len()), (MOST, MOST));
        assert!(heard.has(&nonce(4999)) && heard.has(&nonce(4999 - 1023)) && !heard.has(&nonce(4999 - 1024)));
    }
}
