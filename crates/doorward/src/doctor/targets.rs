//! Whether what the services of `agent.toml` lead to can be connected to from here.

use super::Finding;
use doorward_agent::{Place, Service, Target};
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(4);

pub(super) async fn examine(services: &[Service]) -> Vec<Finding> {
    futures_util::future::join_all(services.iter().map(look)).await
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
        Target::Camera(_) => Ok(()),
        Target::Udp { host, port } => {
            let bare = host.to_string();
            lookup_host((bare.trim_matches(['[', ']']), *port)).await.map(drop)
        }
    }
}
