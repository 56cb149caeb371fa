//! Logins: signed-in browsers, tokens and client certificates. One says who comes, for as long as it lasts; what it opened ends with it.

use crate::person::factors::Factors;
use crate::{AccountId, LoginId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

/// One that was not ended; its time may be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub id: LoginId,
    pub account: AccountId,
    pub kind: LoginKind,
    /// By what it was shown who they are; a token shows nothing but itself.
    pub factors: Factors,
    /// Which device or browser, as people read it.
    pub title: String,
    /// From where it was begun, where that is known.
    pub source: Option<IpAddr>,
    pub since: Timestamp,
    /// An instant, so that nothing which happens meanwhile makes it longer.
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginKind {
    /// A person at a browser, by a cookie.
    Browser,
    /// A program, by a token that it was given.
    Token,
    /// A program or browser, by a certificate of the gateway's own authority.
    Certificate,
}

impl LoginKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Token => "token",
            Self::Certificate => "certificate",
        }
    }

    pub fn read(word: &str) -> Option<Self> {
        [Self::Browser, Self::Token, Self::Certificate].into_iter().find(|kind| kind.word() == word)
    }
}

/// The cookie of a signed-in browser on the portal's host.
pub const LOGIN_COOKIE: &str = "__Host-doorward";

/// Before a token's own text, so that whoever finds one somewhere knows what it is.
pub const TOKEN_PREFIX: &str = "dw_";
/// What follows it: 256 bits in base64url.
const TOKEN_LENGTH: usize = 43;

/// What follows the prefix, if this has the shape of a token and so is nothing else.
pub fn bare_token(text: &str) -> Option<&str> {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.strip_prefix(TOKEN_PREFIX).filter(|rest| rest.len() == TOKEN_LENGTH && rest.bytes().all(is_of_token))
}

/// How long a browser stays signed in.
pub const USUAL_LOGIN: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A clock that was put back further than this makes nothing longer: what begins in the future counts for nothing.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

impl Login {
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.until && !is_ahead(self.since, now)
    }
}

pub(crate) fn is_ahead(since: Timestamp, now: Timestamp) -> bool {
    now.saturating_add(CLOCKS_DIFFER).is_ok_and(|soon| soon < since)
}
