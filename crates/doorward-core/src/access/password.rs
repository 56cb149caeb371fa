//! A password as it rests: a user name and a PHC string (argon2id), checked elsewhere because checking is slow.

use std::fmt;

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
