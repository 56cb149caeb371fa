//! What pages say, in the reader's language. The English sentence is the key; one that `words.toml` lacks stays English.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
    Spanish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    text: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    en: String,
    de: String,
    es: String,
}

/// One file for each room's pages.
const FILES: &[&str] = &[
    include_str!("words/site.toml"),
    include_str!("words/sign_in.toml"),
    include_str!("words/live.toml"),
    include_str!("words/managing.toml"),
    include_str!("words/shares.toml"),
    include_str!("words/adding.toml"),
    include_str!("words/tokens.toml"),
    include_str!("words/providers.toml"),
    include_str!("words/cameras.toml"),
];

static TEXTS: LazyLock<HashMap<String, Text>> = LazyLock::new(|| {
    let read = |file: &&str| toml::from_str::<Texts>(file).expect("the embedded files are read by a test").text;
    FILES.iter().flat_map(read).map(|text| (text.en.clone(), text)).collect()
});

impl Language {
    /// The one that the reader likes best of those that we have (RFC 9110, 12.5.4).
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::English, 0.0);
        for range in values.flat_map(|value| value.split(',')).take(20) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).unwrap_or(0.0);
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let mut ours = [Self::English, Self::German, Self::Spanish].into_iter();
            if let Some(language) = ours.find(|l| primary.eq_ignore_ascii_case(l.tag())).filter(|_| weight > best.1) {
                best = (language, weight);
            }
        }
        best.0
    }

    /// As in HTML (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Spanish => "es",
        }
    }

    pub(crate) fn say(self, english: &str) -> &str {
        let Some(text) = TEXTS.get(english) else { return english };
        match self {
            Self::English => english,
            Self::German => &text.de,
            Self::Spanish => &text.es,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_of_a_template_is_known_in_all_languages() {
        let mut seen = 0;
        let folder = |name: &str| std::fs::read_dir(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for entry in folder("templates").chain(folder("src/pages")) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for sentence in text.split("say(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(TEXTS.contains_key(sentence), "{sentence:?} is missing in src/words/");
                seen += 1;
            }
        }
        assert!(seen > 10, "{seen}");
        for text in TEXTS.values() {
            assert!(!text.de.is_empty() && !text.es.is_empty(), "{}", text.en);
        }
    }

    #[test]
    fn the_reader_gets_the_language_they_like_best() {
        let wanted = |value: &'static str| {
            Language::wanted(&HeaderMap::from_iter([(ACCEPT_LANGUAGE, http::HeaderValue::from_static(value))]))
        };
        assert_eq!(wanted("de-AT, en;q=0.8"), Language::German);
        assert_eq!(wanted("fr, es;q=0.5, en;q=0.4"), Language::Spanish);
        assert_eq!(wanted("fr"), Language::English);
        assert_eq!(Language::German.say("Sign out"), "Abmelden");
        assert_eq!(Language::German.say("No such sentence"), "No such sentence");
    }
}
