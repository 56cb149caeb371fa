//! Whether what the services of `agent.toml` lead to can be connected to from here.

use super::Finding;
use doorward_agent::{Camera, Place, Service, Target, look_at_camera};
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(4);
/// Some need a while to wake up.
const CAMERA_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn examine(services: &[Service]) -> Vec<Finding> {
    let (others, cameras): (Vec<_>, Vec<_>) = services.iter().partition(|service| service.target.camera().is_none());
    let own = cameras.iter().map(|service| (service.offer.name.to_string(), &service.target));
    let mounted = services.iter().flat_map(|service| {
        let name = &service.offer.name;
        service.mounts.iter().map(move |(path, target)| (format!("{name}{path}"), target))
    });
    let cameras = own.chain(mounted).filter_map(|(name, target)| Some(look_at(name, target.camera()?)));
    let (mut findings, seen) = futures_util::future::join(
        futures_util::future::join_all(others.into_iter().map(look)),
        futures_util::future::join_all(cameras),
    )
    .await;
    findings.extend(seen);
    findings
}

/// A camera that shows something says how large; one that serves one client only may be the agent's at the moment.
async fn look_at(name: String, camera: &Camera) -> Finding {
    let place = camera.place();
    match camera {
        Camera::NetGear { host, port } => {
            let bare = host.to_string();
            let listening = TcpStream::connect((bare.trim_matches(['[', ']']), *port));
            match timeout(LIMIT, listening).await {
                Ok(Ok(_)) => Finding::fine("camera", format!("{name}: {place} is received at")),
                Ok(Err(_)) | Err(_) => Finding::note(
                    "camera",
                    format!("{name}: nobody receives at {place}"),
                    "it is as it should be while the agent does not run; else see its log",
                ),
            }
        }
        Camera::Web(_) | Camera::Device(_) => match look_at_camera(camera, CAMERA_LIMIT).await {
            Ok(sight) => {
                let size = sight.size.map(|size| format!(" of {} x {}", size.width, size.height)).unwrap_or_default();
                let mended = Some(sight.faults.to_string()).filter(|mended| !mended.is_empty());
                let mended = mended.map(|mended| format!("; mended on the way: {mended}")).unwrap_or_default();
                Finding::fine("camera", format!("{name}: {place} shows pictures{size}{mended}"))
            }
            Err(why) => Finding::wrong(
                "camera",
                format!("{name}: {place} shows no picture: {why}"),
                "open its address in a browser here; one that serves one client only is fine if somebody watches it now \
                 (docs/cameras.md)",
            ),
        },
    }
}

async fn look(service: &Service) -> Finding {
    let name = service.offer.name.as_str();
    let target = &service.target;
    let tried = timeout(LIMIT, connect(target)).await;
    let tried = tried.unwrap_or_else(|_| Err(io::Error::other(format!("no answer within {} s", LIMIT.as_secs()))));
    match (tried, target) {
        (
            Ok(()),
            Target::Http(_)
            | Target::Https { .. }
            | Target::H2c(_)
            | Target::H2 { .. }
            | Target::Tcp(_)
            | Target::Camera(_),
        ) => Finding::fine("service", format!("{name}: {target} takes connections")),
        (Ok(()), Target::Udp { .. }) => Finding::note(
            "service",
            format!("{name}: {target} is UDP, which does not say whether anybody is there"),
            "try it with its own program",
        ),
        (Err(error), _) if service.plan.is_some() => Finding::note(
            "service",
            format!("{name}: {target} is not there now: {error}"),
            "that is as it should be while nobody wants it: it is made ready first",
        ),
        (Err(error), _) => {
            let remedy = match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "start what should listen there, or correct the target in agent.toml"
                }
                io::ErrorKind::PermissionDenied => "let the agent's user use the socket (its group, its mode)",
                io::ErrorKind::NotFound => "start what should make the socket, or correct the target in agent.toml",
                _ => "correct the target in agent.toml, or look at the network there",
            };
            Finding::wrong("service", format!("{name}: {target} cannot be reached: {error}"), remedy)
        }
    }
}

async fn connect(target: &Target) -> io::Result<()> {
    match target {
        Target::Http(Place::Network { host, port })
        | Target::Https { host, port, .. }
        | Target::H2c(Place::Network { host, port })
        | Target::H2 { host, port, .. }
        | Target::Tcp(Place::Network { host, port }) => {
            let bare = host.to_string();
            TcpStream::connect((bare.trim_matches(['[', ']']), *port)).await.map(drop)
        }
        Target::Http(Place::Socket(path)) | Target::H2c(Place::Socket(path)) | Target::Tcp(Place::Socket(path)) => {
            UnixStream::connect(path).await.map(drop)
        }
        // Looked at in their own way.
        Target::Camera(_) => Ok(()),
        Target::Udp { host, port } => {
            let bare = host.to_string();
            lookup_host((bare.trim_matches(['[', ']']), *port)).await.map(drop)
        }
    }
}
