//! Knocks, on UDP (`doorward_core::knock`). Nothing is ever answered. What is none costs as much whatever is wrong with it: one
//! look at its length, one derivation of a key and one of a cipher's mark; it is counted, and leaves no line and no memory.

mod counts;
mod heard;
mod pace;

use crate::listen::complaint::Complaint;
use counts::{Counts, Outcome};
use doorward_control::{Control, HeldKey, KnockError, KnockedAt};
use doorward_core::Secret;
use doorward_core::audit::Deed;
use doorward_core::knock::{Knock, KnockKey, LENGTH, Sealed};
use heard::Heard;
use jiff::Timestamp;
use pace::Pace;
use rand::RngExt;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

/// Knocks of known keys that wait for the store.
const WAITING: usize = 64;
/// Of bytes that the kernel keeps while we are busy, if it lets us.
const RECEIVE_BUFFER: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(10);

/// IPv6 sockets take IPv6 only.
pub(crate) fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A smaller one serves as well, if less is lost in a flood.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// One that somebody's key made, for now, and not yet.
struct Arrived {
    held: Arc<HeldKey>,
    knock: Knock,
    at: KnockedAt,
}

pub(crate) async fn serve(socket: UdpSocket, control: Control) {
    let (queue, arrived) = mpsc::channel(WAITING);
    let counts = Counts::default();
    let ear = Ear { control: control.clone(), nobodys: nobodys_key(), heard: Heard::default(), queue };
    tokio::select! {
        never = ear.hear(&socket, &counts) => match never {},
        () = take(&control, arrived, &counts) => {}
        never = counts.tell() => match never {},
    }
}

/// What packets of no known key are tried with.
fn nobodys_key() -> KnockKey {
    let mut secret = [0; 32];
    rand::rng().fill(&mut secret);
    KnockKey::new(&Secret::new(secret))
}

struct Ear {
    control: Control,
    nobodys: KnockKey,
    heard: Heard,
    queue: mpsc::Sender<Arrived>,
}

static CANNOT_HEAR: Complaint = Complaint::new();

impl Ear {
    async fn hear(mut self, socket: &UdpSocket, counts: &Counts) -> Infallible {
        // One byte more, so that what is too long does not pass for a knock.
        let mut buffer = [0; LENGTH + 1];
        let mut pace = Pace::new(Instant::now());
        loop {
            let (length, peer) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    if let Some(times) = CANNOT_HEAR.raise() {
                        warn!(%error, times, "knocks cannot be heard at the moment; trying on");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let outcome = match Sealed::read(&buffer[..length]) {
                None => Outcome::NoKnock,
                Some(_) if !pace.admit(peer.ip(), Instant::now()) => Outcome::PassedOver,
                Some(sealed) => self.look_at(sealed, peer),
            };
            counts.count(outcome);
        }
    }

    fn look_at(&mut self, sealed: Sealed<'_>, peer: SocketAddr) -> Outcome {
        let snapshot = self.control.snapshot();
        let held = snapshot.knock_key(&sealed.key());
        let opened = sealed.open(held.map_or(&self.nobodys, |held| &held.key));
        let (Some(held), Some(knock)) = (held, opened) else { return Outcome::NoKey };
        let (nonce, from, now) = (sealed.nonce(), peer.ip().to_canonical(), Timestamp::now());
        if self.heard.has(&nonce) {
            return Outcome::Again;
        }
        if let Err(why) = knock.judge(from, held.may_be_seen, snapshot.site().knock.window, now) {
            self.control.refused(Deed::KnockRefused, Some(from), None, why.word(), now);
            return Outcome::Refused;
        }
        let arrived = Arrived { held: held.clone(), knock, at: KnockedAt { nonce, from, now } };
        if self.queue.try_send(arrived).is_err() {
            return Outcome::NoRoom;
        }
        self.heard.note(nonce);
        Outcome::Known
    }
}

/// One after the other, as the store takes them.
async fn take(control: &Control, mut arrived: mpsc::Receiver<Arrived>, counts: &Counts) {
    while let Some(Arrived { held, knock, at }) = arrived.recv().await {
        let key = held.id;
        match control.knocked(held, knock, at).await {
            Ok(knocked) => {
                counts.count(Outcome::Taken);
                info!(%key, open = knocked.open, waiting = knocked.waiting, refused = knocked.refused, "somebody knocked");
            }
            Err(KnockError::Refused(why)) => {
                counts.count(Outcome::Refused);
                debug!(%key, %why, "a knock does not count");
            }
            Err(KnockError::Store(error)) => {
                counts.count(Outcome::Failed);
                debug!(%key, %error, "a knock could not be written down");
            }
        }
    }
}
