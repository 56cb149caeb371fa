//! What a `-R` becomes: an offer, registered with all others of the device, and words about how it came out.

use super::Room;
use super::link::{Forward, Opener};
use doorward_control::{Device, PortState, Protocol, Reach, Registration};
use doorward_core::access::WhoDocument;
use doorward_core::names::HostName;
use doorward_core::service::{EntranceWish, Offer, ServiceKind};
use doorward_core::ssh::{Shape, Wanted};
use jiff::Timestamp;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{debug, info};

/// A forward that stands.
pub(super) struct Offered {
    /// The port that the client is told, and by which it knows the forward.
    pub(super) port: u32,
    pub(super) words: String,
}

/// As the client asked.
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) host: String,
    pub(super) port: u32,
}

impl Room {
    /// The error is for whoever asked.
    pub(super) async fn offer(&self, device: &Device, asked: Asked, connection: &Opener) -> Result<Offered, String> {
        if self.reception.links.holder(device.id).is_some() {
            return Err(format!(
                "{} has an agent that is online: offer it there (`doorward http`, agent.toml), not by ssh -R",
                device.name
            ));
        }
        let Asked { mut wanted, host, port } = asked;
        if let (Shape::Port(0), Some(link)) = (wanted.shape, self.reception.links.ssh_link(device.id)) {
            wanted.service = link.free_name(wanted.service, connection.number);
        }
        let offer = offer(&wanted, self.admission.control.site().domain.as_ref());
        let forward = Forward { offer, host, port, connection: connection.clone() };
        let link = self.reception.links.add_forward(device.id, forward);
        let _turn = link.registering.lock().await;
        let outcome = self.register(device, &wanted, &link.offers()).await;
        match outcome {
            Ok(offered) => {
                link.set_port(&wanted.service, connection.number, offered.port);
                if link.is_announced.swap(true, Ordering::Relaxed) {
                    self.comes_from(&link);
                } else {
                    self.arrived(device, &link, connection.source);
                }
                debug!(device = %device.name, service = %wanted.service, "offered by SSH");
                Ok(offered)
            }
            Err(why) => {
                link.remove(connection.number, |forward| forward.offer.name == wanted.service);
                if self.reception.links.release_ssh(&link) {
                    self.left(device.id, &link);
                }
                // Reserved it stays: whoever is to allow it names it.
                let rest = self.admission.control.register(device.id, link.offers(), Timestamp::now()).await;
                if let Err(error) = rest {
                    debug!(%error, "what remains of a device's services could not be registered");
                }
                Err(why)
            }
        }
    }

    async fn register(&self, device: &Device, wanted: &Wanted, offers: &[Offer]) -> Result<Offered, String> {
        let control = &self.admission.control;
        let registered = control.register(device.id, offers.to_vec(), Timestamp::now()).await;
        let registered = registered.map_err(|error| format!("{error}"))?;
        let mine = registered.into_iter().find(|registration| registration.name == wanted.service);
        let mine = mine.ok_or("it was not registered")?;
        if mine.service.is_none() {
            return Err(mine.problems.join("; "));
        }
        match wanted.shape {
            Shape::Web | Shape::MainWeb => Ok(Offered { port: 80, words: words(&mine) }),
            Shape::Inner(port) => Ok(Offered { port: port.into(), words: words(&mine) }),
            Shape::Port(wish) => {
                self.reception.ports.settled(control.snapshot().generation()).await;
                let port = self.public_port(device, wanted, wish, &mine)?;
                Ok(Offered { port: port.into(), words: words(&mine) })
            }
        }
    }

