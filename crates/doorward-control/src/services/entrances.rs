//! Names and ports: who gets which, for ever.

use super::Registration;
use super::reservations::{insert_host, insert_port, rest_host, rest_port, want_host, want_port, want_session_ports};
use crate::settings::{SiteSettings, WebFace};
use crate::snapshot::{HostEntrance, HostReservation, Origin, PortReservation, Protocol, ServiceRecord, Snapshot};
use crate::store::StoreError;
use crate::work::Work;
use doorward_core::access::WhoDocument;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::service::{EntranceWish, Offer, ServiceKind, Standing};
use doorward_core::{DeviceId, ServiceId};
use std::fmt;
use std::sync::Arc;

/// Where visitors reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Web {
        url: String,
    },
    Port {
        protocol: Protocol,
        host: String,
        port: u16,
    },
    /// The service's own TLS, on the gateway's HTTPS port.
    Tls {
        host: HostName,
        port: u16,
    },
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web { url } => f.write_str(url),
            Self::Port { protocol: Protocol::Tcp, host, port } => write!(f, "{host}:{port}"),
            Self::Port { protocol: Protocol::Udp, host, port } => write!(f, "udp://{host}:{port}"),
            // Most of what speaks TLS there is HTTPS, and whoever wants something else finds host and port in it.
            Self::Tls { host, port } => f.write_str(&WebFace { is_https: true, port: *port }.url(host, None)),
        }
    }
}

/// What leads to the service now.
pub(crate) fn reach(site: &SiteSettings, record: &ServiceRecord) -> Vec<Reach> {
    let hosts = record.hosts.iter().filter(|h| record.routes_host(h));
    let named = hosts.filter_map(|h| match h.entrance {
        HostEntrance::Web => Some(Reach::Web { url: site.web.url(&h.host, h.prefix.as_ref()) }),
        HostEntrance::Tls => site.tls_port.map(|port| Reach::Tls { host: h.host.clone(), port }),
    });
    let ports = record.ports.iter().filter(|p| record.routes_port(p));
    let raw = ports.map(|p| Reach::Port { protocol: p.protocol, host: site.port_host(), port: p.port });
    named.chain(raw).collect()
}

const MAX_ENTRANCES: usize = 20;
/// How many names are tried before giving up on a default one.
const MAX_NUMBER: u32 = 200;

/// An entrance that makes sense for the kind of service.
enum Wanted {
    Host { host: HostName, prefix: Option<PathPrefix>, strip: bool, entrance: HostEntrance },
    Port { protocol: Protocol, port: u16 },
    SessionPort { is_straight: bool },
}

/// Gives the service its default name and what it wishes for; what it does not wish for any more leads nowhere.
pub(super) async fn arrange(work: &mut Work, offer: &Offer, registration: &mut Registration) -> Result<(), StoreError> {
    let Some(id) = registration.service else { return Ok(()) };
    let (mut hosts, mut ports, mut for_sessions) = (Vec::new(), Vec::new(), (false, false));
    if offer.kind.has_web_address() {
        registration.problems.extend(give_default_host(work, id).await?);
    }
    if offer.entrances.len() > MAX_ENTRANCES {
        registration.problems.push(format!("a service has at most {MAX_ENTRANCES} entrances: the rest was left out"));
    }
    for wish in offer.entrances.iter().take(MAX_ENTRANCES) {
        let refusal = match understand(work.draft.site(), wish, offer.kind) {
            Ok(Wanted::Host { host, prefix, strip, entrance }) => {
                let held = hold_host(work, id, &host, prefix.as_ref(), strip, entrance).await?;
                held.map(|()| hosts.push((host, prefix))).err()
            }
            Ok(Wanted::Port { protocol, port }) => {
                let held = hold_port(work, id, protocol, port).await?;
                held.map(|port| ports.push((protocol, port))).err()
            }
            Ok(Wanted::SessionPort { is_straight }) => {
                for_sessions = (true, for_sessions.1 || is_straight);
                None
            }
            Err(why) => Some(why),
        };
        registration.problems.extend(refusal);
    }
    want_session_ports(work, id, for_sessions).await?;
    rest_the_others(work, id, &hosts, &ports).await
}

