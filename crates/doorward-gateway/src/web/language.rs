//! The visitor's language, where the gateway's own pages have it. The sentences are `pages.toml`; one that is missing
//! there stays English.

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

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    en: String,
    de: String,
    es: String,
}

static TEXTS: LazyLock<HashMap<String, Text>> = LazyLock::new(|| {
    let texts: Texts = toml::from_str(include_str!("pages.toml")).expect("the embedded file is read by a test");
    texts.text.into_iter().map(|text| (text.en.clone(), text)).collect()
});

impl Language {
    /// The one that the visitor likes best of those that we have (RFC 9110, 12.5.4).
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::English, 0.0);
        for range in values.flat_map(|value| value.split(',')).take(20) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).unwrap_or(0.0);
            let known = Self::of_tag(tag.trim());
            if let Some(language) = known.filter(|_| weight > best.1) {
                best = (language, weight);
            }
        }
        best.0
    }

    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        [Self::English, Self::German, Self::Spanish].into_iter().find(|l| primary.eq_ignore_ascii_case(l.tag()))
    }

    /// As in HTML (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Spanish => "es",
        }
    }

    /// An English sentence in this language.
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
    use http::HeaderValue;

    #[test]
    fn the_language_that_is_liked_best_wins() {
        let table = [
            ("", Language::English),
            ("fr", Language::English),
            ("de-AT,de;q=0.9,en;q=0.8", Language::German),
            ("fr-FR, es;q=0.5, de;q=0.4", Language::Spanish),
            ("en-US,en;q=0.9,de;q=0.8", Language::English),
            ("ES-mx", Language::Spanish),
            ("de;q=0, es;q=0.1", Language::Spanish),
            ("de;q=x,*", Language::English),
            ("deutsch", Language::English),
        ];
        for (accepted, language) in table {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))]);
            assert_eq!(Language::wanted(&headers), language, "{accepted}");
        }
    }
}
