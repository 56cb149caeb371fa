//! `doorward serve`: the gateway with its store, its operations port and the socket for the owner's commands.

pub mod home;
mod names;
mod portal;
mod reload;
pub mod settings;

pub use reload::Source;

use crate::agent::{self, Places, Start};
use crate::{invite, open_files, operations, shutdown, terminal};
use anyhow::Context;
use doorward_alerts::Alerts;
use doorward_control::{Control, ControlSettings, InviteRequest, accounts};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::invite::Invite;
use doorward_core::site::Address;
use doorward_gateway::{CertificateSource, Gateway};
use doorward_oidc::Providers;
use home::Home;
use jiff::Timestamp;
use settings::{Fixed, ServeSettings};
use std::io::IsTerminal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// A gateway with all that belongs to it, running.
pub struct Running {
    pub control: Control,
    pub gateway: Gateway,
    pub addresses: Vec<Address>,
    operations: operations::Operations,
    telling: Alerts,
    providers: Providers,
    house: AbortOnDropHandle<()>,
    built_in: Option<agent::Running>,
    home: Option<Home>,
    stop: CancellationToken,
    drain: std::time::Duration,
    fixed: Fixed,
    certificate: CertificateSource,
}

/// Where the built-in agent keeps its key, in the data directory.
const BUILT_IN_STATE: &str = "built-in";

/// Starts everything, or nothing.
pub async fn start(settings: ServeSettings) -> anyhow::Result<Running> {
    let ServeSettings {
        directory, site, mut gateway, operations, built_in, home, drain, audit, alerts, providers, ..
    } = settings;
    let (fixed, offline_after) = (settings.fixed, settings.offline_after);
    let certificate = gateway.certificate.clone();
    let control = Control::open(ControlSettings { directory, site, now: Timestamp::now() }).await?;
    let (portal, told) = operations::portal_state(&control);
    portal.providers.serve(providers);
    let providers = portal.providers.clone();
    gateway.portal = Some(portal::target(portal.clone()));
    control.keep_audit(audit);
    control.tell_absence_after(offline_after);
    let mut telling = Alerts::new(control.clone());
    telling.serve(alerts);
    let gateway = Gateway::start(gateway, control.clone()).await?;
    let release = env!("CARGO_PKG_VERSION").to_owned();
    control.record(Deed::GatewayStarted, String::new(), release, None, Timestamp::now()).await?;
    let home = Home::start(home, &control, gateway.bound()).await?;
    let addresses = gateway.addresses().to_vec();
    told.send_replace(addresses.clone());
    let operations = operations::start(portal, told, operations).await?;
    let stop = CancellationToken::new();
    let house = AbortOnDropHandle::new(tokio::spawn(control.clone().keep_house(stop.clone())));
    let mut running = Running {
        control,
        gateway,
        addresses,
        operations,
        telling,
        providers,
        house,
        built_in: None,
        home,
        stop,
        drain,
        fixed,
        certificate,
    };
    if let Some(built_in) = built_in {
        running.built_in = Some(Box::pin(running.start_built_in(built_in)).await.context("built-in")?);
    }
    Ok(running)
}

impl Running {
    /// An invite with a fresh secret, for one device.
    pub async fn invite(&self, request: InviteRequest) -> anyhow::Result<Invite> {
        let made = self.control.create_invite(accounts::OWNER, request, Timestamp::now()).await;
        let (_, secret) = made.context("no invite could be made")?;
        let site = self.control.site_keys().active.fingerprint;
        Ok(Invite { addresses: self.addresses.clone(), site, secret })
    }

    /// The built-in agent joins as every device does, only without a network between.
    async fn start_built_in(&self, built_in: settings::BuiltIn) -> anyhow::Result<agent::Running> {
        let dialer = self.gateway.memory_dialer();
        let places = Places { state: self.control.directory().join(BUILT_IN_STATE), config: Some(built_in.config) };
        if !agent::has_joined(&places.state)? {
            let invite = self.invite(InviteRequest::default()).await?;
            agent::join_over_memory(&places, &invite, built_in.name, dialer.clone()).await?;
        }
        agent::start(&places, Start { memory: Some(dialer), ..Start::default() }, self.stop.child_token()).await
    }

