//! Names that people, URLs and DNS share. A *name* is one ASCII label; a *title* is any text and never parsed.
//!
//! Routing and authorisation use the same normalised form, computed once here: lower case, no trailing dot, no port.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// One DNS label (RFC 1123 2.1): 1 to 63 of `a-z`, `0-9` and inner `-`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Names that would be mistaken for our own, or for none.
const RESERVED: &[&str] = &["doorward", "gateway", "portal", "www", "localhost", "local"];

const MAX_LABEL: usize = 63;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a usable name: {why}{}", suggestion.as_ref().map(|s| format!("; \"{s}\" would do")).unwrap_or_default())]
pub struct NameError {
    pub given: String,
    pub why: &'static str,
    /// A name that would be accepted, where one can be made of what was given.
    pub suggestion: Option<Label>,
}

impl Label {
    /// Takes a name as typed. Upper case is folded; nothing else is changed silently.
    pub fn parse(given: &str) -> Result<Self, NameError> {
        let folded = given.to_ascii_lowercase();
        match fault(&folded) {
            None => Ok(Self(folded)),
            Some(why) => {
                Err(NameError { given: given.chars().take(80).collect(), why, suggestion: Self::suggest(given) })
            }
        }
    }

    /// A usable name for any title: `Küche` becomes `kueche`. `None` if nothing is left of it.
    pub fn suggest(title: &str) -> Option<Self> {
        let mut label = String::new();
        for c in transliterate(title).chars() {
            match c {
                'a'..='z' | '0'..='9' => label.push(c),
                'A'..='Z' => label.push(c.to_ascii_lowercase()),
                _ if !label.is_empty() && !label.ends_with('-') => label.push('-'),
                _ => {}
            }
        }
        label.truncate(MAX_LABEL);
        let label = label.trim_end_matches('-').to_owned();
        let label =
            if RESERVED.contains(&label.as_str()) || label.starts_with("xn--") { format!("my-{label}") } else { label };
        fault(&label).is_none().then_some(Self(label))
    }

    /// The same name with `-2`, `-3`, … for the n-th machine that asks for it.
    pub fn numbered(&self, n: u32) -> Self {
        let suffix = format!("-{n}");
        let mut stem = self.0.clone();
        stem.truncate(MAX_LABEL - suffix.len());
        Self(stem.trim_end_matches('-').to_owned() + &suffix)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fault(label: &str) -> Option<&'static str> {
    if label.is_empty() {
        return Some("it is empty");
    }
    if label.len() > MAX_LABEL {
        return Some("it is longer than 63 characters");
    }
    if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Some("only a-z, 0-9 and - can stand in a host name (the title may be any text)");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("it starts or ends with -");
    }
    if label.get(2..4) == Some("--") {
        return Some("-- in third place is kept for encoded names (RFC 5891)");
    }
    if RESERVED.contains(&label) {
        return Some("it is a reserved word");
    }
    None
}

