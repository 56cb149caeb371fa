//! Completions and man pages, made of the command line's own definition.

use crate::cli::Cli;
use anyhow::Context;
use clap::{CommandFactory, ValueEnum};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A script for the shell.
pub fn completions(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "doorward", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The page of the program itself (man(7), roff).
pub fn man_page() -> anyhow::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// A page for each command. Returns how many.
pub fn man_pages(directory: &Path) -> anyhow::Result<usize> {
    let unwritable = || format!("{} cannot be written to", directory.display());
    std::fs::create_dir_all(directory).with_context(unwritable)?;
    clap_mangen::generate_to(Cli::command(), directory).with_context(unwritable)?;
    let pages = std::fs::read_dir(directory).with_context(unwritable)?.flatten();
    Ok(pages.filter(|entry| entry.file_name().to_string_lossy().starts_with("doorward")).count())
}
