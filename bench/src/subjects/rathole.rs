//! <https://github.com/rathole-org/rathole>: a connection for each visitor, from a small pool of opened ones.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Transport, required};
use crate::process::Running;
use crate::site::{Identity, Site, Tunnel, output};

const PASSWORD: &str = "bench";

pub(super) fn version() -> Result<String> {
    let mut command = Command::new(required("rathole")?);
    command.arg("--version");
    let said = output(command)?;
    let version = said.lines().find_map(|line| line.strip_prefix("Build Version:"));
    Ok(format!("rathole {}", version.unwrap_or(&said).trim()))
}

pub(super) fn start(site: &Site, transport: Transport, name: &str) -> Result<Tunnel> {
    let folder = site.make_folder(name)?;
    let (link, entrance) = (site.free()?, site.free()?);
    let (server_transport, client_transport) = match transport {
        Transport::Tcp => Default::default(),
        Transport::Tls => tls(&site.identity, &folder)?,
        Transport::Noise => noise()?,
    };
    let (server_file, client_file) = (folder.join("server.toml"), folder.join("client.toml"));
    let server = format!(
        "[server]\nbind_addr = \"{link}\"\ndefault_token = \"bench\"\n{server_transport}\
         [server.services.bench]\nbind_addr = \"{entrance}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"{link}\"\ndefault_token = \"bench\"\n{client_transport}\
         [client.services.bench]\nlocal_addr = \"{}\"\n",
        site.target
    );
    fs::write(&server_file, server)?;
    fs::write(&client_file, client)?;
    let program = required("rathole")?;
    let mut command = site.gateway.command(&program)?;
    command.arg("--server").arg(&server_file);
    let server = Running::start("server", command, &folder)?;
    let mut command = site.device.command(&program)?;
    command.arg("--client").arg(&client_file);
    let client = Running::start("client", command, &folder)?;
    Ok(Tunnel { server, client, entrance, page: None })
}

/// The transport's sections of both files.
fn tls(identity: &Identity, folder: &Path) -> Result<(String, String)> {
    let bundle = folder.join("identity.p12");
    let mut command = Command::new(required("openssl")?);
    command.args(["pkcs12", "-export", "-passout", &format!("pass:{PASSWORD}")]);
    command.arg("-inkey").arg(&identity.key).arg("-in").arg(&identity.certificate).arg("-out").arg(&bundle);
    output(command)?;
    let server = format!(
        "[server.transport]\ntype = \"tls\"\n[server.transport.tls]\npkcs12 = \"{}\"\npkcs12_password = \"{PASSWORD}\"\n",
        bundle.display()
    );
    let client = format!(
        "[client.transport]\ntype = \"tls\"\n[client.transport.tls]\ntrusted_root = \"{}\"\nhostname = \"localhost\"\n",
        identity.certificate.display()
    );
    Ok((server, client))
}

fn noise() -> Result<(String, String)> {
    let mut command = Command::new(required("rathole")?);
    command.arg("--genkey");
    let said = output(command)?;
    let mut lines = said.lines();
    let mut after = |title: &str| {
        lines.find(|line| line.starts_with(title));
        lines.next().map(str::trim).with_context(|| format!("rathole --genkey said {said:?}"))
    };
    let (private, public) = (after("Private Key")?, after("Public Key")?);
    let server =
        format!("[server.transport]\ntype = \"noise\"\n[server.transport.noise]\nlocal_private_key = \"{private}\"\n");
    let client =
        format!("[client.transport]\ntype = \"noise\"\n[client.transport.noise]\nremote_public_key = \"{public}\"\n");
    Ok((server, client))
}
