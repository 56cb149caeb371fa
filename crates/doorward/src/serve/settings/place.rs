//! Where the file is, and where in it something is, as people count.

use super::{File, Wrong};
use crate::paths;
use anyhow::anyhow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Where the file is.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Place {
    pub(in crate::serve) path: PathBuf,
    /// A file that was named must exist; the usual one need not.
    is_named: bool,
}

impl Place {
    pub(in crate::serve) fn find(named: Option<&Path>) -> Self {
        match named {
            Some(path) => Self { path: path.to_owned(), is_named: true },
            None => Self { path: paths::configuration("gateway.toml"), is_named: false },
        }
    }

    /// The file, and its text for what is found wrong with it later.
    pub(in crate::serve) fn read(&self) -> anyhow::Result<(File, String)> {
        if !self.is_named && !self.path.exists() {
            return Ok((File::default(), String::new()));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("there is no {}: write one, or name another with --config", self.path.display())
            }
            _ => anyhow!("{} cannot be read: {error}; give the user that serves the right to", self.path.display()),
        })?;
        Ok((File::parse(&text, &self.path)?, text))
    }

    /// The error with the file and line of the key that it is about.
    pub(in crate::serve) fn locate(&self, error: anyhow::Error, text: &str) -> anyhow::Error {
        let line = error.downcast_ref::<Wrong>().and_then(|wrong| line_of(text, wrong.key));
        match line {
            Some(line) => anyhow!("{}:{line}: {error:#}", self.path.display()),
            None => error,
        }
    }
}

/// The line of a byte, from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// The line in which a key is given, if it is. `key`: from the top of the file, with dots.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let (mut table, mut at) = (whole.get_ref(), None);
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref() == part)?;
        at = Some(line(text, name.span().start));
        match value.get_ref() {
            DeValue::Table(below) => table = below,
            _ if parts.peek().is_some() => return None,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let text = "domain = \"a\"\n\n[ports]\n# ours\ntcp = \"1-2\"\n\nlisten.https = []\n";
        assert_eq!(line_of(text, "domain"), Some(1));
        assert_eq!(line_of(text, "ports.tcp"), Some(5));
        assert_eq!(line_of("ports = { udp = \"x\" }\n", "ports.udp"), Some(1));
        assert_eq!(line_of("\nports.udp = \"x\"\n", "ports.udp"), Some(2));
        assert_eq!(line_of(text, "ports.udp"), None);
        assert_eq!(line_of(text, "domain.tcp"), None);
    }
}