fn understand(site: &SiteSettings, wish: &EntranceWish, kind: ServiceKind) -> Result<Wanted, String> {
    match (wish, kind) {
        (EntranceWish::Host(host), ServiceKind::Http | ServiceKind::Camera) => {
            Ok(Wanted::Host { host: host.clone(), prefix: None, strip: false, entrance: HostEntrance::Web })
        }
        (EntranceWish::Tls(host), ServiceKind::Tcp) => {
            Ok(Wanted::Host { host: host.clone(), prefix: None, strip: false, entrance: HostEntrance::Tls })
        }
        (EntranceWish::Path(wish), ServiceKind::Http | ServiceKind::Camera) => {
            let host = wish.host.clone().or_else(|| site.domain.clone());
            let host =
                host.ok_or(format!("path {}: the gateway has no domain of its own: name a host", wish.prefix))?;
            let (prefix, strip) = (Some(wish.prefix.clone()), wish.strip);
            Ok(Wanted::Host { host, prefix, strip, entrance: HostEntrance::Web })
        }
        (EntranceWish::TcpPort(port), ServiceKind::Tcp) => Ok(Wanted::Port { protocol: Protocol::Tcp, port: *port }),
        (EntranceWish::UdpPort(port), ServiceKind::Udp) => Ok(Wanted::Port { protocol: Protocol::Udp, port: *port }),
        (EntranceWish::SessionPort, ServiceKind::Tcp | ServiceKind::Udp) => {
            Ok(Wanted::SessionPort { is_straight: false })
        }
        (EntranceWish::Pinhole, ServiceKind::Tcp | ServiceKind::Udp) => Ok(Wanted::SessionPort { is_straight: true }),
        (EntranceWish::SessionPort | EntranceWish::Pinhole, ServiceKind::Http | ServiceKind::Camera) => Err(format!(
            "sessions of a service of kind \"{kind}\" have a web address, and no port of their own: leave out session-port and pinhole"
        )),
        (EntranceWish::Host(_) | EntranceWish::Path(_), ServiceKind::Tcp | ServiceKind::Udp) => {
            Err(format!("a {kind} service is reached by a port; a web address needs kind = \"http\""))
        }
        (EntranceWish::Tls(host), ServiceKind::Http | ServiceKind::Udp | ServiceKind::Camera) => Err(format!(
            "tls = \"{host}\" leads to a service that speaks TLS itself: offer it with kind = \"tcp\", not \"{kind}\""
        )),
        (EntranceWish::TcpPort(_), ServiceKind::Http | ServiceKind::Udp | ServiceKind::Camera) => {
            Err(format!("a tcp port does not fit kind = \"{kind}\": offer it once more with kind = \"tcp\""))
        }
        (EntranceWish::UdpPort(_), ServiceKind::Http | ServiceKind::Tcp | ServiceKind::Camera) => {
            Err(format!("a udp port does not fit kind = \"{kind}\": offer it once more with kind = \"udp\""))
        }
    }
}

/// After a device was renamed, or the domain: the new default names, in addition.
pub(crate) async fn give_default_hosts(work: &mut Work, device: DeviceId) -> Result<(), StoreError> {
    for record in work.draft.services_of(device).collect::<Vec<_>>() {
        if record.service.kind.has_web_address() && record.service.standing == Standing::Offered {
            // Whatever stands in the way is said at the next registration.
            give_default_host(work, record.service.id).await?;
        }
    }
    Ok(())
}

/// `<device>.domain` for the main service, `<service>-<device>.domain` for the others, numbered where somebody else
/// came first. Says what stood in the way.
async fn give_default_host(work: &mut Work, id: ServiceId) -> Result<Option<String>, StoreError> {
    let Some(record) = work.draft.service_record(id) else { return Ok(None) };
    let Some(domain) = work.draft.site().domain.clone() else {
        return Ok(Some("the gateway has no domain, so there is no web address: set `domain` in its settings".into()));
    };
    let service = &record.service;
    let mut problem = None;
    if record.is_main
        && let Ok(host) = domain.child(service.device_name.as_str())
    {
        match give_host(work, &record, &host).await? {
            Ok(()) => return Ok(None),
            Err(why) => problem = Some(why),
        }
    }
    // Too long for one label, it is cut; then or otherwise it may be somebody else's name.
    let Some(name) = Label::suggest(&format!("{}-{}", service.name, service.device_name)) else { return Ok(problem) };
    let numbered = (2..=MAX_NUMBER).map(|n| name.numbered(n));
    for label in std::iter::once(name.clone()).chain(numbered) {
        let Ok(host) = domain.child(label.as_str()) else { continue };
        let is_shared = work.draft.holders_on(&host).any(|other| other.service.id != id);
        if !is_shared && give_host(work, &record, &host).await?.is_ok() {
            return Ok(problem);
        }
    }
    Ok(Some(format!("no default name is free for {}: name a host of its own", service.path())))
}

