//! SSH clients of others, with keys of their own.

mod way_in;

pub use way_in::WayIn;

use crate::{LIMIT, LOOPBACK, Lab};
use doorward_control::NewHolder;
use doorward_core::names::Label;
use doorward_core::ssh::PublicKey;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An Ed25519 key in files.
pub struct Key {
    directory: TempDir,
}

/// What OpenSSH answers when it is asked for a password.
pub struct Password {
    unknown: Key,
}

/// A client that runs, and what it has said so far.
pub struct Client {
    pub child: Child,
    said: Arc<Mutex<String>>,
    listeners: Vec<JoinHandle<()>>,
}

/// One that has ended.
#[derive(Debug)]
pub struct Ended {
    pub is_success: bool,
    pub said: String,
}

impl Key {
    pub fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut keygen = std::process::Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.path().join("key"));
        assert!(keygen.status().unwrap().success());
        Self { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// The same for clients that keep their keys otherwise.
    pub fn for_dropbear(&self) -> PathBuf {
        let path = self.directory.path().join("dropbear");
        let mut convert = std::process::Command::new("dropbearconvert");
        convert.args(["openssh", "dropbear"]).arg(self.path()).arg(&path).stderr(Stdio::null());
        assert!(convert.status().unwrap().success());
        path
    }

    pub fn for_putty(&self) -> PathBuf {
        let path = self.directory.path().join("key.ppk");
        let mut convert = std::process::Command::new("puttygen");
        convert.arg(self.path()).args(["-O", "private", "-o"]).arg(&path);
        assert!(convert.status().unwrap().success());
        path
    }

    pub fn public(&self) -> PublicKey {
        std::fs::read_to_string(self.directory.path().join("key.pub")).unwrap().parse().unwrap()
    }
}

impl Password {
    pub fn new(text: &str) -> Self {
        let unknown = Key::make();
        let (secret, say) = (unknown.directory.path().join("secret"), unknown.directory.path().join("say"));
        std::fs::write(&secret, format!("{text}\n")).unwrap();
        std::fs::write(&say, format!("#!/bin/sh\nexec cat {}\n", secret.display())).unwrap();
        std::fs::set_permissions(&say, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { unknown }
    }
}

impl Lab {
    /// A key that is a device's.
    pub async fn ssh_device(&self, name: &str) -> Key {
        self.ssh_key(NewHolder::Device(Label::parse(name).unwrap())).await
    }

    /// A key that is a person's.
    pub async fn ssh_person(&self, name: &str) -> Key {
        self.ssh_key(NewHolder::Person(Label::parse(name).unwrap())).await
    }

    pub async fn remove_person(&self, name: &str) {
        let person = self.control().snapshot().person_by_name(&Label::parse(name).unwrap()).unwrap().id;
        self.control().remove_person(person, None, jiff::Timestamp::now()).await.unwrap();
    }

    async fn ssh_key(&self, holder: NewHolder) -> Key {
        let key = Key::make();
        self.control().add_ssh_keys(holder, vec![key.public()], jiff::Timestamp::now()).await.unwrap();
        key
    }

    pub fn ssh_port(&self) -> String {
        self.gateway.gateway.bound().ssh[0].port().to_string()
    }

    /// OpenSSH with this key and no other, before the host's name.
    pub fn openssh(&self, key: &Path) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-p", &self.ssh_port(), "-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        // Enter, whatever it asks.
        command.env("SSH_ASKPASS", "/bin/true").env("SSH_ASKPASS_REQUIRE", "force");
        command
    }

    /// The same with a key that nobody knows, as somebody has who comes by password.
    pub fn openssh_by_password(&self, password: &Password) -> Command {
        let mut command = self.openssh(&password.unknown.path());
        command.env("SSH_ASKPASS", password.unknown.directory.path().join("say"));
        command
    }
}

/// The gateway, as clients are told.
pub fn gateway() -> String {
    LOOPBACK.to_string()
}

pub fn start(mut command: Command) -> Client {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let said = Arc::<Mutex<String>>::default();
    let listeners = vec![
        tokio::spawn(listen(child.stdout.take().unwrap(), said.clone())),
        tokio::spawn(listen(child.stderr.take().unwrap(), said.clone())),
    ];
    Client { child, said, listeners }
}

pub async fn run(command: Command) -> Ended {
    let mut client = start(command);
    client.until_ended().await;
    let status = client.child.wait().await.unwrap();
    Ended { is_success: status.success(), said: client.said() }
}

impl Client {
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub async fn until_said(&self, what: &str) {
        let started = std::time::Instant::now();
        while !self.said().contains(what) {
            assert!(started.elapsed() < LIMIT, "\"{what}\" was not said: {}", self.said());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub async fn end(mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn until_ended(&mut self) {
        timeout(LIMIT, self.child.wait()).await.expect("the client ends").unwrap();
        for listener in self.listeners.drain(..) {
            timeout(LIMIT, listener).await.expect("its words end with it").unwrap();
        }
    }
}

async fn listen(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        said.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}
