//! What is known of applications: `preset = "octoprint"` instead of reading about proxies. The data is `presets.toml`.

use doorward_core::web::HeaderMode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use thiserror::Error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preset {
    pub title: String,
    /// Where it usually listens.
    pub port: Option<u16>,
    pub headers: HeaderMode,
    #[serde(default)]
    pub forwarded: bool,
    /// Whether it wants a path prefix taken off, unless the entrance says.
    pub strip: bool,
    /// The version of the real thing that a test runs behind Doorward.
    pub proven: Option<String>,
    /// The version that somebody tried by hand, and what of it.
    pub tried: Option<String>,
    /// Where the application checks keys of its own. Nothing is open there before the owner's policy says so.
    #[serde(default)]
    pub open_paths: Vec<String>,
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no preset \"{name}\": `doorward presets` lists them ({})", known())]
pub struct UnknownPreset {
    name: String,
}

static PRESETS: LazyLock<BTreeMap<String, Preset>> =
    LazyLock::new(|| toml::from_str(include_str!("presets.toml")).expect("the embedded file is read by a test"));

impl Preset {
    /// How far it is known to work.
    pub fn standing(&self) -> &'static str {
        match (&self.proven, &self.tried) {
            (Some(_), _) => "proven",
            (None, Some(_)) => "tried",
            (None, None) => "untested",
        }
    }

    pub fn find(name: &str) -> Result<&'static Self, UnknownPreset> {
        PRESETS.get(name).ok_or_else(|| UnknownPreset { name: name.chars().take(60).collect() })
    }

    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = (&'static str, &'static Self)> {
        PRESETS.iter().map(|(name, preset)| (name.as_str(), preset))
    }
}

fn known() -> String {
    PRESETS.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_read_and_an_unknown_one_names_the_others() {
        for name in ["jupyter", "octoprint", "mainsail", "home-assistant", "code-server", "grafana", "karmen", "plain"]
        {
            assert!(!Preset::find(name).unwrap().title.is_empty());
        }
        assert_eq!(Preset::all().count(), 8);
        assert!(Preset::find("octopi").unwrap_err().to_string().contains("octoprint"));
    }
}