    /// Lets visits finish, then ends all.
    pub async fn stop(self) {
        // The router sends nobody new here; what is connected stays so until it has finished.
        let leaving = async {
            if let Some(home) = self.home {
                home.stop().await;
            }
        };
        tokio::join!(leaving, self.gateway.drain(self.drain));
        self.operations.stop();
        self.stop.cancel();
        if let Some(built_in) = self.built_in {
            let _ = built_in.ended.await;
        }
        let _ = self.house.await;
        // What was written last; without it, what follows began with a crash.
        let _ = self.control.record(Deed::GatewayStopped, String::new(), String::new(), None, Timestamp::now()).await;
        self.control.close().await;
    }
}

/// The command: starts, says what to do next, serves until it is told to stop.
pub async fn run(source: Source) -> anyhow::Result<()> {
    let watch = source.watch()?;
    let settings = source.settings()?;
    let (notes, needed) = (settings.notes.clone(), settings.needed.clone());
    open_files::raise();
    let mut running = start(settings).await?;
    greet(&running, &notes).await?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let control = running.control.clone();
    // DNS may take its time.
    let explaining = async {
        names::explain(&control, &needed).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = shutdown::requested() => info!("stopping"),
        () = explaining => {}
        () = running.follow(&source, watch) => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    running.stop().await;
    Ok(())
}

async fn greet(running: &Running, notes: &[String]) -> anyhow::Result<()> {
    let mut text = standing(running);
    for note in notes {
        text += &format!("\nNote: {note}.\n");
    }
    text += &first_owner(running, std::io::stdout().is_terminal()).await?;
    let devices = running.control.snapshot().devices().count();
    if devices > 0 {
        let devices = terminal::counted(devices, "device");
        text += &format!("\nRegistered: {devices} (`doorward devices`). Another one: `doorward invite`.\n");
    } else if std::io::stdout().is_terminal() {
        // A secret: for the eyes at this terminal, never for a journal.
        let invite = running.invite(InviteRequest::default()).await?.to_text();
        text += "\nNo device has joined yet. This invite lets one in, within a week:\n\n";
        text += &invite_words(&invite);
    } else {
        text += "\nNo device has joined yet. `doorward invite` makes an invite for one.\n";
    }
    terminal::print(&text)
}

/// Until somebody is the first owner. The link is a secret: for the eyes at this terminal, never for a journal.
pub(crate) async fn first_owner(running: &Running, is_terminal: bool) -> anyhow::Result<String> {
    let control = &running.control;
    if control.is_set_up().await? {
        return Ok(String::new());
    }
    let Some(portal) = portal::url(running).filter(|_| is_terminal) else {
        return Ok(
            "\nNobody can sign in yet. `doorward people owner-link` makes a link for the first owner.\n".to_owned()
        );
    };
    let made =
        control.make_first_welcome(Timestamp::now()).await.context("no link for the first owner could be made")?;
    let Some(made) = made else { return Ok(String::new()) };
    let url = Secret::new(format!("{portal}welcome#{}", made.secret.expose()));
    let code = invite::qr_code(url.expose()).map(|code| format!("{code}\n")).unwrap_or_default();
    Ok(format!(
        "\nNobody can sign in yet. Whoever opens this link within a day is the first owner; it works once:\n\n{}\n\n{code}",
        url.expose()
    ))
}

fn standing(running: &Running) -> String {
    let bound = running.gateway.bound();
    let list =
        |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut lines = vec![
        ("data", running.control.directory().display().to_string()),
        ("site key", running.control.site_keys().active.fingerprint.to_string()),
        ("https", list(&bound.https)),
    ];
    if !bound.http.is_empty() {
        lines.push(("http", list(&bound.http)));
    }
    if let Some(path) = &bound.local {
        lines.push(("http", format!("unix:{}", path.display())));
    }
    if !bound.redirect.is_empty() {
        lines.push(("to https", list(&bound.redirect)));
    }
    lines.push(("quic (udp)", list(&bound.quic)));
    if !bound.ssh.is_empty() {
        lines.push(("ssh", list(&bound.ssh)));
    }
    if let Some(url) = portal::url(running) {
        lines.push(("portal", url));
    }
    lines.push(("start page", format!("http://{}/", running.operations.address())));
    let lines: String = lines.into_iter().map(|(what, value)| format!("  {what:<11} {value}\n")).collect();
    format!("Doorward serves.\n{lines}")
}

/// An invite as text and QR code, with what to do with it.
fn invite_words(text: &Secret<String>) -> String {
    let code = invite::qr_code(text.expose()).map(|code| format!("{code}\n")).unwrap_or_default();
    format!("{}\n\n{code}On the device:  doorward join       (paste it when asked)\n", text.expose())
}

#[cfg(test)]
mod tests;
