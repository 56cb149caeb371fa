//! `doorward release`: names and ports are a service's for ever, until the owner gives one up here.

use super::client::segment;
use super::services::{self, Service};
use super::{AskError, Owner, ServicePath};
use doorward_core::names::Label;
use http::{Method, StatusCode};
use std::str::FromStr;

/// Something that can be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// With or without the path that it is reserved for.
    Host { host: String, prefix: Option<String> },
    /// `None`: whichever protocol it is reserved for.
    Port { protocol: Option<String>, port: u16 },
    /// A withdrawn service with all that is its.
    Service(ServicePath),
}

impl FromStr for Reservation {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        if let Some(port) = port(given) {
            return Ok(Self::Port { protocol: None, port });
        }
        let Some((first, rest)) = given.split_once('/') else {
            return Ok(Self::Host { host: given.to_owned(), prefix: None });
        };
        match (first, port(rest)) {
            ("tcp" | "udp", Some(port)) => Ok(Self::Port { protocol: Some(first.to_owned()), port }),
            // A device's name has no dot; a host's has, save for localhost, which no device may have.
            _ if Label::parse(first).is_ok() && !rest.is_empty() => given.parse().map(Self::Service),
            _ => Ok(Self::Host { host: first.to_owned(), prefix: Some(format!("/{rest}")) }),
        }
    }
}

pub async fn release(owner: &Owner, reservation: Reservation) -> Result<String, AskError> {
    let services = services::all(owner).await?;
    let (path, what, holder) = match reservation {
        Reservation::Host { host, prefix } => {
            let query = prefix.as_deref().map(|prefix| format!("?prefix={}", segment(prefix))).unwrap_or_default();
            let holds = |s: &&Service| s.hosts.iter().any(|held| held.host == host && held.prefix == prefix);
            let holder = services.iter().find(holds).map(Service::path);
            let what = format!("{host}{}", prefix.as_deref().unwrap_or_default());
            (format!("/reservations/hosts/{}{query}", segment(&host)), what, holder)
        }
        Reservation::Port { protocol, port } => {
            let (protocol, holder) = holder_of(&services, protocol.as_deref(), port)?;
            (format!("/reservations/ports/{protocol}/{port}"), format!("{protocol} port {port}"), Some(holder))
        }
        Reservation::Service(path) => {
            let place = format!("/reservations/services/{}/{}", segment(&path.device), segment(&path.service));
            (place, path.to_string(), None)
        }
    };
    owner.ask(Method::DELETE, &path, None).await?;
    let before = holder.map(|holder| format!("; it was {holder}'s")).unwrap_or_default();
    Ok(format!("{what} is free for whoever asks first{before}.\n"))
}

fn holder_of(services: &[Service], protocol: Option<&str>, port: u16) -> Result<(String, String), AskError> {
    let held: Vec<_> = services
        .iter()
        .flat_map(|service| service.ports.iter().map(move |held| (held, service.path())))
        .filter(|(held, _)| held.port == port && protocol.is_none_or(|wanted| wanted == held.protocol))
        .map(|(held, path)| (held.protocol.clone(), path))
        .collect();
    let refuse = |what: String, remedy: String| {
        Err(AskError::Refused { status: StatusCode::NOT_FOUND, what, remedy: Some(remedy) })
    };
    match held.as_slice() {
        [one] => Ok(one.clone()),
        [] => refuse(
            format!("no service has the port {}", protocol.map_or(port.to_string(), |name| format!("{name}/{port}"))),
            "list what there is with `doorward services`".to_owned(),
        ),
        [..] => refuse(
            format!("{port} is reserved both as a tcp and as a udp port"),
            format!("say which: tcp/{port} or udp/{port}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_hosts_and_services_are_told_apart() {
        let host = |host: &str, prefix: Option<&str>| Reservation::Host {
            host: host.to_owned(),
            prefix: prefix.map(str::to_owned),
        };
        let port = |protocol: Option<&str>, port| Reservation::Port { protocol: protocol.map(str::to_owned), port };
        let table = [
            ("20005", port(None, 20005)),
            ("udp/20005", port(Some("udp"), 20005)),
            ("printer1.example.org", host("printer1.example.org", None)),
            ("example.org/cam/", host("example.org", Some("/cam/"))),
            ("localhost/cam/", host("localhost", Some("/cam/"))),
            ("printer1/web", Reservation::Service("printer1/web".parse().unwrap())),
        ];
        for (given, meant) in table {
            assert_eq!(given.parse(), Ok(meant), "{given}");
        }
    }
}
