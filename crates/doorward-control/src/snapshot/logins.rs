//! Logins, as decisions look them up: by id, and by the token that a browser or program shows.

use super::Snapshot;
use crate::logins::{LoginRecord, TokenDigest};
use doorward_core::login::Login;
use doorward_core::{AccountId, LoginId, Secret};
use rpds::HashTrieMapSync;
use std::sync::Arc;

#[derive(Clone, Default)]
pub(super) struct Logins {
    pub(super) by_id: HashTrieMapSync<LoginId, Arc<LoginRecord>>,
    by_token: HashTrieMapSync<TokenDigest, LoginId>,
    /// A person has few.
    of: HashTrieMapSync<AccountId, Arc<Vec<LoginId>>>,
}

impl Snapshot {
    /// Whose token this is. Found by its hash, so that the time it takes tells nothing about any token.
    pub fn login_by_token(&self, token: &Secret<String>) -> Option<&Login> {
        self.login_by_digest(&TokenDigest::of(token))
    }

    pub(crate) fn login_by_digest(&self, digest: &TokenDigest) -> Option<&Login> {
        let id = self.logins.by_token.get(digest)?;
        self.logins.by_id.get(id).map(|record| &record.login)
    }

    /// That were not ended, in the order in which they began; the time of some may be over.
    pub fn logins_of(&self, account: AccountId) -> impl Iterator<Item = &Login> {
        let theirs = self.logins.of.get(&account).map(|list| list.as_slice()).unwrap_or_default();
        theirs.iter().filter_map(|id| self.logins.by_id.get(id)).map(|record| &record.login)
    }

    pub(crate) fn login_record(&self, id: LoginId) -> Option<&LoginRecord> {
        self.logins.by_id.get(&id).map(|record| &**record)
    }

    pub(crate) fn logins(&self) -> impl Iterator<Item = &Login> {
        self.logins.by_id.values().map(|record| &record.login)
    }

    pub(crate) fn put_login(&mut self, record: LoginRecord) {
        let (id, account) = (record.login.id, record.login.account);
        self.remove_login(id);
        let mut theirs = self.logins.of.get(&account).map(|list| list.to_vec()).unwrap_or_default();
        theirs.push(id);
        theirs.sort();
        self.logins.of.insert_mut(account, Arc::new(theirs));
        self.logins.by_token.insert_mut(record.digest, id);
        self.logins.by_id.insert_mut(id, Arc::new(record));
    }

    pub(crate) fn remove_login(&mut self, id: LoginId) {
        let Some(record) = self.logins.by_id.get(&id).cloned() else { return };
        let account = record.login.account;
        let mut theirs = self.logins.of.get(&account).map(|list| list.to_vec()).unwrap_or_default();
        theirs.retain(|other| *other != id);
        if theirs.is_empty() {
            self.logins.of.remove_mut(&account);
        } else {
            self.logins.of.insert_mut(account, Arc::new(theirs));
        }
        self.logins.by_token.remove_mut(&record.digest);
        self.logins.by_id.remove_mut(&id);
    }
}
