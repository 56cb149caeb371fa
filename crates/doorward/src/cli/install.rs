//! `doorward install` and `doorward uninstall`.

use crate::install::{self, Flavour, InstallOptions, Part};
use crate::terminal;
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Writes a service for whatever starts services here: systemd (of the machine for
root, of the user otherwise), procd on OpenWrt, or the user's crontab. Doing it
again changes only what differs.

Examples:
  doorward install agent                    for this user, no root needed
  sudo doorward install agent --copy        for the machine, the program too
  sudo doorward install gateway
  sudo doorward install router              pinholes in this router's firewall
  doorward install agent --print            only shows what would be written
  sudo doorward install agent --root /mnt/card --invite-file /boot/invite.txt";

pub(super) const UNINSTALL_EXAMPLES: &str = "\
Keys, settings and stores stay; it says where they are. A router's rules go.

Examples:
  doorward uninstall agent
  sudo doorward uninstall gateway";

#[derive(Debug, Args)]
pub(super) struct WhatArgs {
    /// What to run.
    part: Part,
    /// What starts it; otherwise whatever starts services here.
    #[arg(long)]
    flavour: Option<Flavour>,
    /// The file tree of another system, as a mounted image: files are written there, nothing is started.
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The settings, if not in /etc/doorward (root) or ~/.config/doorward.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The agent joins with the invite in this file at its first start (for images that are copied).
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
    /// The program to start, already in place.
    #[arg(long, value_name = "FILE", conflicts_with = "copy")]
    program: Option<PathBuf>,
    /// Copy this program to where programs belong, and start that.
    #[arg(long)]
    copy: bool,
    /// Replace files that were not written by `doorward install`, and use a program that will probably vanish.
    #[arg(long)]
    force: bool,
    /// Start it with the machine, not now.
    #[arg(long)]
    no_start: bool,
    /// Only show what would be written.
    #[arg(long)]
    print: bool,
}

impl WhatArgs {
    fn options(self) -> InstallOptions {
        InstallOptions { flavour: self.flavour, root: self.root, ..InstallOptions::new(self.part) }
    }

    pub(super) async fn uninstall(self) -> anyhow::Result<()> {
        let options = self.options();
        let report = tokio::task::spawn_blocking(move || install::uninstall(&options)).await??;
        terminal::print(&report.to_string())
    }
}

impl InstallArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let options = InstallOptions {
            config: self.config,
            invite_file: self.invite_file,
            program: self.program,
            copy: self.copy,
            force: self.force,
            start: !self.no_start,
            ..self.what.options()
        };
        let is_preview = self.print;
        let work = move || match is_preview {
            true => install::preview(&options),
            false => install::install(&options).map(|report| report.to_string()),
        };
        terminal::print(&tokio::task::spawn_blocking(work).await??)
    }
}
