//! A device's SSH link: all its forwards, over however many connections. Each belongs to the newest connection that
//! asked for it; when that ends, to the one before.

use super::pipe::{ChannelPipe, Channels};
use super::places::Places;
use super::terminal::Line;
use super::wire::Shared;
use doorward_core::DeviceId;
use doorward_core::hop::HopFailure;
use doorward_core::names::Label;
use doorward_core::service::Offer;
use doorward_tunnel::splice::Traffic;
use doorward_tunnel::{OPEN_LIMIT, OpenError, OpenRequest, Stream};
use russh::ChannelOpenFailure;
use russh::server::Handle;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

/// Channels at once on one connection.
pub(crate) const MAX_CHANNELS: usize = 512;
/// russh keeps some 3 KiB of each channel that was closed from here. A connection that closed so many is ended: its
/// client comes again.
const MAX_CLOSED_HERE: usize = 20_000;
/// Bytes that wait for visitors who do not read, on one connection: no more visits then.
const MAX_WAITING: usize = 64 * 1024 * 1024;

pub(crate) struct SshLink {
    pub(crate) device: DeviceId,
    pub(crate) number: u64,
    forwards: Mutex<BTreeMap<Label, Vec<Forward>>>,
    /// One registration at a time, or the older would be the last.
    pub(crate) registering: tokio::sync::Mutex<()>,
    pub(crate) traffic: Arc<Traffic>,
    /// Whether it was told that the device is online.
    pub(crate) is_announced: AtomicBool,
}

/// One `-R` of one connection.
#[derive(Clone)]
pub(crate) struct Forward {
    pub(crate) offer: Offer,
    /// As the client knows it.
    pub(crate) host: String,
    pub(crate) port: u32,
    pub(crate) connection: Opener,
}

/// Opens channels on one connection.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) number: u64,
    pub(crate) source: IpAddr,
    pub(crate) handle: Handle,
    pub(crate) channels: Channels,
    pub(crate) shared: Arc<Shared>,
    pub(crate) places: Places,
    pub(crate) terminals: mpsc::Sender<Line>,
}

impl SshLink {
    pub(crate) fn new(device: DeviceId, number: u64) -> Self {
        Self {
            device,
            number,
            forwards: Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            traffic: Arc::default(),
            is_announced: AtomicBool::new(false),
        }
    }

    /// Puts a forward before those of the same name. What this connection asked for by that name before is forgotten.
    pub(crate) fn add(&self, forward: Forward) {
        let mut table = self.table();
        let held = table.entry(forward.offer.name.clone()).or_default();
        held.retain(|other| other.connection.number != forward.connection.number);
        held.push(forward);
    }

    /// Ports of the gateway's choice have no name of their own: `tcp`, then `tcp-2`, in the order one connection asks.
    pub(crate) fn free_name(&self, name: Label, connection: u64) -> Label {
        let table = self.table();
        let is_taken =
            |name: &Label| table.get(name).into_iter().flatten().any(|forward| forward.connection.number == connection);
        let numbered = (2..=MAX_CHANNELS).filter_map(|number| Label::parse(&format!("{name}-{number}")).ok());
        std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(name)
    }

    pub(crate) fn set_port(&self, name: &Label, connection: u64, port: u32) {
        let mut table = self.table();
        let mine = table.get_mut(name).into_iter().flatten().find(|held| held.connection.number == connection);
        if let Some(forward) = mine {
            forward.port = port;
        }
    }

    pub(crate) fn remove(&self, connection: u64, is_meant: impl Fn(&Forward) -> bool) {
        let mut table = self.table();
        for held in table.values_mut() {
            held.retain(|forward| forward.connection.number != connection || !is_meant(forward));
        }
        table.retain(|_, held| !held.is_empty());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// What the device offers now.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        self.table().values().filter_map(|held| held.last()).map(|forward| forward.offer.clone()).collect()
    }

    /// By name, those of one connection.
    pub(crate) fn forwards_of(&self, connection: u64) -> Vec<Forward> {
        let table = self.table();
        let mine = |held: &Vec<Forward>| held.iter().find(|forward| forward.connection.number == connection).cloned();
        table.values().filter_map(mine).collect()
    }

    /// Where the newest connection comes from.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        let table = self.table();
        let newest = table.values().flatten().max_by_key(|forward| forward.connection.number);
        newest.map(|forward| forward.connection.source)
    }

    /// The connections of all forwards.
    pub(crate) fn openers(&self) -> Vec<Opener> {
        self.table().values().flatten().map(|forward| forward.connection.clone()).collect()
    }

    pub(crate) async fn open(&self, request: &OpenRequest) -> Result<Stream, OpenError> {
        if request.mount.is_some() {
            return Err(OpenError::new(HopFailure::AgentRefused));
        }
        let forward = self.table().get(&request.service).and_then(|held| held.last().cloned());
        let forward = forward.ok_or(OpenError::new(HopFailure::DeviceOffline))?;
        let pipe = forward.open(request).await?;
        Ok(Stream::of(Box::new(pipe)).counted_in(self.traffic.clone()))
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Label, Vec<Forward>>> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forward {
    async fn open(&self, request: &OpenRequest) -> Result<ChannelPipe, OpenError> {
        let fail = |hop| Err(OpenError::new(hop));
        let Some(place) = self.connection.places.take() else { return fail(HopFailure::Busy) };
        if self.connection.shared.waiting() > MAX_WAITING {
            return fail(HopFailure::Busy);
        }
        if self.connection.channels.closed_here.load(Ordering::Relaxed) > MAX_CLOSED_HERE {
            warn!(
                "an SSH connection broke off more visits than russh forgets; it is ended, so that its client comes again"
            );
            self.connection.shared.break_off();
            return fail(HopFailure::DeviceOffline);
        }
        let Opener { handle, channels, .. } = self.connection.clone();
        let (host, port, source) = (self.host.clone(), self.port, request.source.to_string());
        let (answer, answered) = oneshot::channel();
        // russh ends the connection if nobody hears the answer to an open: it is heard whoever went away.
        let tasks = channels.tasks.clone();
        tasks.spawn(async move {
            let opened = handle.channel_open_forwarded_tcpip(host, port, source, 0).await;
            let _ = answer.send(opened.map(|channel| channels.take(channel, Some(place))));
        });
        let _ = self.connection.terminals.try_send(Line::Visit(self.offer.name.clone(), request.source));
        match timeout(OPEN_LIMIT, answered).await {
            Ok(Ok(Ok(pipe))) => Ok(pipe),
            Ok(Ok(Err(error))) => fail(hop(&error)),
            Ok(Err(_)) => fail(HopFailure::DeviceOffline),
            Err(_) => fail(HopFailure::AgentSilent),
        }
    }
}

fn hop(error: &russh::Error) -> HopFailure {
    match error {
        russh::Error::ChannelOpenFailure(why) => match why {
            ChannelOpenFailure::ConnectFailed => HopFailure::TargetRefused,
            ChannelOpenFailure::AdministrativelyProhibited | ChannelOpenFailure::UnknownChannelType => {
                HopFailure::AgentRefused
            }
            ChannelOpenFailure::ResourceShortage => HopFailure::Busy,
            ChannelOpenFailure::Other { .. } => HopFailure::TargetUnreachable,
        },
        _ => HopFailure::DeviceOffline,
    }
}
