//! Suites that others wrote, against a gateway with a recording target behind it. `cargo xtask conformance` installs
//! what is needed and tells where it lies, and where the report goes.

mod api;
mod desync;
mod floods;
mod machine;
mod shell;
mod slow;
mod tls;
mod tools;

use anyhow::{Context, Result, bail};
use doorward::serve::settings::LimitsFile;
use doorward_agent::Service;
use doorward_lab::visitor::get;
use doorward_lab::web::{WebTarget, ok, web};
use doorward_lab::{Lab, LabDevice, Shape, service};
use std::ffi::OsString;

pub(crate) const HOST: &str = "page-pi.gw.test";

const HEAD: &str = "# Conformance\n\nWritten by `cargo xtask conformance`, from a release build. Attackers, visitors, device and target share one machine\nwith the gateway: waits are those of that machine.";

/// A gateway, a device and its page.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) page: WebTarget,
    _device: LabDevice,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::of(Shape::default(), Vec::new()).await
    }

    /// With more services.
    pub(crate) async fn with(services: Vec<Service>) -> Self {
        Self::of(Shape::default(), services).await
    }

    pub(crate) async fn of(shape: Shape, services: Vec<Service>) -> Self {
        let lab = Lab::of(Shape { limits: unlimited(), ..shape }).await;
        // Large enough that who reads slowly has something to read.
        let body = "x".repeat(100_000);
        let page = web(move |_| ok(&body)).await;
        let services = [vec![service("page", &page.url())], services].concat();
        let device = lab.device("pi", services).await;
        assert_eq!(get(lab.http(), HOST, "/").await.body.len(), 100_000);
        Self { lab, page, _device: device }
    }
}

/// The suites come from one address and ask fast; what limits sources has tests of its own.
pub(crate) fn unlimited() -> LimitsFile {
    LimitsFile {
        connections_per_source: Some(2000),
        handshakes_per_source: Some(2000),
        requests_per_second_per_source: Some(0),
        requests_per_second_per_service: Some(0),
        ..LimitsFile::default()
    }
}

/// One part of the report.
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// What was promised and is not so.
    pub(crate) failures: Vec<String>,
}

pub(crate) fn setting(name: &str) -> Result<OsString> {
    std::env::var_os(name).with_context(|| format!("{name} is not set; start this by `cargo xtask conformance`"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut chapters = Vec::new();
    if wants("api") {
        chapters.push(api::run_all().await?);
    }
    if wants("desync") {
        chapters.push(desync::run().await?);
    }
    if wants("floods") {
        chapters.push(floods::run().await?);
    }
    if wants("http2") {
        chapters.push(tools::http2().await?);
    }
    if wants("slow") {
        chapters.push(slow::run().await?);
    }
    if wants("tls") {
        chapters.push(tls::sslyze().await?);
        chapters.push(tls::testssl().await?);
    }
    if wants("ssh") {
        chapters.push(shell::run().await?);
    }
    let parts = chapters.iter().map(|chapter| format!("\n## {}\n\n{}\n", chapter.title, chapter.text.trim_end()));
    let report = format!("{HEAD} {}\n{}", machine::describe(), parts.collect::<String>());
    println!("{report}");
    if let Some(path) = std::env::var_os("DOORWARD_REPORT") {
        std::fs::write(&path, &report).with_context(|| path.display().to_string())?;
    }
    let failures: Vec<&String> = chapters.iter().flat_map(|chapter| &chapter.failures).collect();
    for failure in &failures {
        eprintln!("not as promised: {failure}");
    }
    if failures.is_empty() { Ok(()) } else { bail!("{} promises are not kept", failures.len()) }
}
