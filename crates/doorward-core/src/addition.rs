//! A service that somebody wished for at the portal: what its device shall offer, if the device's own settings allow it.

use crate::names::Label;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use thiserror::Error;

/// As in the device's own `agent.toml`, but for the keys that stay the device's: who may use it is said on the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Addition {
    pub name: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// As `http://192.168.1.5:5000`. What it means and whether it may be is for the device to say.
    pub target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdditionError {
    #[error("a title has 1 to {MAX_TITLE} characters, all of them printable")]
    Title,
    #[error("a target has 1 to {MAX_TARGET} characters without blanks, as http://192.168.1.5:5000")]
    Target,
    #[error("a preset is a name, as octoprint; `doorward presets` lists them")]
    Preset,
}

/// More are better written into the device's own file.
pub const MAX_ADDITIONS: usize = 32;
const MAX_TITLE: usize = 100;
const MAX_TARGET: usize = 200;

impl Addition {
    /// Whether it is worth asking the device for. Nothing here could break out of a line of its file.
    pub fn check(&self) -> Result<(), AdditionError> {
        let is_title =
            |title: &String| (1..=MAX_TITLE).contains(&title.chars().count()) && !title.chars().any(char::is_control);
        if !self.title.as_ref().is_none_or(is_title) {
            return Err(AdditionError::Title);
        }
        let is_plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        if self.target.is_empty() || self.target.len() > MAX_TARGET || !self.target.chars().all(is_plain) {
            return Err(AdditionError::Target);
        }
        if !self.preset.as_deref().is_none_or(|preset| Label::parse(preset).is_ok_and(|label| label.as_str() == preset))
        {
            return Err(AdditionError::Preset);
        }
        Ok(())
    }

    /// The same as it stands in `agent.toml`.
    pub fn table(&self) -> String {
        let mut table = format!("[[service]]\nname = \"{}\"\n", self.name);
        if let Some(title) = &self.title {
            // What JSON escapes and how is understood by TOML, too.
            let quoted = serde_json::to_string(title).expect("text can be written as JSON");
            let _ = writeln!(table, "title = {quoted}");
        }
        let _ = writeln!(table, "target = \"{}\"", self.target);
        if let Some(preset) = &self.preset {
            let _ = writeln!(table, "preset = \"{preset}\"");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addition() -> Addition {
        Addition {
            name: Label::parse("octoprint").unwrap(),
            title: Some("Küche \"links\" \\ 3\u{301}".to_owned()),
            target: "http://192.168.1.5:5000".to_owned(),
            preset: Some("octoprint".to_owned()),
        }
    }

    #[test]
    fn it_is_written_as_a_device_would_have_it() {
        assert_eq!(addition().check(), Ok(()));
        let expected = "[[service]]\nname = \"octoprint\"\ntitle = \"Küche \\\"links\\\" \\\\ 3\u{301}\"\n\
                        target = \"http://192.168.1.5:5000\"\npreset = \"octoprint\"\n";
        assert_eq!(addition().table(), expected);
        let bare = Addition { title: None, preset: None, ..addition() };
        assert_eq!(bare.table(), "[[service]]\nname = \"octoprint\"\ntarget = \"http://192.168.1.5:5000\"\n");
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let refuse = |change: &dyn Fn(&mut Addition)| {
            let mut changed = addition();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        for target in ["", "http://a\"\nmain = true", "http://a b", "http://a\\u0022", &"x".repeat(201), "http://ä"] {
            assert_eq!(refuse(&|a| target.clone_into(&mut a.target)), AdditionError::Target, "{target}");
        }
        for title in ["", "a\nb", "\u{7f}", &"x".repeat(101)] {
            assert_eq!(refuse(&|a| a.title = Some(title.to_owned())), AdditionError::Title, "{title}");
        }
        for preset in ["", "x\"", "Octo Print", "../x", "Octoprint"] {
            assert_eq!(refuse(&|a| a.preset = Some(preset.to_owned())), AdditionError::Preset, "{preset}");
        }
        let json = r#"{"name":"a","target":"tcp://10.0.0.1:22","prepare":[]}"#;
        assert!(serde_json::from_str::<Addition>(json).is_err(), "what it does not know it refuses");
    }
}
