//! To whom what is told.

use crate::{Mail, Ntfy, Webhook};
use doorward_core::notice::NoticeKind;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Unique; people see it in `doorward status`.
    pub name: String,
    /// `None`: all. A test is always wanted.
    pub notices: Option<BTreeSet<NoticeKind>>,
    pub language: Language,
    pub way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Webhook(Webhook),
    Ntfy(Ntfy),
    Mail(Mail),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Language {
    #[default]
    #[serde(rename = "en")]
    English,
    #[serde(rename = "de")]
    German,
    #[serde(rename = "es")]
    Spanish,
}

impl Destination {
    pub(crate) fn wants(&self, kind: NoticeKind) -> bool {
        kind == NoticeKind::Test || self.notices.as_ref().is_none_or(|notices| notices.contains(&kind))
    }
}

impl Way {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Ntfy(_) => "ntfy",
            Self::Mail(_) => "mail",
        }
    }
}