    /// A raw port asks nobody who they are: it is only opened for everybody.
    fn public_port(&self, device: &Device, wanted: &Wanted, wish: u16, mine: &Registration) -> Result<u16, String> {
        let given = mine.reached_by.iter().find_map(|reach| match reach {
            Reach::Port { protocol: Protocol::Tcp, port, .. } if wish == 0 || *port == wish => Some(*port),
            Reach::Port { .. } | Reach::Web { .. } | Reach::Tls { .. } => None,
        });
        let inner = format!("-R ssh:{wish}:… offers it to `ssh -J` alone, with no public port");
        let port = given.ok_or_else(|| format!("{}; {inner}", mine.problems.join("; ")))?;
        let control = &self.admission.control;
        let record = control.snapshot().record_of(device.id, &wanted.service);
        let path = format!("{}/{}", device.name, wanted.service);
        if record.is_none_or(|record| record.access.who != WhoDocument::Public) {
            return Err(format!(
                "port {port} is kept for {path}, and nobody may use it yet. On the gateway, this allows it:\n\
                 \x20 doorward access {path} set --public          (or with --from NETWORK)"
            ));
        }
        match control.presence().ports().get(&(Protocol::Tcp, port)) {
            Some(PortState::Failed { why }) => Err(format!("port {port} cannot be opened on the gateway: {why}")),
            Some(PortState::Bound) => Ok(port),
            None => Err(format!("port {port} is not open on the gateway yet: try again")),
        }
    }

    /// Nothing but these forwards is offered from now on by the device.
    pub(super) async fn withdraw(&self, device: &Device, connection: &Opener, host: &str, port: u32) -> bool {
        let Some(link) = self.reception.links.ssh_link(device.id) else { return false };
        let _turn = link.registering.lock().await;
        let before = link.forwards_of(connection.number).len();
        link.remove(connection.number, |forward| forward.host == host && forward.port == port);
        if link.forwards_of(connection.number).len() == before {
            return false;
        }
        let rest = self.admission.control.register(device.id, link.offers(), Timestamp::now()).await;
        if self.reception.links.release_ssh(&link) {
            self.left(device.id, &link);
        }
        rest.is_ok()
    }
}

fn offer(wanted: &Wanted, domain: Option<&HostName>) -> Offer {
    let mut offer = Offer {
        name: wanted.service.clone(),
        title: None,
        kind: ServiceKind::Tcp,
        virtual_port: None,
        main: false,
        entrances: Vec::new(),
        access: doorward_core::access::PolicyDocument::default(),
        web: doorward_core::web::WebOffer::default(),
        prepare: None,
    };
    match wanted.shape {
        Shape::MainWeb => {
            offer.kind = ServiceKind::Http;
            offer.main = true;
        }
        Shape::Web => {
            offer.kind = ServiceKind::Http;
            let host = domain.and_then(|domain| domain.child(wanted.service.as_str()).ok());
            offer.entrances.extend(host.map(EntranceWish::Host));
        }
        Shape::Port(port) => {
            offer.virtual_port = (port != 0).then_some(port);
            offer.entrances.push(EntranceWish::TcpPort(port));
        }
        Shape::Inner(port) => offer.virtual_port = Some(port),
    }
    offer
}

fn words(registration: &Registration) -> String {
    let mut text = String::new();
    for reach in &registration.reached_by {
        let _ = writeln!(text, "  {:<14} {reach}", registration.name.as_str());
    }
    for note in registration.problems.iter().chain(&registration.notes) {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

impl Room {
    fn arrived(&self, device: &Device, link: &Arc<super::link::SshLink>, source: std::net::IpAddr) {
        let seen = doorward_control::Arrival {
            device: device.id,
            link: doorward_control::LinkId(link.number),
            carrier: doorward_core::site::Carrier::Ssh,
            source,
            agent_version: "ssh".to_owned(),
        };
        self.admission.control.presence().arrived(seen, Timestamp::now());
        info!(device = %device.name, carrier = "ssh", "the device is online");
        metrics::gauge!("doorward_links").set(self.reception.links.count() as f64);
    }

    /// Connections of the link came or went, and the device may be somewhere else now.
    pub(super) fn comes_from(&self, link: &super::link::SshLink) {
        if let Some(source) = link.source() {
            self.admission.control.presence().comes_from(link.device, doorward_control::LinkId(link.number), source);
        }
    }

    pub(super) fn left(&self, device: doorward_core::DeviceId, link: &super::link::SshLink) {
        let id = doorward_control::LinkId(link.number);
        if self.admission.control.presence().left(device, id, Timestamp::now()) {
            let name = self.admission.control.snapshot().device(device).map(|d| d.name.to_string()).unwrap_or_default();
            info!(device = name, carrier = "ssh", "the device is offline");
        }
        metrics::gauge!("doorward_links").set(self.reception.links.count() as f64);
    }
}
