//! Shares, as decisions look them up: by id, and by the hash of the link that somebody has.

use super::Snapshot;
use crate::logins::TokenDigest;
use crate::shares::ShareRecord;
use doorward_core::share::Share;
use doorward_core::{AccountId, ServiceId, ShareId};
use rpds::{HashTrieMapSync, HashTrieSetSync};
use std::hash::Hash;
use std::sync::Arc;

/// Those that were not revoked; the time of some may be over.
#[derive(Clone, Default)]
pub(super) struct Shares {
    pub(super) by_id: HashTrieMapSync<ShareId, Arc<ShareRecord>>,
    by_digest: HashTrieMapSync<TokenDigest, ShareId>,
    at: HashTrieMapSync<ServiceId, HashTrieSetSync<ShareId>>,
    /// By who made them.
    of: HashTrieMapSync<AccountId, HashTrieSetSync<ShareId>>,
}

impl Snapshot {
    pub(crate) fn share_record(&self, id: ShareId) -> Option<&ShareRecord> {
        self.shares.by_id.get(&id).map(|record| &**record)
    }

    pub(crate) fn share_by_digest(&self, digest: TokenDigest) -> Option<&ShareRecord> {
        self.share_record(*self.shares.by_digest.get(&digest)?)
    }

    pub fn shares_at(&self, service: ServiceId) -> impl Iterator<Item = &Share> {
        let there = self.shares.at.get(&service).into_iter().flatten();
        there.filter_map(|id| self.shares.by_id.get(id)).map(|record| &record.share)
    }

    pub(crate) fn shares_made_by(&self, account: AccountId) -> impl Iterator<Item = ShareId> + '_ {
        self.shares.of.get(&account).into_iter().flatten().copied()
    }

    pub(crate) fn put_share(&mut self, record: ShareRecord) {
        let Share { id, service, account, .. } = record.share;
        enter(&mut self.shares.at, service, id);
        enter(&mut self.shares.of, account, id);
        self.shares.by_digest.insert_mut(record.digest, id);
        self.shares.by_id.insert_mut(id, Arc::new(record));
    }

    pub(crate) fn remove_share(&mut self, id: ShareId) {
        let Some(record) = self.shares.by_id.get(&id).cloned() else { return };
        leave(&mut self.shares.at, record.share.service, id);
        leave(&mut self.shares.of, record.share.account, id);
        self.shares.by_digest.remove_mut(&record.digest);
        self.shares.by_id.remove_mut(&id);
    }
}

fn enter<K: Copy + Eq + Hash>(index: &mut HashTrieMapSync<K, HashTrieSetSync<ShareId>>, key: K, id: ShareId) {
    let set = index.get(&key).cloned().unwrap_or_default();
    index.insert_mut(key, set.insert(id));
}

fn leave<K: Eq + Hash>(index: &mut HashTrieMapSync<K, HashTrieSetSync<ShareId>>, key: K, id: ShareId) {
    let Some(set) = index.get(&key).map(|set| set.remove(&id)) else { return };
    if set.is_empty() {
        index.remove_mut(&key);
    } else {
        index.insert_mut(key, set);
    }
}
