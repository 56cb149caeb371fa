//! Visitors by `-J`, `-W` and `-L`: the name they give is looked up, `decide` says whether, and the device's own list what
//! is connected. There is no way to anything else: no address is ever dialled from here.

use super::Room;
use super::pipe::Channels;
use super::places::ChannelPlace;
use super::session::Parked;
use crate::access_log;
use crate::admit::Admitted;
use crate::live::Way;
use doorward_control::Snapshot;
use doorward_core::access::{Denied, Proof, Visitor};
use doorward_core::hop::HopFailure;
use doorward_core::names::{HostName, Label};
use doorward_core::service::{Service, ServiceKind};
use doorward_core::ssh::Destination;
use doorward_tunnel::Stream;
use doorward_tunnel::splice::splice;
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tracing::info;

/// A channel that a client asks for, with all that it needs to stand.
pub(super) struct Asking {
    pub(super) destination: Destination,
    pub(super) visitor: Visitor,
    /// Of a sender: how long it may wait.
    pub(super) sender: Option<Parked>,
    pub(super) channel: Channel<Msg>,
    pub(super) reply: ChannelOpenHandle,
    pub(super) channels: Channels,
    pub(super) place: ChannelPlace,
}

impl Room {
    pub(super) async fn visit(self: Arc<Self>, asking: Asking) {
        let Asking { destination, visitor, sender, channel, reply, channels, place } = asking;
        let first = self.reach(&destination, &visitor, sender.is_some()).await;
        let reached = match (first, &sender) {
            (Err(failed), Some(parked)) if failed.may_pass() => {
                self.wait_for(&destination, parked, failed, &visitor).await
            }
            (first, _) => first,
        };
        match reached {
            Ok(Found { admitted, stream }) => {
                let pipe = channels.take(channel, Some(place));
                reply.accept().await;
                pass(pipe, stream, &admitted).await;
            }
            Err(Failed::Denied(service, denied)) => reply.reject(self.refusal(&service, &denied)).await,
            Err(Failed::Unknown | Failed::Cut) => reply.reject(prohibited(NOTHING_HERE)).await,
            Err(Failed::Behind(hop)) => reply.reject(failure(hop)).await,
        }
    }

    /// Once: looked up, decided, opened.
    pub(super) async fn reach(
        &self,
        destination: &Destination,
        visitor: &Visitor,
        is_sender: bool,
    ) -> Result<Found, Failed> {
        let found = find(&self.admission.control.snapshot(), destination);
        let (service, way) = found.ok_or(Failed::Unknown)?;
        let mut visitor = visitor.clone();
        // `core::ssh` let nothing through but the port that the key is for.
        visitor.proofs.extend(is_sender.then_some(Proof::Sender(service.id)));
        let admitted =
            self.admission.admit(service.clone(), &visitor, way).map_err(|denied| Failed::Denied(service, denied))?;
        let cut = admitted.presence.cut_owned();
        let opened = tokio::select! {
            opened = self.admission.open(&admitted, None) => opened,
            () = cut => return Err(Failed::Cut),
        };
        let stream = opened.map_err(|error| Failed::Behind(error.hop))?;
        Ok(Found { admitted, stream })
    }
}

/// What somebody wanted to get to, open.
pub(super) struct Found {
    admitted: Admitted,
    stream: Stream,
}

/// Why it is not.
pub(super) enum Failed {
    Unknown,
    Denied(Arc<Service>, Denied),
    /// While it was being opened.
    Cut,
    Behind(HopFailure),
}

impl Failed {
    /// Whether it may be otherwise as soon as whoever is meant is there.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unknown | Self::Denied(_, Denied::NotOffered) => true,
            Self::Behind(hop) => match hop {
                HopFailure::DeviceOffline
                | HopFailure::AgentSilent
                | HopFailure::TargetRefused
                | HopFailure::TargetTimedOut
                | HopFailure::TargetUnreachable
                | HopFailure::NotReady => true,
                HopFailure::Busy | HopFailure::AgentRefused => false,
            },
            Self::Cut | Self::Denied(..) => false,
        }
    }
}

