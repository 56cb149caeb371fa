//! A policy as text: the table `[service.access]` as it stands in a device's file, with or without its heading.

use doorward_core::access::{PolicyDocument, PolicyError};
use doorward_core::service::ServiceKind;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pages) struct Fault {
    /// Of a text: line and column, from 1.
    pub(in crate::pages) at: Option<(usize, usize)>,
    /// As `from` or `limits.rate`.
    pub(in crate::pages) key: Option<String>,
    pub(in crate::pages) what: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: Service,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    access: PolicyDocument,
}

pub(in crate::pages) fn write(document: &PolicyDocument) -> String {
    let file = File { service: Service { access: document.clone() } };
    toml::to_string(&file).expect("a policy document can be written as TOML")
}

/// `before`: whose passwords are kept where the text says so.
pub(in crate::pages) fn read(text: &str, before: &PolicyDocument, kind: ServiceKind) -> Result<PolicyDocument, Fault> {
    let unreadable = |error: &toml::de::Error| Fault {
        at: error.span().map(|span| place(text, &span)),
        key: None,
        what: error.message().to_owned(),
    };
    let table = DeTable::parse(text).map_err(|error| unreadable(&error))?;
    let table = table.get_ref();
    let has_heading = table.iter().any(|(key, _)| key.get_ref() == "service");
    let document = match has_heading {
        true => toml::from_str::<File>(text).map(|file| file.service.access),
        false => toml::from_str(text),
    };
    let document: PolicyDocument = document.map_err(|error| unreadable(&error))?;
    match document.clone().with_kept_hashes(before).to_policy_for(kind) {
        Ok(_) => Ok(document),
        Err(error) => {
            let fault = Fault::of(&error);
            let heading: &[&str] = if has_heading { &["service", "access"] } else { &[] };
            let key = fault.key.iter().flat_map(|key| key.split('.'));
            let span = find(table, &heading.iter().copied().chain(key).collect::<Vec<_>>());
            Err(Fault { at: span.map(|span| place(text, &span)), ..fault })
        }
    }
}

impl Fault {
    /// What is said begins with its key.
    pub(in crate::pages) fn of(error: &PolicyError) -> Self {
        let said = error.to_string();
        let parts = said.strip_prefix("access.").and_then(|rest| rest.split_once(": "));
        let (key, what) = parts.map_or((None, said.as_str()), |(key, what)| (Some(key.to_owned()), what));
        Self { at: None, key, what: what.to_owned() }
    }
}

/// Where it stands, or what is nearest above.
fn find(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    let within = match value.get_ref() {
        DeValue::Table(table) => find(table, rest),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => None,
    };
    Some(within.unwrap_or_else(|| key.span()))
}

fn place(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, before: &PolicyDocument) -> Result<PolicyDocument, Fault> {
        super::read(text, before, ServiceKind::Http)
    }

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";

    fn document(json: &str) -> PolicyDocument {
        serde_json::from_str(&json.replace("HASH", HASH)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_and_stands_under_its_heading() {
        let policies = [
            "{}",
            r#"{"who":"public","from":[]}"#,
            r#"{"who":"password","passwords":{"anna":"HASH","zo\" e":"HASH"}}"#,
            r#"{"who":"people","people":["anna"],"groups":["class"],"how":"on-request","max-duration":"2h",
                "max-idle":"15m","from":["192.0.2.0/24"],"when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-16:30"]}}"#,
        ];
        for policy in policies.map(document) {
            let text = write(&policy);
            assert!(text.starts_with("[service.access]\n"), "{text}");
            assert_eq!(read(&text, &PolicyDocument::default()), Ok(policy.clone()), "{text}");
            let shown = write(&policy.without_hashes());
            assert!(!shown.contains("argon2"), "{shown}");
            assert_eq!(read(&shown, &policy).unwrap().with_kept_hashes(&policy), policy, "{shown}");
        }
        assert_eq!(read("who = \"public\"", &PolicyDocument::default()), Ok(PolicyDocument::public()));
        assert_eq!(read("", &PolicyDocument::default()), Ok(PolicyDocument::default()));
        let looked_at = "who = \"public\"\nlimits = { read-only = true }";
        assert!(read(looked_at, &PolicyDocument::default()).is_ok());
        let by_tcp = super::read(looked_at, &PolicyDocument::default(), ServiceKind::Tcp).unwrap_err();
        assert_eq!((by_tcp.at, by_tcp.key.as_deref()), (Some((2, 12)), Some("limits.read-only")));
    }

    #[test]
    fn what_is_wrong_is_said_with_line_column_and_key() {
        let table = [
            ("who = \"public\"\nfrom = [\"192.0.2.0/33\"]\n", Some((2, 1)), Some("from"), "is not a network"),
            ("[service.access]\nwho = \"public\"\n  groups = [\"a\"]", Some((3, 3)), Some("groups"), "means nothing"),
            ("who = \"people\"\n\n[when]\nzone = \"Mars\"\nopen = []", Some((3, 2)), Some("when"), "Mars"),
            ("who = \"password\"\n[passwords]\nanna = \"kept\"", Some((3, 1)), Some("passwords.anna"), "$argon2id$"),
            ("who = \"everybody\"", Some((1, 7)), None, "unknown variant"),
            ("who = \"public\"\nform = []", Some((2, 1)), None, "unknown field `form`"),
            ("[service]\nname = \"a\"\n[service.access]\nwho = \"public\"", Some((2, 1)), None, "unknown field `name`"),
            ("who = public", Some((1, 7)), None, ""),
            ("who = \"public\"\n[limits]\nconnections = 4\nrate = \"1 B\"", Some((4, 1)), Some("limits.rate"), "least"),
            ("who = \"people\"\nhow = \"on-request\"\nmax-idle = \"soon\"", Some((3, 1)), Some("max-idle"), "soon"),
        ];
        for (text, at, key, says) in table {
            let fault = read(text, &PolicyDocument::default()).unwrap_err();
            assert_eq!((fault.at, fault.key.as_deref()), (at, key), "{text}: {fault:?}");
            assert!(fault.what.contains(says) && !fault.what.is_empty(), "{text}: {fault:?}");
        }
    }
}
