//! What the tests with real software share: a Doorward site in a world of its own.

pub mod browser;
pub mod film;
pub mod page;

use anyhow::{Context, Result, ensure};
use doorward_world::{Node, Process, Program, World, built, until};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

pub const SOON: Duration = Duration::from_secs(30);

/// A gateway on `world.gateway` and an agent on `world.device`, joined, running.
pub struct Site {
    pub folder: TempDir,
    pub gateway: Process,
    pub agent: Process,
}

impl Site {
    /// `gateway_toml` and `agent_toml` are the files of both sides; `device` is the name that the device gets.
    pub fn start(world: &World, device: &str, gateway_toml: &str, agent_toml: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("gateway.toml"), gateway_toml)?;
        std::fs::write(folder.path().join("agent.toml"), agent_toml)?;
        let mut gateway = world
            .gateway
            .spawn(&doorward(folder.path(), &["serve", "--config", "gateway.toml", "--data", "gateway"])?)?;
        gateway.wait_for_line("Doorward serves", SOON)?;
        std::fs::write(folder.path().join("invite"), invite(&world.gateway, &folder.path().join("gateway"))?)?;
        let join = doorward(folder.path(), &["join", "invite", "--name", device, "--state", "agent"])?;
        world.device.run_program(&join, SOON)?.ok()?;
        let agent = start_agent(&world.device, folder.path())?;
        Ok(Self { folder, gateway, agent })
    }
}

pub fn start_agent(node: &Node, folder: &Path) -> Result<Process> {
    node.spawn(&doorward(folder, &["agent", "--config", "agent.toml", "--state", "agent"])?)
}

pub fn doorward(folder: &Path, arguments: &[&str]) -> Result<Program> {
    Ok(Program::new(built("doorward")?).args(arguments).in_folder(folder))
}

/// A fresh invite, from the socket that only the gateway's owner can open.
pub fn invite(gateway: &Node, data: &Path) -> Result<String> {
    let socket = data.join("owner.sock");
    let ask = format!(
        "curl -sS --fail-with-body --unix-socket {} -H 'content-type: application/json' -d '{{}}' http://owner/api/v1/invites",
        socket.display()
    );
    let answer = gateway.run(&ask)?.ok()?;
    let answer: serde_json::Value = serde_json::from_str(&answer).context("the answer to an invite")?;
    Ok(answer["invite"].as_str().context("an invite in the answer")?.to_owned())
}

/// Waits until a visitor gets this status from a URL.
pub fn until_served(visitor: &Node, url: &str, status: u16) -> Result<Duration> {
    let fetch = format!("curl -sS -k -o /dev/null -w '%{{http_code}}' --max-time 3 {url}");
    until(SOON, &format!("{url} answers {status}"), || {
        let answered = visitor.run(&fetch)?;
        ensure!(answered.stdout.trim() == status.to_string(), "{url}: {} {}", answered.stdout, answered.stderr);
        Ok(true)
    })
}
