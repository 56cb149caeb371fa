//! Pages of a service's own, shown where it cannot be reached or asks for a password. They come from the device and
//! rest with its service, so that they are there when the device is not.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// All pages of one service together, in bytes.
pub const MAX_PAGES: usize = 64 * 1024;

/// Absent: the gateway's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pages {
    /// The device is not connected, or does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Page>,
    /// The device is there and the service is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Page>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Page>,
}

impl Pages {
    pub fn bytes(&self) -> usize {
        [&self.offline, &self.unreachable, &self.password].into_iter().flatten().map(|page| page.0.len()).sum()
    }
}

/// HTML with blanks that are filled in for each visitor, as `{{detail}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Page(String);

/// What stands in a page for something that is known only when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// What is the matter, in a few words.
    Title,
    /// What is the matter, in a sentence.
    Detail,
    /// What the visitor can do.
    Remedy,
    /// The service's title.
    Service,
    /// Of these words, as in `<html lang>`.
    Language,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PageError {
    #[error("pages of a service have room for {} KiB together", MAX_PAGES / 1024)]
    TooLong,
    #[error(
        "\"{{{{{0}\" is no blank: write {{{{title}}}}, {{{{detail}}}}, {{{{remedy}}}}, {{{{service}}}} or {{{{language}}}}"
    )]
    UnknownBlank(String),
}

impl Blank {
    const ALL: [Self; 5] = [Self::Title, Self::Detail, Self::Remedy, Self::Service, Self::Language];

    fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Detail => "detail",
            Self::Remedy => "remedy",
            Self::Service => "service",
            Self::Language => "language",
        }
    }

    /// The blank that follows `{{`, and what comes after it.
    fn begin(text: &str) -> Option<(Self, &str)> {
        let (name, rest) = text.split_once("}}")?;
        Self::ALL.into_iter().find(|blank| blank.name() == name.trim()).map(|blank| (blank, rest))
    }
}

impl Page {
    pub fn parse(html: String) -> Result<Self, PageError> {
        if html.len() > MAX_PAGES {
            return Err(PageError::TooLong);
        }
        let mut rest = html.as_str();
        while let Some((_, after)) = rest.split_once("{{") {
            let unknown = || PageError::UnknownBlank(after.chars().take(20).collect());
            (_, rest) = Blank::begin(after).ok_or_else(unknown)?;
        }
        Ok(Self(html))
    }

    /// In one pass: what is filled in has no blanks of its own. `words` must be HTML already.
    pub fn fill(&self, words: impl Fn(Blank) -> String) -> String {
        let mut filled = String::with_capacity(self.0.len() + 512);
        let mut rest = self.0.as_str();
        while let Some((before, (blank, after))) = next_blank(rest) {
            filled += before;
            filled += &words(blank);
            rest = after;
        }
        filled + rest
    }
}

fn next_blank(text: &str) -> Option<(&str, (Blank, &str))> {
    let (before, after) = text.split_once("{{")?;
    Some((before, Blank::begin(after)?))
}

impl TryFrom<String> for Page {
    type Error = PageError;

    fn try_from(html: String) -> Result<Self, PageError> {
        Self::parse(html)
    }
}

impl From<Page> for String {
    fn from(page: Page) -> Self {
        page.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_filled_once_and_nothing_else_changes() {
        let page = Page::parse("<p style=\"a{b{c}}\">{{title}}: {{ service }}{{title}}</p>".to_owned()).unwrap();
        let filled = page.fill(|blank| match blank {
            Blank::Title => "{{service}}".to_owned(),
            Blank::Service => "Küche".to_owned(),
            Blank::Detail | Blank::Remedy | Blank::Language => "?".to_owned(),
        });
        assert_eq!(filled, "<p style=\"a{b{c}}\">{{service}}: Küche{{service}}</p>");
    }

    #[test]
    fn what_is_no_blank_and_what_is_too_long_is_refused() {
        for (bad, named) in [("a {{titel}} b", "titel"), ("{{", ""), ("{{title}} {{", ""), ("{{title}", "title")] {
            let error = Page::parse(bad.to_owned()).unwrap_err();
            assert!(matches!(&error, PageError::UnknownBlank(rest) if rest.starts_with(named)), "{bad}: {error}");
            assert!(error.to_string().contains("{{remedy}}"), "{error}");
        }
        assert_eq!(Page::parse("a".repeat(MAX_PAGES + 1)), Err(PageError::TooLong));
        assert!(Page::parse("a".repeat(MAX_PAGES)).is_ok());
    }
}
