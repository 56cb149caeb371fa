//! What went wrong with a form, in words beside that form.

use super::frame::Frame;
use crate::answer::Problem;
use crate::caller::Source;
use doorward_control::{CredentialError, EditError, WelcomeError};
use doorward_core::person::password::Weak;
use http::StatusCode;
use std::net::{IpAddr, Ipv6Addr};

/// What each may say; a test asks for all of them in every language.
#[cfg(test)]
pub(crate) const SENTENCES: [&str; 14] =
    [WRONG, TOO_MANY, BUSY, STALE, SHORT, LONG, COMMON, NAME_LIKE, DIFFER, NO_SUCH_LINK, USED, EXPIRED, REVOKED, TAKEN];
const WRONG: &str = "That does not fit. Check it, and try again.";
pub(super) const TOO_MANY: &str = "There were too many wrong attempts. Try again in {} s.";
pub(super) const BUSY: &str = "Too many people do this at once. Try again in a moment.";
const STALE: &str = "That took too long. Begin again.";
const SHORT: &str = "A password has 10 characters or more: a few words are easy to keep in mind.";
const LONG: &str = "A password has 1024 bytes at most.";
const COMMON: &str = "This password is among the first that anybody tries. A few words that have nothing to do with each other are better.";
const NAME_LIKE: &str = "This password is made of the name: it is among the first that anybody tries.";
pub(super) const DIFFER: &str = "The two passwords differ.";
const NO_SUCH_LINK: &str = "This link leads nowhere. It was cut off when it was copied, or it is too old.";
const USED: &str = "This link was used already.";
const EXPIRED: &str = "This link is over.";
const REVOKED: &str = "This link was taken back.";
const TAKEN: &str = "Somebody has this name already. Choose another.";

/// As an address, also where there is no network between.
pub(super) fn place_of(source: Source) -> IpAddr {
    source.0.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// `Err`: it is nothing that another try with the form would cure.
pub(super) fn tell(frame: &Frame, error: CredentialError) -> Result<(StatusCode, String), Problem> {
    let (status, sentence) = match error {
        CredentialError::Wrong => (StatusCode::FORBIDDEN, WRONG),
        CredentialError::TooMany { wait } => {
            let told = frame.say(TOO_MANY).replace("{}", &wait.as_secs().max(1).to_string());
            return Ok((StatusCode::TOO_MANY_REQUESTS, told));
        }
        CredentialError::Busy => (StatusCode::SERVICE_UNAVAILABLE, BUSY),
        CredentialError::Stale => (StatusCode::FORBIDDEN, STALE),
        CredentialError::Weak(Weak::Short) => (StatusCode::UNPROCESSABLE_ENTITY, SHORT),
        CredentialError::Weak(Weak::Long) => (StatusCode::UNPROCESSABLE_ENTITY, LONG),
        CredentialError::Weak(Weak::Common) => (StatusCode::UNPROCESSABLE_ENTITY, COMMON),
        CredentialError::Weak(Weak::Name) => (StatusCode::UNPROCESSABLE_ENTITY, NAME_LIKE),
        CredentialError::Invalid(why) => return Ok((StatusCode::UNPROCESSABLE_ENTITY, why)),
        CredentialError::Store(error) => return Err(error.into()),
    };
    Ok((status, frame.say(sentence).to_owned()))
}

/// Whether the link itself is done with, and what is said.
pub(super) fn tell_of_welcome(frame: &Frame, error: WelcomeError) -> Result<(bool, StatusCode, String), Problem> {
    let over = |sentence: &str| Ok((true, StatusCode::GONE, frame.say(sentence).to_owned()));
    let mend = |sentence: &str| Ok((false, StatusCode::UNPROCESSABLE_ENTITY, frame.say(sentence).to_owned()));
    match error {
        WelcomeError::Unknown => over(NO_SUCH_LINK),
        WelcomeError::Used => over(USED),
        WelcomeError::Expired => over(EXPIRED),
        WelcomeError::Revoked => over(REVOKED),
        WelcomeError::Credential(error) => tell(frame, error).map(|(status, told)| (false, status, told)),
        WelcomeError::Edit(EditError::Taken(_)) => mend(TAKEN),
        WelcomeError::Edit(EditError::Invalid(why)) => mend(&why),
        WelcomeError::Edit(error) => Err(error.into()),
    }
}
