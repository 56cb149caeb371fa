//! Paths of a web service at which its application checks a token of its own, so that nobody else asks who comes: the
//! owner's policy lists them.
//!
//! Servers read one path in many ways: they decode it twice, resolve dots, merge slashes, cut at a semicolon. Whatever any
//! of them could take for another path than the one that is written there is not under an open path, and asked as always.

use super::Proof;
use crate::names::{PathPrefix, PathPrefixError};
use std::str;
use thiserror::Error;

/// As written in the policy. A path counts from the root of the service, without the entrance's own prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPaths(Vec<PathPrefix>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenPathError {
    #[error(transparent)]
    Path(#[from] PathPrefixError),
    #[error("there is room for {MOST} of them")]
    TooMany,
}

/// More would be a policy of its own.
const MOST: usize = 16;

impl OpenPaths {
    pub fn parse(given: &[String]) -> Result<Self, OpenPathError> {
        if given.len() > MOST {
            return Err(OpenPathError::TooMany);
        }
        Ok(Self(given.iter().map(|path| PathPrefix::parse(path)).collect::<Result<_, _>>()?))
    }

    /// The entry that a path is under. `path`: as it is sent to the target, still encoded, without the query.
    pub fn find(&self, path: &str) -> Option<&PathPrefix> {
        self.0.iter().find(|prefix| prefix.remainder(path).is_some_and(is_plain))
    }

    pub(super) fn are_gone_to(&self, proofs: &[Proof]) -> bool {
        proofs.iter().any(|proof| match proof {
            Proof::OpenPath(prefix) => self.0.contains(prefix),
            Proof::Password(_)
            | Proof::Person(_)
            | Proof::Login(_)
            | Proof::Session(_)
            | Proof::Port(_)
            | Proof::Sender(_)
            | Proof::Share(_) => false,
        })
    }
}

/// Whether there is one way to read it.
fn is_plain(rest: &str) -> bool {
    let Some(decoded) = decode(rest) else { return false };
    let is_plain_sign = |sign: char| {
        let is_written_so = sign.is_ascii_graphic() && !matches!(sign, '\\' | ';' | '%' | '?' | '#' | '*');
        // Of what is not ASCII letters alone: some servers make dots and slashes of what looks like them.
        is_written_so || sign == ' ' || (!sign.is_ascii() && sign.is_alphanumeric())
    };
    // Only the last part may be empty. Parts of dots and blanks lead upwards, or do after the blanks were cut off.
    let parts: Vec<&str> = decoded.split('/').collect();
    let is_part = |(place, part): (usize, &&str)| match part.trim_matches(['.', ' ']) {
        "" => part.is_empty() && place + 1 == parts.len(),
        _ => true,
    };
    decoded.chars().all(is_plain_sign) && parts.iter().enumerate().all(is_part)
}

/// Percent-decoded once. `None`: an encoded slash, or what is no encoding of text (RFC 3986, 2.1; overlong UTF-8 is none).
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = str::from_utf8(rest.get(..2)?).ok().filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != b'/')?;
        bytes.push(byte);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(paths: &[&str]) -> OpenPaths {
        OpenPaths::parse(&paths.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_is_under_an_open_path_is_found_with_its_entry() {
        let paths = open(&["/api/", "hooks/in"]);
        let table = [
            ("/api", Some("/api/")),
            ("/api/", Some("/api/")),
            ("/api/files/local/benchy.gcode", Some("/api/")),
            ("/api/files/my%20part%2Egcode", Some("/api/")),
            ("/api/files/m%C3%B6bel.gcode", Some("/api/")),
            ("/api/a/..b/.c/d../e...f", Some("/api/")),
            ("/api/@me:1,2=3!$&'()+~_-", Some("/api/")),
            ("/hooks/in/7f3a", Some("/hooks/in/")),
            ("/hooks/inside", None),
            ("/hooks", None),
            ("/apis", None),
            ("/API/", None),
            ("/", None),
            ("/settings", None),
            ("api/", None),
            ("", None),
            ("*", None),
        ];
        for (path, entry) in table {
            assert_eq!(paths.find(path).map(PathPrefix::as_str), entry, "{path}");
        }
        assert_eq!(OpenPaths::default().find("/api/"), None);
    }

    #[test]
    fn what_a_server_could_read_as_another_path_is_not_open() {
        let paths = open(&["/api/"]);
        let tricks = [
            "/api/../admin",
            "/api/..",
            "/api/.",
            "/api/./x",
            "/api/...",
            "/api/%2e%2e/admin",
            "/api/%2E./admin",
            "/api/.%2e/admin",
            "/api/%252e%252e/admin",
            "/api/%25%32%65/admin",
            "/api/..%2fadmin",
            "/api/..%2Fadmin",
            "/api/x%2fy",
            "/api/..%5cadmin",
            "/api/..\\admin",
            "/api\\..\\admin",
            "/api/..;/admin",
            "/api/..;a=b/admin",
            "/api/x;/admin",
            "/api/x%3b/admin",
            "/api;/../admin",
            "//api/x",
            "/api//x",
            "/api//../admin",
            "/api/x//",
            "/./api/x",
            "/x/../api/y",
            "/%61pi/x",
            "/api%2fx",
            "/api/.. /admin",
            "/api/..%20/admin",
            "/api/%20../admin",
            "/api/..%00/admin",
            "/api/x%00.png",
            "/api/..%09/admin",
            "/api/x%0d%0ay",
            "/api/..%3f/admin",
            "/api/x%23/../y",
            "/api/%c0%ae%c0%ae/admin",
            "/api/..%c0%afadmin",
            "/api/%e0%80%ae/admin",
            "/api/%u002e%u002e/admin",
            "/api/%ef%bc%8e%ef%bc%8e/admin",
            "/api/%e2%80%a4%e2%80%a4/admin",
            "/api/x%e2%88%95admin",
            "/api/%",
            "/api/%2",
            "/api/%zz",
            "/api/%+1",
            "/api/x*",
            "/api/%7f",
        ];
        for trick in tricks {
            assert_eq!(paths.find(trick), None, "{trick}");
        }
    }

    #[test]
    fn a_whole_service_is_no_open_path_and_nonsense_is_refused() {
        for bad in ["", "/", "//", "/../", "/a b/", "/a%20b/", "/.well-known/x/", "/a//b/"] {
            assert!(OpenPaths::parse(&[bad.to_owned()]).is_err(), "{bad:?} was taken");
        }
        assert_eq!(OpenPaths::parse(&vec!["/a/".to_owned(); MOST + 1]), Err(OpenPathError::TooMany));
    }
}
