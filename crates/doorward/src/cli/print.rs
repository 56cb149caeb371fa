//! `doorward print nginx|caddy|apache`: the part of a web server's settings that puts it in front of the gateway.

use crate::front::{Front, WebServer};
use crate::serve::settings::{Behind, File};
use crate::terminal;
use anyhow::Context;
use clap::Args;
use doorward_core::names::{HostName, PathPrefix};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
What is not said here is taken from gateway.toml.

Examples:
  doorward print nginx --domain example.org > /etc/nginx/conf.d/doorward.conf
  doorward print nginx --path /zumi01/ > /etc/nginx/snippets/doorward.conf
  doorward print caddy --domain example.org >> /etc/caddy/Caddyfile
  doorward print apache --behind unix:/run/doorward/web.sock
  doorward serve --domain example.org --behind 127.0.0.1:8080";

#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    /// The web server that has the public ports.
    #[arg(value_enum)]
    server: WebServer,
    /// As for `doorward serve`.
    #[arg(long, value_parser = HostName::parse)]
    domain: Option<HostName>,
    /// As for `doorward serve` [default: 127.0.0.1:8080].
    #[arg(long, value_name = "IP:PORT", value_parser = Behind::parse)]
    behind: Option<Behind>,
    /// Only this path of a site that is there already; may be repeated.
    #[arg(long = "path", value_name = "PATH", value_parser = PathPrefix::parse)]
    paths: Vec<PathPrefix>,
    /// The settings, if not in /etc/doorward/gateway.toml (root) or ~/.config/doorward/gateway.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const USUAL: Behind = Behind::Port(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080));

impl PrintArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let file = File::read(self.config.as_deref())?;
        let domain = self.domain.or(file.domain).context("which domain? Say --domain, or domain in gateway.toml")?;
        let front = Front { domain, gateway: self.behind.or(file.behind).unwrap_or(USUAL), paths: self.paths };
        terminal::print(&front.settings(self.server))
    }
}