async fn give_host(work: &mut Work, record: &ServiceRecord, host: &HostName) -> Result<Result<(), String>, StoreError> {
    let id = record.service.id;
    match work.draft.host_holder(host, None) {
        Some(holder) if holder == id => want_host(work, record, host, None, None, HostEntrance::Web).await.map(Ok),
        Some(holder) => Ok(Err(taken_host(work, host, holder))),
        None => match obstacle(work, record, host) {
            Some(why) => Ok(Err(why)),
            None => insert_host(work, id, host, None, false, HostEntrance::Web, Origin::Given).await.map(Ok),
        },
    }
}

async fn hold_host(
    work: &mut Work,
    id: ServiceId,
    host: &HostName,
    prefix: Option<&PathPrefix>,
    strip: bool,
    entrance: HostEntrance,
) -> Result<Result<(), String>, StoreError> {
    let Some(record) = work.draft.service_record(id) else { return Ok(Ok(())) };
    if let (HostEntrance::Tls, Some(why)) = (entrance, why_not_pass_through(&work.draft, host)) {
        return Ok(Err(why));
    }
    match work.draft.host_holder(host, prefix) {
        Some(holder) if holder == id && work.draft.grants(record.service.account).cover_host(host) => {
            return want_host(work, &record, host, prefix, Some(strip), entrance).await.map(Ok);
        }
        Some(holder) if holder != id => return Ok(Err(taken_host(work, host, holder))),
        Some(_) | None => {}
    }
    let grants = work.draft.grants(record.service.account);
    if !grants.cover_host(host) {
        let suffixes: Vec<_> = grants.suffixes.iter().map(ToString::to_string).collect();
        let granted = if suffixes.is_empty() { "none".to_owned() } else { suffixes.join(", ") };
        return Ok(Err(format!(
            "{host} is not under a domain that you may use ({granted}); the gateway's settings grant more"
        )));
    }
    match obstacle(work, &record, host) {
        Some(why) => Ok(Err(why)),
        None => insert_host(work, id, host, prefix, strip, entrance, Origin::Wished).await.map(Ok),
    }
}

fn obstacle(work: &Work, record: &ServiceRecord, host: &HostName) -> Option<String> {
    if work.draft.site().keeps(host) {
        return Some(format!("{host} is the gateway's own name"));
    }
    if let Some(holder) = work.draft.tls_holder(host) {
        return Some(taken_host(work, host, holder));
    }
    why_not_share(&work.draft, record, host)
}

/// Under such a name the gateway reads nothing, so all of it is one service's, and nobody may need the gateway there.
fn why_not_pass_through(draft: &Snapshot, host: &HostName) -> Option<String> {
    if draft.site().tls_port.is_none() {
        return Some(format!("{host} cannot be passed through: this gateway has no HTTPS port of its own"));
    }
    if draft.site().speaks_tls_for(host) {
        return Some(format!("{host} is the gateway's own name, where agents look for it: take a name below it"));
    }
    let (holder, path) = draft.path_on(host)?;
    Some(format!("{host}{path} belongs to {holder}; `doorward release {host}{path}` would free it"))
}

/// Services on one host share one origin, so they have one owner and one *who*. One that admits nobody harms nobody.
pub(crate) fn why_not_share(draft: &Snapshot, record: &ServiceRecord, host: &HostName) -> Option<String> {
    let others = draft.holders_on(host).filter(|other| other.service.id != record.service.id);
    let differ = |other: &Arc<ServiceRecord>| {
        let (mine, theirs) = (&record.access, &other.access);
        let somebody = mine.who != WhoDocument::Nobody && theirs.who != WhoDocument::Nobody;
        somebody && (mine.who != theirs.who || mine.passwords != theirs.passwords || mine.people != theirs.people)
    };
    for other in others {
        if other.service.account != record.service.account {
            return Some(format!("{host} is in another account's use"));
        }
        if differ(&other) {
            return Some(format!(
                "{host} is shared with {}, and pages on one host can read each other: give both the same `who`, or each a host of its own",
                other.service.path()
            ));
        }
    }
    None
}

