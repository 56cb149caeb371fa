//! Passwords for services: made, or hashed for a policy.

use doorward_control::passwords;
use doorward_core::Secret;
use doorward_core::access::{PolicyDocument, WhoDocument};
use rand::RngExt;
use std::collections::BTreeMap;

/// Letters and digits that nobody mistakes for another.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
const LENGTH: usize = 16;

/// The user name that goes with a generated password.
pub const USER: &str = "guest";

/// A password of about 79 bits, in groups for typing.
pub fn generate() -> Secret<String> {
    let mut random = rand::rng();
    let mut password = String::new();
    for at in 0..LENGTH {
        if at > 0 && at % 4 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    }
    Secret::new(password)
}

/// A policy that asks for this password.
pub fn policy(user: &str, password: &Secret<String>) -> PolicyDocument {
    let hashes = BTreeMap::from([(user.to_owned(), passwords::hash(password))]);
    PolicyDocument { who: WhoDocument::Password, passwords: hashes, ..PolicyDocument::default() }
}
