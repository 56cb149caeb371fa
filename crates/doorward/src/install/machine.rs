//! The machine that is installed on: its file tree, who we are there, and its programs.

use super::service::Flavour;
use anyhow::{Context, bail, ensure};
use std::env;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) struct Machine {
    pub(super) root: PathBuf,
    /// The file tree is that of a system which does not run.
    pub(super) is_image: bool,
    pub(super) is_root: bool,
    pub(super) home: PathBuf,
    pub(super) config_home: PathBuf,
    /// Where commands are looked for, in order.
    pub(super) search: Vec<PathBuf>,
}

/// Where a service of a flavour finds what is its own.
pub(super) struct Places {
    pub(super) state: PathBuf,
    pub(super) config: PathBuf,
}

impl Machine {
    pub(super) fn here() -> Self {
        let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let config_home = env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        let search = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        let is_root = rustix::process::geteuid().is_root();
        Self { root: PathBuf::from("/"), is_image: false, is_root, home, config_home, search }
    }

    pub(super) fn image(root: &Path) -> anyhow::Result<Self> {
        ensure!(root.is_dir(), "--root {} is not a directory: mount the image first", root.display());
        Ok(Self { root: root.to_owned(), is_image: true, is_root: true, ..Self::here() })
    }

    /// Where an absolute path of this machine is for us.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn mode(&self, path: &Path) -> Option<u32> {
        Some(self.at(path).metadata().ok()?.permissions().mode())
    }

    fn has(&self, path: &str) -> bool {
        self.at(Path::new(path)).exists()
    }

    /// What starts services here, for this user.
    pub(super) fn flavour(&self) -> anyhow::Result<Flavour> {
        // sd_booted(3); an image has not booted, so the program itself is looked for.
        let has_systemd = match self.is_image {
            false => self.has("/run/systemd/system"),
            true => self.has("/usr/lib/systemd/systemd") || self.has("/lib/systemd/systemd"),
        };
        let has_procd = self.has("/sbin/procd") || self.has("/etc/openwrt_release");
        if has_systemd {
            return Ok(if self.is_root { Flavour::Systemd } else { Flavour::SystemdUser });
        }
        if has_procd && self.is_root {
            return Ok(Flavour::Procd);
        }
        if !self.is_image && self.find("crontab").is_some() {
            return Ok(Flavour::Cron);
        }
        bail!(
            "nothing here is known to start services with the machine: neither systemd nor OpenWrt's procd nor cron; \
             install cron, or have the command started by what there is"
        )
    }

    pub(super) fn places(&self, flavour: Flavour) -> Places {
        let places = |state: PathBuf, config: PathBuf| Places { state, config };
        match flavour {
            Flavour::Procd => places("/etc/doorward/state".into(), "/etc/doorward".into()),
            Flavour::Systemd => places("/var/lib/doorward".into(), "/etc/doorward".into()),
            Flavour::Cron if self.is_root => places("/var/lib/doorward".into(), "/etc/doorward".into()),
            Flavour::SystemdUser | Flavour::Cron => {
                places(self.home.join(".local/state/doorward"), self.config_home.join("doorward"))
            }
        }
    }

    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        if program.starts_with('/') {
            return Some(self.at(Path::new(program)));
        }
        self.search.iter().map(|directory| directory.join(program)).find(|path| path.is_file())
    }

    /// Runs a command to its end; its failure is an error with its own words.
    pub(super) fn run(&self, command: &[&str]) -> anyhow::Result<()> {
        self.run_with_input(command, None).map(|_| ())
    }

    /// The command's output. `input` goes to its stdin.
    pub(super) fn run_with_input(&self, command: &[&str], input: Option<&str>) -> anyhow::Result<String> {
        let shown = command.join(" ");
        let program = self.find(command[0]).with_context(|| format!("`{shown}`: there is no {}", command[0]))?;
        let mut child = Command::new(program)
            .args(&command[1..])
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{shown}` cannot be run"))?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            // A command that ends before it read everything says why by itself.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().with_context(|| format!("`{shown}` cannot be run"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{shown}` failed ({}): {}", output.status, words.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