/// Letters that have a customary spelling in ASCII get that; the rest is left to the general table.
fn transliterate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ä' | 'æ' | 'Ä' | 'Æ' => out.push_str("ae"),
            'ö' | 'ø' | 'Ö' | 'Ø' | 'œ' | 'Œ' => out.push_str("oe"),
            'ü' | 'Ü' => out.push_str("ue"),
            'å' | 'Å' => out.push_str("aa"),
            'ß' | 'ẞ' => out.push_str("ss"),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&deunicode::deunicode_char(c).unwrap_or("-").to_ascii_lowercase()),
        }
    }
    out
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Label {
    type Error = NameError;

    fn try_from(given: String) -> Result<Self, NameError> {
        Self::parse(&given)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

/// A whole host name, normalised for comparison: lower case, no trailing dot, no port, labels of RFC 1123
/// (underscores and punycode labels are accepted, since DNS and certificates carry them).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a host name: {why}")]
pub struct HostNameError {
    pub given: String,
    pub why: &'static str,
}

impl HostName {
    pub fn parse(given: &str) -> Result<Self, HostNameError> {
        let refuse = |why| Err(HostNameError { given: given.chars().take(80).collect(), why });
        let name = given.strip_suffix('.').unwrap_or(given).to_ascii_lowercase();
        if name.is_empty() || name.len() > 253 {
            return refuse("it must have 1 to 253 characters");
        }
        let bad_label = |l: &str| l.is_empty() || l.len() > MAX_LABEL || l.starts_with('-') || l.ends_with('-');
        if name.split('.').any(bad_label) {
            return refuse("each part between dots needs 1 to 63 characters and no - at its ends");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            return refuse("only letters, digits, - and . can stand in it (write other letters in their xn-- form)");
        }
        Ok(Self(name))
    }

    /// The host of an HTTP authority or Host header (`name`, `name:port`). User information is refused: no browser
    /// sends it, and parsers disagree about it.
    pub fn from_authority(authority: &str) -> Result<Self, HostNameError> {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
            Some((host, "")) => host,
            Some(_) | None => authority,
        };
        Self::parse(host)
    }

    /// `label.self`
    pub fn child(&self, label: &str) -> Result<Self, HostNameError> {
        Self::parse(&format!("{label}.{}", self.0))
    }

    /// Whether this name is `suffix` itself or lies below it.
    pub fn is_under(&self, suffix: &HostName) -> bool {
        self == suffix || self.0.strip_suffix(&suffix.0).is_some_and(|rest| rest.ends_with('.'))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(given: String) -> Result<Self, HostNameError> {
        Self::parse(&given)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// The start of a path that belongs to one service: `/zumi01/`, always with both slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a usable path prefix: {why}")]
pub struct PathPrefixError {
    pub given: String,
    pub why: &'static str,
}

impl PathPrefix {
    pub fn parse(given: &str) -> Result<Self, PathPrefixError> {
        let refuse = |why| Err(PathPrefixError { given: given.chars().take(80).collect(), why });
        let inner = given.trim_matches('/');
        if inner.is_empty() {
            return refuse("name at least one part, as in /zumi01/ (a whole host needs no prefix)");
        }
        if given.len() > 200 {
            return refuse("it is longer than 200 characters");
        }
        if inner.split('/').any(|part| part.is_empty() || part.bytes().all(|b| b == b'.')) {
            return refuse("empty parts and dots alone do not survive browsers and proxies");
        }
        if !inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/')) {
            return refuse("only letters, digits, - _ . ~ and / can stand in it");
        }
        if inner == ".well-known" || inner.starts_with(".well-known/") {
            return refuse("/.well-known/ is kept for the gateway itself");
        }
        Ok(Self(format!("/{inner}/")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the prefix in `path`, without its leading slash; `None` if the path is not under it. `/zumi01`
    /// itself counts as under `/zumi01/`.
    pub fn remainder<'p>(&self, path: &'p str) -> Option<&'p str> {
        let bare = &self.0[..self.0.len() - 1];
        let rest = path.strip_prefix(bare)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = PathPrefixError;

    fn try_from(given: String) -> Result<Self, PathPrefixError> {
        Self::parse(&given)
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_case_and_nothing_else() {
        assert_eq!(Label::parse("Printer1").unwrap().as_str(), "printer1");
        for bad in ["", "-a", "a-", "küche", "a b", "a.b", "a_b", "xn--kche-0ra", "ab--c", "www", &"a".repeat(64)] {
            assert!(Label::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_refused_name_comes_with_one_that_works() {
        let table = [
            ("Küche", "kueche"),
            ("Weiße Straße", "weisse-strasse"),
            ("my printer!", "my-printer"),
            ("--Zumi_01--", "zumi-01"),
            ("Ångström", "aangstroem"),
            ("東京", "dong-jing"),
            ("www", "my-www"),
        ];
        for (title, name) in table {
            let error = Label::parse(title).unwrap_err();
            assert_eq!(error.suggestion.as_ref().map(Label::as_str), Some(name), "{title}");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(Label::suggest("!!!"), None);
    }

    #[test]
    fn the_nth_machine_of_a_name_stays_a_label() {
        let long = Label::parse(&"a".repeat(63)).unwrap();
        assert_eq!(long.numbered(12).as_str().len(), 63);
        assert!(Label::parse(long.numbered(12).as_str()).is_ok());
        assert_eq!(Label::parse("pi").unwrap().numbered(2).as_str(), "pi-2");
    }

    #[test]
    fn one_host_however_it_is_spelt() {
        let name = HostName::parse("printer1.example.org").unwrap();
        for spelling in ["PRINTER1.example.org", "printer1.example.org.", "Printer1.Example.ORG"] {
            assert_eq!(HostName::parse(spelling).unwrap(), name, "{spelling}");
        }
        for authority in ["printer1.example.org:443", "printer1.example.org.:8080", "printer1.example.org:"] {
            assert_eq!(HostName::from_authority(authority).unwrap(), name, "{authority}");
        }
        for bad in ["", ".", "a..b", "a@b", "user@printer1.example.org", "[::1]", "a:b", "a b", "a/b", "a%2eb"] {
            assert!(HostName::from_authority(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_suffix_ends_at_a_dot() {
        let suffix = HostName::parse("example.org").unwrap();
        assert!(HostName::parse("a.example.org").unwrap().is_under(&suffix));
        assert!(suffix.is_under(&suffix));
        assert!(!HostName::parse("badexample.org").unwrap().is_under(&suffix));
    }

    #[test]
    fn a_prefix_owns_its_path_and_not_its_neighbours() {
        let prefix = PathPrefix::parse("zumi01").unwrap();
        assert_eq!(prefix.as_str(), "/zumi01/");
        assert_eq!(prefix.remainder("/zumi01/tree"), Some("tree"));
        assert_eq!(prefix.remainder("/zumi01"), Some(""));
        assert_eq!(prefix.remainder("/zumi012/tree"), None);
        for bad in ["", "/", "//", "/a//b/", "/../", "/a/./b", "/a b/", "/ü/", "/.well-known/x", "/%2e/"] {
            assert!(PathPrefix::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
