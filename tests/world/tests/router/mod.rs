//! The router's daemon on the home router, and an agent that says what it wants in the bytes that are documented.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod steps;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::site::SOON;
use doorward_world::{Node, Process, Program, World, addresses as at, built};
use serde_json::{Value, json};

/// What the owner of the home allows.
pub(crate) const FILE: &str = r#"
public-ports = ["40000-60000"]
lan = ["192.168.77.0/24"]

[[allow]]
target = "192.168.77.0/24"
ports = [22, 8000]
longest-seconds = 3600

[[allow]]
target = "2001:db8:78::/64"
ports = [22]
longest-seconds = 3600
"#;

pub(crate) struct Daemon {
    pub(crate) process: Process,
    node: Node,
}

pub(crate) fn socket(node: &Node) -> PathBuf {
    node.folder().join("run/router.sock")
}

fn file(node: &Node) -> PathBuf {
    node.folder().join("router.toml")
}

pub(crate) fn write_file(node: &Node, text: &str) -> Result<()> {
    // Whom to become: where only one user exists, as in a user namespace, that one.
    let has_users = fs::read_to_string("/proc/self/uid_map")?.contains("4294967295");
    let user = if has_users { "nobody" } else { "root" };
    fs::write(file(node), format!("user = \"{user}\"\nagent = \"root\"\n{text}"))?;
    Ok(fs::set_permissions(file(node), Permissions::from_mode(0o600))?)
}

pub(crate) fn program(node: &Node, words: &[&str]) -> Result<Program> {
    let program = Program::new(built("doorward")?).args(["--log", "debug", "router"]);
    Ok(program.args(["--config".into(), file(node)]).args(["--socket".into(), socket(node)]).args(words))
}

impl Daemon {
    pub(crate) fn start(world: &World) -> Result<Daemon> {
        Daemon::start_with(world, FILE)
    }

    pub(crate) fn start_with(world: &World, text: &str) -> Result<Daemon> {
        write_file(&world.home_router, text)?;
        Daemon::start_again(&world.home_router)
    }

    /// With the file that is there.
    pub(crate) fn start_again(node: &Node) -> Result<Daemon> {
        let mut process = node.spawn(&program(node, &[])?)?;
        process.wait_for_line("listening for the agent", SOON)?;
        Ok(Daemon { process, node: node.clone() })
    }

    /// Says all that is wanted, and returns what became of it.
    pub(crate) fn want(&self, pinholes: &[Value]) -> Result<Value> {
        let answer = self.say(&serde_json::to_vec(&json!({ "pinholes": pinholes }))?)?.context("no answer")?;
        ensure!(answer["fault"].is_null(), "{answer}");
        Ok(answer)
    }

    /// Wants them, and each is ready or was used already.
    pub(crate) fn open(&self, pinholes: &[Value]) -> Result<()> {
        let answer = self.want(pinholes)?;
        let told = answer["pinholes"].as_array().context("a list")?;
        ensure!(told.len() == pinholes.len(), "{answer}");
        let is_open = |told: &Value| told["state"] == "ready" || told["state"] == "passed";
        let shut: Vec<_> = told.iter().filter(|told| !is_open(told)).take(3).collect();
        ensure!(shut.is_empty(), "{shut:?}");
        Ok(())
    }

    /// A message of any bytes; `None`: it was hung up on.
    pub(crate) fn say(&self, message: &[u8]) -> Result<Option<Value>> {
        let mut stream = UnixStream::connect(socket(&self.node))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let length = u32::try_from(message.len())?.to_be_bytes();
        // It may be hung up on while it is still said.
        let _said = stream.write_all(&length).and_then(|()| stream.write_all(message));
        let mut bytes = Vec::new();
        let _heard = stream.read_to_end(&mut bytes);
        bytes.get(4..).map(|bytes| Ok(serde_json::from_slice(bytes)?)).transpose()
    }
}

/// An opening for the visitor to port 22 of the device.
pub(crate) fn nas(id: &str, lasts: Duration) -> Value {
    for_source(id, 40022, &at::VISITOR[0].to_string(), lasts)
}

pub(crate) fn for_source(id: &str, port: u16, source: &str, lasts: Duration) -> Value {
    json!({
        "id": id, "remaining-ms": lasts.as_millis() as u64, "protocol": "tcp",
        "translated": {
            "public-port": port, "target": format!("{}:22", at::DEVICE[0]), "sources": [source]
        }
    })
}

/// The same in IPv6.
pub(crate) fn direct(id: &str, lasts: Duration) -> Value {
    json!({
        "id": id, "remaining-ms": lasts.as_millis() as u64, "protocol": "tcp",
        "direct": { "target": format!("[{}]:22", at::DEVICE[1]), "sources": [at::VISITOR[1]] }
    })
}

pub(crate) fn by_udp(mut pinhole: Value) -> Value {
    pinhole["protocol"] = "udp".into();
    pinhole
}

pub(crate) fn change(mut pinhole: Value, pointer: &str, to: impl Into<Value>) -> Value {
    *pinhole.pointer_mut(pointer).expect("there is such a key") = to.into();
    pinhole
}