/// Unknown, forbidden and closed look the same.
pub(super) const NOTHING_HERE: &str =
    "there is nothing of that name that you may use now; without -N, -W and -J you are shown what there is";

/// OpenSSH shows the reason.
pub(super) fn prohibited(reason: &str) -> ChannelOpenFailure {
    ChannelOpenFailure::Other { code: ChannelOpenFailure::AdministrativelyProhibited.code(), reason: reason.to_owned() }
}

async fn pass(pipe: super::pipe::ChannelPipe, stream: Stream, admitted: &Admitted) {
    let started = Instant::now();
    let traffic = admitted.presence.traffic();
    let end = splice(pipe, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
    admitted.presence.ends(end.word());
    info!(
        target: "doorward::access",
        entrance = "ssh",
        service = admitted.service.path(),
        source = access_log::source(admitted.permit.visitor().source()),
        up = traffic.up.load(Ordering::Relaxed),
        down = traffic.down.load(Ordering::Relaxed),
        seconds = started.elapsed().as_secs_f32(),
        end = end.word(),
    );
}

/// Whoever was admitted may know what failed.
fn failure(hop: HopFailure) -> ChannelOpenFailure {
    match hop {
        HopFailure::Busy => ChannelOpenFailure::ResourceShortage,
        HopFailure::DeviceOffline
        | HopFailure::AgentSilent
        | HopFailure::AgentRefused
        | HopFailure::TargetRefused
        | HopFailure::TargetTimedOut
        | HopFailure::TargetUnreachable
        | HopFailure::NotReady => ChannelOpenFailure::Other { code: 2, reason: hop.to_string() },
    }
}

pub(super) fn find(snapshot: &Snapshot, destination: &Destination) -> Option<(Arc<Service>, Way)> {
    match destination {
        Destination::Port { device, port } => by_port(snapshot, device, *port),
        Destination::Name { host, port } => {
            let label = |text: &str| Label::parse(text).ok();
            if let Some(found) = label(host.as_str()).and_then(|device| by_port(snapshot, &device, *port)) {
                return Some(found);
            }
            by_name(snapshot, host).map(|service| (service, Way::Inner { virtual_port: None }))
        }
    }
}

fn by_port(snapshot: &Snapshot, device: &Label, port: u16) -> Option<(Arc<Service>, Way)> {
    let device = snapshot.device_by_name(device)?;
    let mut services = snapshot.services_of(device.id);
    let record = services.find(|record| record.virtual_port == Some(port) && is_tcp(&record.service))?;
    Some((record.service.clone(), Way::Inner { virtual_port: Some(port) }))
}

/// `service.device`, or a web address of the whole service.
fn by_name(snapshot: &Snapshot, host: &HostName) -> Option<Arc<Service>> {
    let named = host.as_str().split_once('.').and_then(|(service, device)| {
        let device = snapshot.device_by_name(&Label::parse(device).ok()?)?;
        snapshot.service_of(device.id, &Label::parse(service).ok()?)
    });
    let by_address = |host: &HostName| snapshot.web(host, "/").filter(|(_, route)| route.prefix.is_none());
    let domain = snapshot.site().domain.as_ref();
    let service = named
        .or_else(|| by_address(host).map(|(service, _)| service))
        .or_else(|| by_address(&domain?.child(host.as_str()).ok()?).map(|(service, _)| service))?;
    is_tcp(&service).then_some(service)
}

fn is_tcp(service: &Service) -> bool {
    match service.kind {
        ServiceKind::Http | ServiceKind::Tcp => true,
        // A camera's stream is frames, which mean nothing to a client.
        ServiceKind::Udp | ServiceKind::Camera => false,
    }
}
