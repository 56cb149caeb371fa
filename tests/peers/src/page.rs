//! Pages whose lines are run as they are written. A block says in the words after ``` whose machine it is for:
//! "sh gateway", "sh device"; `stays`: it does not end by itself.

use anyhow::{Context, Result, bail, ensure};
use doorward_world::{Node, Output, Process, Program, built};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const TO_RUN: Duration = Duration::from_secs(30);

/// The blocks of a page that nobody has run yet.
pub struct Page {
    name: &'static str,
    blocks: VecDeque<Block>,
    /// What stands in the page for something that differs each time, and what it is this time.
    meant: Vec<(String, String)>,
}

#[derive(Debug)]
struct Block {
    words: String,
    text: String,
}

impl Page {
    /// `name`: a file in docs/.
    pub fn read(name: &'static str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut blocks = VecDeque::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(words) = line.trim_start().strip_prefix("```") {
                let inside: Vec<&str> =
                    lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
                blocks.push_back(Block { words: words.to_owned(), text: inside.join("\n") });
            }
        }
        ensure!(!blocks.is_empty(), "{name} shows nothing");
        Ok(Self { name, blocks, meant: Vec::new() })
    }

    /// From now on `written` means `what`; it must stand in the page.
    pub fn means(&mut self, written: &str, what: &str) -> Result<()> {
        let is_there = self.blocks.iter().any(|block| block.text.contains(written));
        ensure!(is_there, "nothing that follows in {} says {written:?}", self.name);
        self.meant.retain(|(before, _)| before != written);
        self.meant.push((written.to_owned(), what.to_owned()));
        Ok(())
    }

    /// The text of the next block, which must have these words.
    pub fn next(&mut self, words: &str) -> Result<String> {
        let block = self.blocks.pop_front().with_context(|| format!("{} ends before {words:?}", self.name))?;
        ensure!(block.words == words, "{}: instead of {words:?} comes {block:?}", self.name);
        Ok(self.meant.iter().fold(block.text, |text, (written, what)| text.replace(written, what)))
    }

    /// Runs the next block where it belongs; it must succeed. What it said.
    pub fn run(&mut self, words: &str, on: &Node) -> Result<String> {
        let output = self.try_run(words, on)?;
        ensure!(output.succeeded(), "{output:?}");
        Ok(output.stdout + &output.stderr)
    }

    pub fn try_run(&mut self, words: &str, on: &Node) -> Result<Output> {
        let text = self.next(words)?;
        on.run_program(&program(on, &text), TO_RUN)
    }

    /// Starts the next block, one line that stays.
    pub fn start(&mut self, words: &str, on: &Node) -> Result<Process> {
        let text = self.next(words)?;
        on.spawn(&program(on, &format!("exec {text}")))
    }

    pub fn finish(self) -> Result<()> {
        match self.blocks.front() {
            None => Ok(()),
            Some(block) => bail!("{}: nobody has run {block:?}", self.name),
        }
    }
}

/// As somebody types it there, in their own folder.
pub fn program(on: &Node, text: &str) -> Program {
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", on.folder().display());
    Program::shell(text).in_folder(on.folder()).env("PATH", path).env("HOME", home())
}

fn home() -> String {
    std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())
}

/// `sudo` that grants all, and `doorward` with its data where this node has it.
pub fn equip_gateway(node: &Node) -> Result<()> {
    let data = node.folder().join("data");
    put_program(node, "sudo", "exec \"$@\"")?;
    put_program(
        node,
        "doorward",
        &format!("exec '{}' \"$@\" --data '{}'", built("doorward")?.display(), data.display()),
    )
}

/// `sudo`, and an empty home that is this node's alone: SSH keeps its keys there.
pub fn equip_home(node: &Node) -> Result<()> {
    put_program(node, "sudo", "exec \"$@\"")?;
    let own = node.folder().join("home");
    fs::create_dir_all(&own)?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700))?;
    // OpenSSH asks the system where that is, not the environment.
    node.run(&format!("mount --bind '{}' \"$(getent passwd $(id -u) | cut -d: -f6)\"", own.display()))?.ok().map(drop)
}

fn put_program(node: &Node, name: &str, script: &str) -> Result<()> {
    let folder = node.folder().join("bin");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
