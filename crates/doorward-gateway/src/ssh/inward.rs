//! Visitors by `-J`, `-W` and `-L`: the name they give is looked up, `decide` says whether, and the device's own list what
//! is connected. There is no way to anything else: no address is ever dialled from here.

use super::Room;
use super::pipe::Channels;
use crate::access_log;
use crate::admit::Admitted;
use crate::live::Way;
use doorward_control::Snapshot;
use doorward_core::access::Visitor;
use doorward_core::hop::HopFailure;
use doorward_core::names::{HostName, Label};
use doorward_core::service::{Service, ServiceKind};
use doorward_core::ssh::Destination;
use doorward_tunnel::Stream;
use doorward_tunnel::splice::{Traffic, splice};
use russh::server::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelOpenFailure};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

/// A channel that a client asks for, with all that it needs to stand.
pub(super) struct Asking {
    pub(super) destination: Destination,
    pub(super) visitor: Visitor,
    pub(super) channel: Channel<Msg>,
    pub(super) reply: ChannelOpenHandle,
    pub(super) channels: Channels,
    pub(super) place: OwnedSemaphorePermit,
}

impl Room {
    pub(super) async fn visit(self: Arc<Self>, asking: Asking) {
        let Asking { destination, visitor, channel, reply, channels, place } = asking;
        let found = find(&self.admission.control.snapshot(), &destination);
        let admitted = match found {
            None => return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
            Some((service, way)) => match self.admission.admit(service.clone(), &visitor, way) {
                Ok(admitted) => admitted,
                Err(denied) => return reply.reject(self.refusal(&service, &denied)).await,
            },
        };
        let cut = admitted.presence.cut_owned();
        let opened = tokio::select! {
            opened = self.admission.open(&admitted, None) => opened,
            () = cut => return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await,
        };
        match opened {
            Ok(stream) => {
                let pipe = channels.take(channel, Some(place));
                reply.accept().await;
                pass(pipe, stream, &admitted).await;
            }
            Err(error) => reply.reject(failure(error.hop)).await,
        }
    }
}

async fn pass(pipe: super::pipe::ChannelPipe, stream: Stream, admitted: &Admitted) {
    let started = Instant::now();
    let traffic = Arc::new(Traffic::default());
    admitted.presence.counted(traffic.clone());
    let end = splice(pipe, stream, &traffic.up, &traffic.down, admitted.presence.cut()).await;
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
        | HopFailure::TargetUnreachable => ChannelOpenFailure::Other { code: 2, reason: hop.to_string() },
    }
}

fn find(snapshot: &Snapshot, destination: &Destination) -> Option<(Arc<Service>, Way)> {
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
        ServiceKind::Udp => false,
    }
}
