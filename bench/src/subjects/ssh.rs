//! OpenSSH: `ssh -R` to an sshd of our own, all visitors in one connection.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::required;
use crate::process::Running;
use crate::site::{Site, Tunnel, output};

const TO_START: Duration = Duration::from_secs(20);
const CIPHER: &str = "aes128-gcm@openssh.com";

pub(super) fn version() -> Result<String> {
    let output = Command::new(required("ssh")?).arg("-V").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.split(',').next().unwrap_or_default().trim().to_owned())
}

pub(super) async fn start(site: &Site) -> Result<Tunnel> {
    let folder = site.make_folder("ssh")?;
    let (link, entrance) = (site.free()?, site.free()?);
    let path = |file: &str| folder.join(file).display().to_string();
    for key in ["host", "user"] {
        let mut command = Command::new(required("ssh-keygen")?);
        command.args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
        output(command)?;
    }
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
    let mut command = site.device.command(required("ssh")?)?;
    command.args(["-N", "-T", "-F", "none", "-i", &path("user"), "-l", user.trim(), "-c", CIPHER]);
    command.args(["-p", &link.port().to_string()]);
    let options =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes", "BatchMode=yes"];
    for option in options {
        command.args(["-o", option]);
    }
    command.args(["-R", &format!("{entrance}:{}", site.target), &link.ip().to_string()]);
    let client = Running::start("ssh", command, &folder)?;
    Ok(Tunnel { server, client, entrance, page: None })
}
