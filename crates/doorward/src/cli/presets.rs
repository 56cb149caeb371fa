//! `doorward presets`: what is known of applications.

use crate::terminal;
use clap::Args;
use doorward_agent::presets::Preset;
use std::fmt::Write;

#[derive(Debug, Args)]
pub(super) struct PresetsArgs {
    /// One of them, with all that is known.
    name: Option<String>,
}

impl PresetsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        terminal::print(&match self.name {
            Some(name) => whole(&name, Preset::find(&name)?),
            None => list(),
        })
    }
}

fn list() -> String {
    let mut text = String::new();
    for (name, preset) in Preset::all() {
        let _ = writeln!(text, "{name:<15} {:<9} {}", preset.standing(), preset.title);
    }
    text + "\nOne in full: `doorward presets octoprint`. In agent.toml: preset = \"octoprint\".\n"
}

fn whole(name: &str, preset: &Preset) -> String {
    let prefix = if preset.strip { "taken off" } else { "kept" };
    let mut text = format!("{name}: {}\n", preset.title);
    let mut line = |what: &str, value: &str| text += &format!("  {what:<12} {value}\n");
    if let Some(port) = preset.port {
        line("port", &port.to_string());
    }
    line("headers", preset.headers.word());
    if preset.forwarded {
        line("forwarded", "true");
    }
    line("path prefix", prefix);
    match (&preset.proven, &preset.tried) {
        (Some(version), _) => line("proven with", version),
        (None, Some(version)) => line("tried with", version),
        (None, None) => line("proven with", "nothing yet: tell us how it went"),
    }
    if !preset.open_paths.is_empty() {
        line("open paths", &format!("{} (it asks for keys of its own there)", preset.open_paths.join(", ")));
    }
    for note in &preset.notes {
        line("note", note);
    }
    text
}
