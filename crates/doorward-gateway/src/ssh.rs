//! The SSH room: devices that have nothing but `ssh -R`, and visitors that have nothing but `ssh`. One connection may be
//! link and entrance at once. The reasons are in docs/decisions/0041-ssh.md, what may be asked in `core::ssh`.

mod attempts;
mod connections;
mod credential;
mod greeting;
mod handler;
mod host_keys;
mod inward;
mod leaving;
pub(crate) mod link;
mod offering;
mod opening;
mod parking;
mod passwords;
mod pipe;
mod places;
mod proving;
mod queue;
mod readying;
mod refusing;
mod session;
mod terminal;
mod waiting;
mod window;
mod wire;

#[cfg(test)]
mod flow_tests;

use crate::admit::Admission;
use crate::links::agent::Reception;
use crate::listen::accept;
use crate::listen::socket::VisitorSocket;
use crate::listen::strangers::{Handshake, Place, Strangers};
use crate::tasks::Tasks;
use jiff::Timestamp;
use russh::server::Config;
use session::{Known, SshSession};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;
use wire::{Shared, Wire};

pub(crate) use attempts::Attempts;
pub(crate) use connections::{Connections, Share};
pub(crate) use host_keys::{configuration, make as make_host_keys};
pub(crate) use parking::Parking;

/// How long a client may take to say who it is. The same for what a guest wants, and to do it.
const STRANGER_LIMIT: Duration = Duration::from_secs(20);
/// A client that says nothing for so long is gone; noticed within 15 s. It is asked for a sign of life more often.
const SILENCE: Duration = Duration::from_secs(14);
const REPORT_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const CLOCK_STEP: Duration = Duration::from_millis(500);

/// What all SSH connections have in common.
pub(crate) struct Room {
    pub(crate) reception: Reception,
    pub(crate) admission: Admission,
    pub(crate) strangers: Arc<Strangers>,
    pub(crate) tasks: Tasks,
    pub(crate) connections: Arc<Connections>,
    pub(crate) configuration: Arc<Config>,
    pub(crate) attempts: Attempts,
    pub(crate) parking: Parking,
    /// As visitors dial it.
    pub(crate) port: u16,
}

pub(crate) async fn serve(room: Arc<Room>, listener: TcpListener) {
    loop {
        let (socket, peer) = accept(&listener).await;
        let Some((place, handshake)) = room.strangers.enter_by_ssh(peer.ip()) else { continue };
        room.tasks.spawn(room.clone().take(socket, peer, place, handshake));
    }
}

impl Room {
    /// A connection from its first byte to its last.
    async fn take(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, place: Place, handshake: Handshake) {
        let began = Instant::now();
        let pushed_out = handshake.pushed_out();
        let (wire, shared) = Wire::new(VisitorSocket::new(socket));
        let seat = self.connections.enter(shared.clone());
        let (known, mut news) = watch::channel(Known::Nothing);
        let session = SshSession::new(self.clone(), shared.clone(), peer, seat.number, known);
        let queues = session.queues();
        let leaving = session.leaving();
        let starting = timeout(STRANGER_LIMIT, russh::server::run_stream(self.configuration.clone(), wire, session));
        let running = match pushed_out.run_until_cancelled(starting).await {
            Some(Ok(Ok(running))) => running,
            Some(Ok(Err(error))) => return debug!(%error, "an SSH client did not introduce itself"),
            Some(Err(_)) => return debug!("an SSH client took too long to introduce itself"),
            None => return debug!("an SSH client that had not introduced itself made room for another"),
        };
        tokio::pin!(running);
        let mut handshake = Some(handshake);
        let mut report = tokio::time::interval(REPORT_EVERY);
        let deadline = sleep_until(began + STRANGER_LIMIT);
        let silence = until_silent(&shared);
        tokio::pin!(deadline, silence);
        loop {
            let known = *news.borrow_and_update();
            let is_known = known != Known::Nothing;
            if is_known {
                handshake = None;
            }
            tokio::select! {
                ended = &mut running => {
                    if let Err(error) = ended {
                        debug!(%error, "an SSH connection ended early");
                    }
                    break;
                }
                () = &mut deadline, if !is_known => {
                    debug!("an SSH client did not say who it is in time");
                    break;
                }
                () = pushed_out.cancelled(), if handshake.is_some() => {
                    debug!("an SSH client that had not said who it is made room for another");
                    break;
                }
                () = until_over(known) => {
                    debug!("an SSH client's certificate has ended");
                    break;
                }
                () = &mut silence => {
                    debug!("an SSH client is silent");
                    break;
                }
                Ok(()) = news.changed() => {}
                _ = report.tick() => leaving.report(),
            }
        }
        // In this order: nothing new comes, what stands breaks.
        leaving.leave();
        drop(seat);
        queues.close_all();
        drop(place);
    }
}

/// By the wall clock, which may be set meanwhile.
async fn until_over(known: Known) {
    let Known::Somebody { until: Some(until) } = known else { return std::future::pending().await };
    while let Ok(left) = Duration::try_from(until.duration_since(Timestamp::now())).map(|left| left.min(CLOCK_STEP))
        && !left.is_zero()
    {
        sleep(left).await;
    }
}

async fn until_silent(shared: &Shared) {
    let (mut seen, mut since) = (shared.heard(), Instant::now());
    while since.elapsed() < SILENCE {
        sleep(LOOK_EVERY).await;
        let heard = shared.heard();
        if heard != seen {
            (seen, since) = (heard, Instant::now());
        }
    }
}
