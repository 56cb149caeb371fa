use anyhow::{Result, bail};
use serde::Deserialize;

/// How much a finding weighs, in cargo-deny's words.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Deny,
    Warn,
    Allow,
}

/// What a step found: problems fail it, notes are shown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn at(&mut self, level: Level, text: impl Into<String>) {
        match level {
            Level::Deny => self.problem(text),
            Level::Warn => self.note(text),
            Level::Allow => {}
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        for note in &self.notes {
            println!("note: {note}");
        }
        if !self.problems.is_empty() {
            bail!("{}", self.problems.join("\n"));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    #[cfg(test)]
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}
