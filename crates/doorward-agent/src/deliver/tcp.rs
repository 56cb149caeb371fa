//! TCP targets.

use super::{CONNECT_LIMIT, Failure, connect_failure};
use doorward_core::hop::HopFailure;
use doorward_core::site::Host;
use doorward_tunnel::tune_tcp;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

pub(crate) async fn connect(host: &Host, port: u16) -> Result<TcpStream, Failure> {
    let addresses = resolve(host, port).await?;
    // One silent address must not use up the time of the next.
    let share = CONNECT_LIMIT / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = Failure::new(HopFailure::TargetUnreachable, "its name leads to no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                tune_tcp(&socket);
                return Ok(socket);
            }
            Ok(Err(error)) => last = connect_failure(&error),
            Err(_) => last = super::too_slow(),
        }
    }
    Err(last)
}

/// `localhost` is answered here: many a development server listens on one of the two families only, and a device may
/// have no resolver that knows the name.
pub(crate) async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) if name.as_str() == "localhost" => {
            Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        Host::Name(name) => {
            let found = lookup_host((name.as_str(), port)).await.map_err(|error| {
                Failure::new(HopFailure::TargetUnreachable, format!("its name cannot be resolved: {error}"))
            })?;
            Ok(found.take(MAX_ADDRESSES).collect())
        }
    }
}

const MAX_ADDRESSES: usize = 8;
