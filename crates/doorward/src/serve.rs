//! `doorward serve`: the gateway with its store, its operations port and the socket for the owner's commands.

pub mod settings;

use crate::agent::{self, Places, Start};
use crate::{invite, operations, shutdown};
use anyhow::Context;
use doorward_control::{Control, ControlSettings, InviteRequest, accounts};
use doorward_core::Secret;
use doorward_core::invite::Invite;
use doorward_core::site::Address;
use doorward_gateway::Gateway;
use jiff::Timestamp;
use settings::ServeSettings;
use std::io::IsTerminal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A gateway with all that belongs to it, running.
pub struct Running {
    pub control: Control,
    pub gateway: Gateway,
    pub addresses: Vec<Address>,
    operations: operations::Operations,
    house: JoinHandle<()>,
    built_in: Option<agent::Running>,
    stop: CancellationToken,
    drain: std::time::Duration,
}

/// Where the built-in agent keeps its key, in the data directory.
const BUILT_IN_STATE: &str = "built-in";

/// Starts everything, or nothing.
pub async fn start(settings: ServeSettings) -> anyhow::Result<Running> {
    let ServeSettings { directory, site, gateway, operations, built_in, drain, notes: _ } = settings;
    let control = Control::open(ControlSettings { directory, site, now: Timestamp::now() }).await?;
    let gateway = Gateway::start(gateway, control.clone()).await?;
    let addresses = gateway.addresses().to_vec();
    let operations = operations::start(&control, &addresses, operations).await?;
    let stop = CancellationToken::new();
    let house = tokio::spawn(control.clone().keep_house(stop.clone()));
    let mut running = Running { control, gateway, addresses, operations, house, built_in: None, stop, drain };
    if let Some(built_in) = built_in {
        running.built_in = Some(running.start_built_in(built_in).await.context("built-in")?);
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
        self.gateway.drain(self.drain).await;
        self.operations.stop();
        self.stop.cancel();
        if let Some(built_in) = self.built_in {
            let _ = built_in.ended.await;
        }
        let _ = self.house.await;
        self.control.close().await;
    }
}

/// The command: starts, says what to do next, serves until it is told to stop.
pub async fn run(settings: ServeSettings) -> anyhow::Result<()> {
    let notes = settings.notes.clone();
    let running = start(settings).await?;
    greet(&running, &notes).await?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    shutdown::requested().await;
    info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    running.stop().await;
    Ok(())
}

async fn greet(running: &Running, notes: &[String]) -> anyhow::Result<()> {
    let bound = running.gateway.bound();
    let list =
        |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    println!("Doorward serves.");
    println!("  data        {}", running.control.directory().display());
    println!("  site key    {}", running.control.site_keys().active.fingerprint);
    println!("  https       {}", list(&bound.https));
    if !bound.http.is_empty() {
        println!("  http        {}", list(&bound.http));
    }
    println!("  quic (udp)  {}", list(&bound.quic));
    println!("  start page  http://{}/", running.operations.address());
    for note in notes {
        println!("\nNote: {note}.");
    }
    let devices = running.control.snapshot().devices().count();
    if devices > 0 {
        println!("\n{devices} device(s) are registered: `doorward devices`. Another one: `doorward invite`.");
    } else if std::io::stdout().is_terminal() {
        // A secret: for the eyes at this terminal, never for a journal.
        let text = running.invite(InviteRequest::default()).await?.to_text();
        println!("\nNo device has joined yet. This invite lets one in, within a week:\n");
        print_invite(&text);
    } else {
        println!("\nNo device has joined yet. `doorward invite` makes an invite for one.");
    }
    Ok(())
}

/// An invite as text and QR code, with what to do with it.
pub fn print_invite(text: &Secret<String>) {
    println!("{}\n", text.expose());
    if let Some(code) = invite::qr_code(text.expose()) {
        println!("{code}");
    }
    println!("On the device:  doorward join       (paste it when asked)");
}
