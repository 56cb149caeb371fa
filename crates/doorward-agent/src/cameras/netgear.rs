//! What VidGear's NetGear sends to a place of this machine. It is taken whether anybody watches or not, and answered where an
//! answer is waited for: a sender gives up without.

use super::events::{Events, Trouble};
use crate::deliver::tcp;
use bytes::Bytes;
use doorward_core::site::Host;
use doorward_frames::PICTURE_LIMIT;
use doorward_frames::health::STALLED_AFTER;
use doorward_frames::netgear::{self, Received};
use doorward_frames::zmtp::{Receiver, Step, ZmtpError};
use doorward_tunnel::tune_tcp;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// A sender that dials anew may have a connection left over.
const MOST_SENDERS: usize = 4;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const WRITE_LIMIT: Duration = Duration::from_secs(10);
const BIND_AGAIN: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 64 * 1024;
/// A picture and the JSON before it.
const MESSAGE_LIMIT: usize = PICTURE_LIMIT + 128 * 1024;

pub(super) async fn read(host: &Host, port: u16, events: &Events) -> Infallible {
    loop {
        let listening = listen(host, port).await.map_err(|error| {
            Trouble::failed(format!("this device cannot receive at port {port}: {error}; another program may have it"))
        });
        match listening {
            Ok(listener) => take(&listener, events).await,
            Err(trouble) => events.trouble(trouble).await,
        }
        sleep(BIND_AGAIN).await;
    }
}

async fn listen(host: &Host, port: u16) -> io::Result<TcpListener> {
    let addresses = tcp::resolve(host, port).await.map_err(|failure| io::Error::other(failure.detail))?;
    TcpListener::bind(&addresses[..]).await
}

/// Until the place cannot be listened at any more.
async fn take(listener: &TcpListener, events: &Events) {
    let pictures = AtomicU64::new(0);
    let mut senders = FuturesUnordered::new();
    let (mut seen, mut looking) = (0, interval(STALLED_AFTER));
    looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    events.trouble(Trouble::failed("no sender has come yet")).await;
    loop {
        tokio::select! {
            accepted = listener.accept(), if senders.len() < MOST_SENDERS => match accepted {
                Ok((socket, _)) => senders.push(hear(socket, events, &pictures)),
                Err(error) => return events.trouble(Trouble::failed(format!("nobody can send any more: {error}"))).await,
            },
            Some(trouble) = senders.next() => {
                // Programs look whether the port is open, and go.
                if let Some(trouble) = trouble && senders.is_empty() {
                    events.trouble(trouble).await;
                }
            }
            _ = looking.tick() => {
                let before = std::mem::replace(&mut seen, pictures.load(Ordering::Relaxed));
                if !senders.is_empty() && before == seen {
                    let text = format!("its sender has sent nothing for {} s", STALLED_AFTER.as_secs());
                    events.trouble(Trouble::stalled(text)).await;
                }
            }
        }
    }
}

/// One connection.
struct Conversation<'a> {
    socket: TcpStream,
    receiver: Receiver,
    events: &'a Events,
    pictures: &'a AtomicU64,
}

/// `None`: it said nothing.
async fn hear(socket: TcpStream, events: &Events, pictures: &AtomicU64) -> Option<Trouble> {
    tune_tcp(&socket);
    let mut conversation = Conversation { socket, receiver: Receiver::new(MESSAGE_LIMIT), events, pictures };
    send(&mut conversation.socket, &Receiver::greeting()).await.ok()?;
    let (mut buffer, mut has_spoken) = (vec![0; AT_ONCE], false);
    loop {
        let reading = conversation.socket.read(&mut buffer);
        let read = match conversation.receiver.sender() {
            None => timeout(HANDSHAKE_LIMIT, reading).await.ok()?,
            Some(_) => reading.await,
        };
        let length = match read {
            Ok(0) | Err(_) if !has_spoken => return None,
            Ok(0) => return Some(Trouble::stalled("its sender went away")),
            Ok(length) => length,
            Err(error) => return Some(Trouble::stalled(format!("its sender went away: {error}"))),
        };
        has_spoken = true;
        if let Err(trouble) = conversation.take(&buffer[..length]).await {
            return Some(trouble);
        }
    }
}

impl Conversation<'_> {
    async fn take(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        let failed = |error: ZmtpError| Trouble::failed(error.to_string());
        while let Some(step) = self.receiver.next(&mut bytes).map_err(failed)? {
            let said = match step {
                Step::Send(said) => Some(said),
                Step::Message(parts) => {
                    self.message(&parts).await;
                    self.receiver.answer(netgear::ANSWER)
                }
            };
            if let Some(said) = said {
                send(&mut self.socket, &said).await?;
            }
        }
        Ok(())
    }

    async fn message(&self, parts: &[Bytes]) {
        match netgear::read(parts, PICTURE_LIMIT) {
            Ok(Received::Frame { picture, .. }) => {
                self.pictures.fetch_add(1, Ordering::Relaxed);
                self.events.picture(picture).await;
            }
            Ok(Received::Ended { .. }) => self.events.trouble(Trouble::stalled("its sender has closed")).await,
            Err(error) => self.events.trouble(Trouble::failed(error.to_string())).await,
        }
    }
}

async fn send(socket: &mut TcpStream, bytes: &[u8]) -> Result<(), Trouble> {
    let gone = || Trouble::stalled("its sender takes no answers");
    timeout(WRITE_LIMIT, socket.write_all(bytes)).await.map_err(|_| gone())?.map_err(|_| gone())
}
