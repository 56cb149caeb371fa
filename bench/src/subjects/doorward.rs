//! Ourselves, as installed: `serve` with an own data directory, `join`, `agent`. The link has one carrier to choose
//! from; limits for strangers are out of the way, because all visitors come from one address.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use doorward_world::built;

use super::Carrier;
use crate::http::Page;
use crate::process::Running;
use crate::site::{PAGE_HOST, Site, Tunnel, free_port, output};

const TO_START: Duration = Duration::from_secs(20);

pub(super) fn version() -> Result<String> {
    let mut command = Command::new(built("doorward")?);
    command.arg("--version");
    Ok(output(command)?.trim().to_owned())
}

pub(super) async fn start(site: &Site, carrier: Carrier, name: &str) -> Result<Tunnel> {
    let folder = site.make_folder(name)?;
    let (link, entrance) = (site.free()?, site.free()?);
    let path = |file: &str| folder.join(file).display().to_string();
    let scheme = match carrier {
        Carrier::Quic => "quic",
        Carrier::Tls => "tls",
    };
    fs::write(
        path("gateway.toml"),
        format!(
            "addresses = [\"{scheme}://{link}\"]\n\
             [listen]\n\
             https = [\"{link}\"]\n\
             quic = [\"{link}\"]\n\
             ssh = []\n\
             ports = [\"{}\"]\n\
             operations = \"127.0.0.1:{}\"\n\
             [certificate]\n\
             chain = \"{}\"\n\
             key = \"{}\"\n\
             [ports]\n\
             tcp = \"{port}-{port}\"\n\
             [limits]\n\
             connections = 20000\n\
             connections-per-source = 20000\n",
            site.gateway_ip,
            free_port()?,
            site.identity.certificate.display(),
            site.identity.key.display(),
            port = entrance.port(),
        ),
    )?;
    fs::write(
        path("agent.toml"),
        format!(
            "[[service]]\n\
             name = \"bench\"\n\
             target = \"tcp://{target}\"\n\
             entrances = [{{ tcp-port = {} }}]\n\
             access = {{ who = \"public\" }}\n\
             [[service]]\n\
             name = \"page\"\n\
             target = \"http://{target}\"\n\
             access = {{ who = \"public\" }}\n",
            entrance.port(),
            target = site.target,
        ),
    )?;
    let program = built("doorward")?;
    let mut serve = site.gateway.command(&program)?;
    serve.args(["serve", "--config", &path("gateway.toml"), "--data", &path("data")]);
    let mut server = Running::start("serve", serve, &folder)?;
    server.wait_for("Doorward serves.", TO_START).await?;
    join(site, &program, &folder)?;
    let mut agent = site.device.command(&program)?;
    agent.args(["agent", "--config", &path("agent.toml"), "--state", &path("state")]);
    let mut client = Running::start("agent", agent, &folder)?;
    client.wait_for("page is reached at", TO_START).await?;
    let page = Page { at: link, host: PAGE_HOST.to_owned(), certificate: Some(site.identity.certificate_text.clone()) };
    Ok(Tunnel { server, client, entrance, page: Some(page) })
}

fn join(site: &Site, program: &Path, folder: &Path) -> Result<()> {
    let path = |file: &str| folder.join(file).display().to_string();
    let mut invite = site.gateway.command(program)?;
    invite.args(["invite", "--no-qr", "--data", &path("data")]);
    fs::write(path("invite"), output(invite)?)?;
    let mut join = site.device.command(program)?;
    join.args(["join", &path("invite"), "--name", "bench", "--state", &path("state")]);
    output(join).map(drop)
}
