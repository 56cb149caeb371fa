//! A password as it rests: a user name and a PHC string (argon2id), checked elsewhere because checking is slow. A policy that people
//! edit shows in place of each hash that it stays: whoever may edit a policy gets nothing to try passwords against.

use super::PolicyDocument;
use std::fmt;

/// In place of a hash: the one that there is.
pub const KEPT: &str = "kept";

/// Two are equal only if user and hash are: a changed password is another credential.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub user: String,
    /// PHC string format, `$argon2id$v=19$m=…`.
    pub phc: String,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl PolicyDocument {
    /// As people edit it.
    pub fn without_hashes(&self) -> Self {
        let mut shown = self.clone();
        shown.passwords.values_mut().for_each(|phc| KEPT.clone_into(phc));
        shown
    }

    /// As it rests, after `before`. What nobody had before cannot be kept, and stays what is no hash.
    #[must_use]
    pub fn with_kept_hashes(mut self, before: &Self) -> Self {
        for (user, phc) in &mut self.passwords {
            if let Some(held) = before.passwords.get(user).filter(|_| phc == KEPT) {
                phc.clone_from(held);
            }
        }
        self
    }
}
