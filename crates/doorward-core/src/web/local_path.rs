//! Where a visitor was going, on the very host that they are at: what a redirect may say that was asked for by a URL.

use std::fmt;
use thiserror::Error;

/// A path with its query. It starts with one slash, so that no browser takes it for another host (`//evil`, `/\evil`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPath(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is not a path on this host")]
pub struct NotLocal;

const LONGEST: usize = 4096;

impl LocalPath {
    pub fn parse(text: &str) -> Result<Self, NotLocal> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let is_local = text.starts_with('/') && !text.starts_with("//");
        if is_plain && is_local && text.len() <= LONGEST { Ok(Self(text.to_owned())) } else { Err(NotLocal) }
    }

    pub fn root() -> Self {
        Self("/".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        self.0.split(['?', '#']).next().unwrap_or_default()
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_could_take_for_another_host_is_no_local_path() {
        for good in ["/", "/a/b?c=//d&e=http://x", "/a//b", "/?q=%5c%0d", "/:8443/"] {
            assert_eq!(LocalPath::parse(good).unwrap().as_str(), good);
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        let tab = ["/\t/evil.example", "/\n/evil.example", "/\r\nset-cookie: a=b", "/ /evil.example"];
        let bad = [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "http://evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            " /a",
            "/a\\b",
            "/caf\u{e9}",
            "?a",
            "#a",
            &long,
        ];
        for bad in bad.iter().chain(&tab) {
            assert!(LocalPath::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
