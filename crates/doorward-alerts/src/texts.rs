//! Notices in words.

use crate::Language;
use doorward_core::notice::Notice;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::OnceLock;

pub(crate) struct Message {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) link: Option<String>,
}

#[derive(Deserialize)]
struct Texts {
    en: Words,
    de: Words,
    es: Words,
}

#[derive(Deserialize)]
struct Words {
    title: String,
    text: String,
}

pub(crate) fn message(notice: &Notice, language: Language) -> Message {
    let texts = &texts()[notice.kind().word()];
    let words = match language {
        Language::English => &texts.en,
        Language::German => &texts.de,
        Language::Spanish => &texts.es,
    };
    let values = values(notice);
    let link = match notice {
        Notice::ApprovalWanted { link, .. } => link.clone(),
        Notice::DeviceOffline { .. }
        | Notice::DeviceOnline { .. }
        | Notice::NewLogin { .. }
        | Notice::CertificateFailing { .. }
        | Notice::BudgetNearlyUsed { .. }
        | Notice::Test => None,
    };
    Message { title: fill(&words.title, &values), text: fill(&words.text, &values), link }
}

fn texts() -> &'static HashMap<String, Texts> {
    static TEXTS: OnceLock<HashMap<String, Texts>> = OnceLock::new();
    TEXTS.get_or_init(|| toml::from_str(include_str!("texts.toml")).expect("a test reads it"))
}

fn values(notice: &Notice) -> Vec<(&'static str, String)> {
    let unknown = || "?".to_owned();
    match notice {
        Notice::DeviceOffline { device, since } => vec![("device", device.clone()), ("since", moment(*since))],
        Notice::DeviceOnline { device, away_since } => vec![("device", device.clone()), ("since", moment(*away_since))],
        Notice::ApprovalWanted { person, service, link: _ } => {
            vec![("person", person.clone()), ("service", service.clone())]
        }
        Notice::NewLogin { person, title, source } => vec![
            ("person", person.clone()),
            ("with", title.clone()),
            ("source", source.map_or_else(unknown, |ip| ip.to_string())),
        ],
        Notice::CertificateFailing { names, why } => vec![("names", names.clone()), ("why", why.clone())],
        Notice::BudgetNearlyUsed { service, percent, until } => vec![
            ("service", service.clone()),
            ("percent", percent.to_string()),
            ("until", until.map_or_else(unknown, moment)),
        ],
        Notice::Test => Vec::new(),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// One pass: what is filled in is not looked at again. Control characters would be line ends in a header.
fn fill(pattern: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let value = values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str()).unwrap_or("?");
        filled += before;
        filled.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Notice> {
        let at = Timestamp::from_second(1_764_000_000).unwrap();
        let text = || "x{since}\r\ny".to_owned();
        vec![
            Notice::DeviceOffline { device: text(), since: at },
            Notice::DeviceOnline { device: text(), away_since: at },
            Notice::ApprovalWanted { person: text(), service: text(), link: Some("https://a/b".into()) },
            Notice::NewLogin { person: text(), title: text(), source: Some([192, 0, 2, 1].into()) },
            Notice::CertificateFailing { names: text(), why: text() },
            Notice::BudgetNearlyUsed { service: text(), percent: 80, until: Some(at) },
            Notice::Test,
        ]
    }

    #[test]
    fn every_notice_has_its_words_in_every_language_and_nothing_in_them_is_left_open() {
        let mut seen = 0;
        for notice in all() {
            let mut titles = Vec::new();
            for language in [Language::English, Language::German, Language::Spanish] {
                let said = message(&notice, language);
                let text = format!("{} {}", said.title, said.text);
                assert!(!text.contains('?') && !text.contains(['\r', '\n']), "{text}");
                assert!(!text.replace("x{since}", "").contains(['{', '}']), "{text}");
                titles.push(said.text);
                seen += 1;
            }
            titles.dedup();
            assert_eq!(titles.len(), 3, "{titles:?}");
        }
        assert_eq!((seen, texts().len()), (21, 7));
    }
}
