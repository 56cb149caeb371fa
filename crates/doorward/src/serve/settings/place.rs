//! Where in the file something is, as people count.

use toml::de::{DeTable, DeValue};

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
