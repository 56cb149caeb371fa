//! `[knock]` of `gateway.toml`.

use super::wrong;
use doorward_control::KnockSettings;
use doorward_core::knock::USUAL_WINDOW;
use doorward_core::span::parse_span;
use jiff::SignedDuration;
use serde::Deserialize;
use std::net::SocketAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KnockFile {
    /// How far the clocks of knocker and gateway may be apart: 5 minutes unless said.
    pub window: Option<String>,
    /// For how long a hidden portal is there after a knock: 10 minutes unless said.
    pub shows_portal_for: Option<String>,
}

const USUAL_SIGHT: SignedDuration = SignedDuration::from_mins(10);

impl KnockFile {
    pub(super) fn settings(&self, listened: &[SocketAddr], hides_portal: bool) -> anyhow::Result<KnockSettings> {
        let port = listened.first().map(SocketAddr::port);
        if hides_portal && port.is_none() {
            return Err(wrong("portal.hidden", "nobody could ever see it: say where to knock, by listen.knock"));
        }
        if self.shows_portal_for.is_some() && !hides_portal {
            return Err(wrong("knock.shows-portal-for", "it means nothing unless portal.hidden = true"));
        }
        let span = |key, given: &Option<String>, usual| match given.as_deref().map(parse_span) {
            None => Ok(usual),
            Some(Ok(span)) => Ok(span),
            Some(Err(why)) => Err(wrong(key, why)),
        };
        let window = span("knock.window", &self.window, USUAL_WINDOW)?;
        let range = SignedDuration::from_secs(10)..=SignedDuration::from_hours(1);
        if !range.contains(&window) {
            return Err(wrong("knock.window", "it is between 10s and 1h: what is longer lets knocks be held back"));
        }
        let sight = span("knock.shows-portal-for", &self.shows_portal_for, USUAL_SIGHT)?;
        Ok(KnockSettings { port, window, hides_portal_but_for: hides_portal.then_some(sight) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{File, ServeSettings};
    use jiff::SignedDuration;

    fn settings(text: &str) -> anyhow::Result<ServeSettings> {
        toml::from_str::<File>(text)?.into_settings("/tmp/x".into())
    }

    #[test]
    fn nobody_hears_knocks_unless_said_and_no_portal_hides_that_nobody_could_see() {
        assert_eq!(settings("").unwrap().site.knock, doorward_control::KnockSettings::default());
        let hidden = settings("[listen]\nknock = [\"0.0.0.0:62201\"]\n[portal]\nhidden = true").unwrap();
        assert_eq!(hidden.gateway.knock.len(), 1);
        assert_eq!(hidden.site.knock.port, Some(62_201));
        assert_eq!(hidden.site.knock.window, SignedDuration::from_mins(5));
        assert_eq!(hidden.site.knock.hides_portal_but_for, Some(SignedDuration::from_mins(10)));
        let table = [
            ("[portal]\nhidden = true", "portal.hidden: "),
            ("[knock]\nwindow = \"5s\"", "knock.window: "),
            ("[knock]\nwindow = \"2h\"", "knock.window: "),
            ("[knock]\nwindow = \"soon\"", "knock.window: "),
            ("[knock]\nshows-portal-for = \"1h\"", "knock.shows-portal-for: "),
        ];
        for (text, key) in table {
            let error = settings(text).unwrap_err().to_string();
            assert!(error.starts_with(key), "{text}: {error}");
        }
    }
}