fn taken_host(work: &Work, host: &HostName, holder: ServiceId) -> String {
    let owner = work.draft.service(holder).map(|s| s.path()).unwrap_or_default();
    let free = free_neighbour(&work.draft, host).map(|name| format!(" {name} is free;")).unwrap_or_default();
    format!("{host} belongs to {owner};{free} `doorward release {host}` would free it")
}

/// `printer-2.example.org` for a taken `printer.example.org`.
fn free_neighbour(draft: &Snapshot, host: &HostName) -> Option<HostName> {
    let (first, rest) = host.as_str().split_once('.')?;
    let first = Label::parse(first).ok()?;
    let names = (2..=MAX_NUMBER).filter_map(|n| HostName::parse(&format!("{}.{rest}", first.numbered(n))).ok());
    names.into_iter().find(|name| draft.holders_on(name).next().is_none())
}

/// The same number for the same service for ever. `wish` 0: the lowest that is free.
async fn hold_port(
    work: &mut Work,
    id: ServiceId,
    protocol: Protocol,
    wish: u16,
) -> Result<Result<u16, String>, StoreError> {
    let Some(record) = work.draft.service_record(id) else { return Ok(Ok(wish)) };
    let is_meant = |p: &&PortReservation| if wish == 0 { p.origin == Origin::Given } else { p.port == wish };
    let own = record.ports.iter().filter(|p| p.protocol == protocol && p.is_granted).find(is_meant);
    if let Some(own) = own {
        want_port(work, id, own).await?;
        return Ok(Ok(own.port));
    }
    let word = protocol.word();
    let grants = work.draft.grants(record.service.account);
    let (port, origin) = if wish == 0 {
        let is_free = |port: &u16| {
            work.draft.port_holder(protocol, *port).is_none() && !work.shared.presence.is_port_failed(protocol, *port)
        };
        match grants.ranges(protocol).iter().cloned().flatten().find(|port| *port != 0 && is_free(port)) {
            Some(port) => (port, Origin::Given),
            None => return Ok(Err(format!("no {word} port is free; the gateway's settings grant more"))),
        }
    } else if let Some(holder) = work.draft.port_holder(protocol, wish).filter(|holder| *holder != id) {
        let owner = work.draft.service(holder).map(|s| s.path()).unwrap_or_default();
        return Ok(Err(format!("{word} port {wish} belongs to {owner}; 0 lets the gateway choose a free one")));
    } else if grants.cover_port(protocol, wish) {
        (wish, Origin::Wished)
    } else {
        let ranges: Vec<_> = grants.ranges(protocol).iter().map(|r| format!("{}-{}", r.start(), r.end())).collect();
        return Ok(Err(format!(
            "{word} port {wish} is not among those you may use ({}); the gateway's settings grant more",
            ranges.join(", ")
        )));
    };
    insert_port(work, id, protocol, port, origin).await?;
    Ok(Ok(port))
}

/// What was wished for once and is not now: kept, but it leads nowhere. Given names keep working.
async fn rest_the_others(
    work: &mut Work,
    id: ServiceId,
    hosts: &[(HostName, Option<PathPrefix>)],
    ports: &[(Protocol, u16)],
) -> Result<(), StoreError> {
    let Some(record) = work.draft.service_record(id) else { return Ok(()) };
    let is_idle = |h: &&HostReservation| {
        let is_wished = hosts.iter().any(|(host, prefix)| *host == h.host && *prefix == h.prefix);
        // A given name is given to the web.
        h.is_wanted && (h.origin == Origin::Wished || h.entrance == HostEntrance::Tls) && !is_wished
    };
    for host in record.hosts.iter().filter(is_idle) {
        rest_host(work, id, host).await?;
    }
    for port in record.ports.iter().filter(|p| p.is_wanted && !ports.contains(&(p.protocol, p.port))) {
        rest_port(work, id, port).await?;
    }
    Ok(())
}
