//! Openings in the home's router, as gateways wish them: this agent alone knows to which machine they lead, and the router's
//! daemon (`doorward router`) whether its owner allows that. Gateways name sessions, sources and how long; nothing else. Where
//! there is no such daemon, a port mapping is asked of the router, for services that the owner's file allows.

mod door;
mod mapped;
mod mapping;
mod probes;
mod wished;

use crate::ports::is_public;
use crate::settings::Settings;
use crate::state::StateDir;
use doorward_core::names::Label;
use doorward_core::pinhole::{Answer, MessageError, PinholeId, Wishes};
use doorward_tunnel::Probe;
use doorward_tunnel::messages::{PinholeProbe, PinholesSeen, PinholesWished};
use mapped::Mapped;
use probes::Probes;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wished::Wished;

pub(crate) struct Pinholes {
    wished: watch::Sender<Wished>,
    seen: watch::Sender<BTreeMap<Label, PinholesSeen>>,
    probes: Arc<Probes>,
}

/// What is open is looked at so often: somebody came in, or another firewall was started.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What was asked of routers for port mappings, in the state folder.
const LEDGER: &str = "mappings.json";
/// For each word of the daemon's.
const PATIENCE: Duration = Duration::from_secs(5);

impl Default for Pinholes {
    fn default() -> Self {
        Self {
            wished: watch::Sender::new(Wished::default()),
            seen: watch::Sender::new(BTreeMap::new()),
            probes: Arc::default(),
        }
    }
}

impl Pinholes {
    /// `dialled`: the gateway's own address, if nobody is between.
    pub(crate) fn hear(&self, gateway: &Label, wished: PinholesWished, dialled: Option<IpAddr>) {
        self.wished.send_modify(|all| all.hear(gateway, wished, dialled, Instant::now()));
    }

    /// The gateway is about to come from outside.
    pub(crate) fn hear_of_probe(&self, gateway: &Label, told: PinholeProbe) {
        let probe = Probe::read(told);
        if let Some((id, probe)) = probe.and_then(|probe| Some((wished::id(gateway, probe.id())?, probe))) {
            self.probes.announced(id, probe, Instant::now());
        }
    }

    /// The gateway was left, or wants this device no more.
    pub(crate) fn forget(&self, gateway: &Label) {
        self.wished.send_if_modified(|all| all.forget(gateway));
    }

    /// What became of each gateway's wishes.
    pub(crate) fn seen(&self) -> watch::Receiver<BTreeMap<Label, PinholesSeen>> {
        self.seen.subscribe()
    }

    /// Asks the router until `stop`, and then takes back what only this process would. Before any gateway was heard nobody knows
    /// what shall be, and nothing is said: what an earlier run opened by a router's daemon goes on meanwhile, to its end.
    pub(crate) async fn run(
        &self,
        mut settings: watch::Receiver<Arc<Settings>>,
        state: StateDir,
        stop: CancellationToken,
    ) {
        let mut wished = self.wished.subscribe();
        let mut mapped = Mapped::new(state.root().join(LEDGER), self.probes.clone());
        let mut is_settled = false;
        while !stop.is_cancelled() {
            let (all, current) = (wished.borrow_and_update().clone(), settings.borrow_and_update().clone());
            mapped.follow(&all, &current).await;
            let is_something = all.is_something(Instant::now());
            if all.is_heard() && (is_something || !is_settled) {
                let (seen, was_done) = match &current.router {
                    Some(socket) => ask(socket, &all, &current).await,
                    None => (mapped.told(&all, &current), true),
                };
                // A router that did not hear that nothing shall be is told again.
                is_settled = was_done && !is_something;
                self.seen.send_if_modified(|before| std::mem::replace(before, seen.clone()) != seen);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = wished.changed() => {}
                Ok(()) = settings.changed() => is_settled = false,
                () = mapped.changed() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
        mapped.stop().await;
    }
}

/// What each gateway is told, and whether the router did what was asked.
async fn ask(socket: &Path, all: &Wished, settings: &Settings) -> (BTreeMap<Label, PinholesSeen>, bool) {
    let (socket, wishes) =
        (socket.to_owned(), all.wishes(settings, own_public().or(all.home().map(IpAddr::V4)), Instant::now()));
    let failed = |why: String| (all.told(settings, None, |_| Err(why.clone())), false);
    match tokio::task::spawn_blocking(move || ask_router(&socket, &wishes)).await {
        Ok(Ok(Answer { fault: Some(fault), .. })) => {
            warn!(fault, "the router opens nothing");
            failed(fault)
        }
        Ok(Ok(answer)) => {
            let answers: BTreeMap<_, _> = answer.pinholes.into_iter().map(|told| (told.id.clone(), told)).collect();
            let told =
                |id: &PinholeId| answers.get(id).cloned().ok_or_else(|| "the router said nothing of it".to_owned());
            (all.told(settings, own_public(), told), true)
        }
        Ok(Err(error)) => {
            debug!(%error, "the router could not be asked");
            failed(format!("the router's daemon does not answer: {error}"))
        }
        Err(stopped) => failed(stopped.to_string()),
    }
}

/// The router's public IPv4 address, which is ours since its socket is on this machine: the link's may be an IPv6 one. `None`:
/// it is behind another NAT. Connecting a datagram socket sends nothing; the address is nobody's (RFC 5737).
fn own_public() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| is_public(*ip))
}

fn ask_router(socket: &PathBuf, wishes: &Wishes) -> Result<Answer, MessageError> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    wishes.write(&stream)?;
    Answer::read(&stream)
}
