//! OpenSSH's `ssh -R`, all visitors in one connection: to an sshd of our own, and the same client to Doorward.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorward_world::built;

use super::{Cipher, required};
use crate::process::Running;
use crate::site::{Machine, Site, Tunnel, free_port, output};

const TO_START: Duration = Duration::from_secs(20);
/// The device's name.
const DEVICE: &str = "bench";

pub(super) fn version() -> Result<String> {
    let output = Command::new(required("ssh")?).arg("-V").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.split(',').next().unwrap_or_default().trim().to_owned())
}

pub(super) async fn to_sshd(site: &Site, cipher: Cipher, name: &str) -> Result<Tunnel> {
    let folder = site.make_folder(name)?;
    let (link, entrance) = (site.free()?, site.free()?);
    let path = |file: &str| folder.join(file).display().to_string();
    make_key(&folder, "host")?;
    make_key(&folder, "user")?;
    // It separates privileges in this folder and does not make it itself. Only root needs it.
    let _not_root = fs::create_dir_all("/run/sshd");
    let settings = format!(
        "ListenAddress {link}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nLogLevel VERBOSE\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowTcpForwarding yes\n\
         GatewayPorts clientspecified\nUseDNS no\n",
        path("host"),
        path("user.pub"),
    );
    fs::write(path("sshd_config"), settings)?;
    let mut command = site.gateway.command(required("sshd")?)?;
    command.args(["-D", "-e", "-f", &path("sshd_config")]);
    let mut server = Running::start("sshd", command, &folder)?;
    server.wait_for("Server listening", TO_START).await?;

    let user = env::var("USER").or_else(|_| output(Command::new("whoami"))).context("who are you?")?;
    let mut command = forwarding(&site.device, cipher, &folder)?;
    command.args(["-l", user.trim(), "-p", &link.port().to_string()]);
    command.args(["-R", &format!("{entrance}:{}", site.target), &link.ip().to_string()]);
    let client = Running::start("ssh", command, &folder)?;
    Ok(Tunnel { server, client, entrance, page: None })
}

pub(super) async fn to_doorward(site: &Site, cipher: Cipher, name: &str) -> Result<Tunnel> {
    let folder = site.make_folder(name)?;
    let (ssh, web, entrance) = (site.free()?, site.free()?, site.free()?);
    let path = |file: &str| folder.join(file).display().to_string();
    fs::write(
        path("gateway.toml"),
        format!(
            "addresses = [\"tls://{web}\"]\n\
             [listen]\n\
             https = [\"{web}\"]\n\
             quic = []\n\
             ssh = [\"{ssh}\"]\n\
             ports = [\"{}\"]\n\
             operations = \"127.0.0.1:{}\"\n\
             [ports]\n\
             tcp = \"{port}-{port}\"\n\
             [limits]\n\
             connections = 20000\n\
             connections-per-source = 20000\n",
            site.gateway_ip,
            free_port()?,
            port = entrance.port(),
        ),
    )?;
    let program = built("doorward")?;
    let mut serve = site.gateway.command(&program)?;
    serve.args(["serve", "--config", &path("gateway.toml"), "--data", &path("data")]);
    let mut server = Running::start("serve", serve, &folder)?;
    server.wait_for("Doorward serves.", TO_START).await?;
    make_key(&folder, "user")?;
    let owner = |words: &[&str]| -> Result<Command> {
        let mut command = site.gateway.command(&program)?;
        command.args(words).args(["--data", &path("data")]);
        Ok(command)
    };
    let mut add = owner(&["devices", "add-key", DEVICE])?;
    add.stdin(Stdio::from(fs::File::open(path("user.pub"))?));
    output(add)?;

    let forward = format!("{}:{}", entrance.port(), site.target);
    let offer = || -> Result<Command> {
        let mut command = forwarding(&site.device, cipher, &folder)?;
        command.args(["-p", &ssh.port().to_string(), "-R", &forward, &ssh.ip().to_string()]);
        Ok(command)
    };
    // Refused until somebody allows the port, which it reserves.
    let refused = offer()?.output()?;
    ensure!(!refused.status.success(), "a port was opened that nobody had allowed");
    output(owner(&["access", &format!("{DEVICE}/port-{}", entrance.port()), "set", "--public"])?)?;
    let client = Running::start("ssh", offer()?, &folder)?;
    Ok(Tunnel { server, client, entrance, page: None })
}

fn make_key(folder: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(required("ssh-keygen")?);
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
    output(command).map(drop)
}

/// The client, without server and forward.
fn forwarding(device: &Machine, cipher: Cipher, folder: &Path) -> Result<Command> {
    let cipher = match cipher {
        Cipher::ChaCha20 => "chacha20-poly1305@openssh.com",
        Cipher::Aes128 => "aes128-gcm@openssh.com",
    };
    let mut command = device.command(required("ssh")?)?;
    command.args(["-N", "-T", "-F", "none", "-c", cipher, "-i"]).arg(folder.join("user"));
    let options =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes", "BatchMode=yes"];
    for option in options {
        command.args(["-o", option]);
    }
    Ok(command)
}
