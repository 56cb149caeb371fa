//! Dialling a gateway by each carrier, as an agent would, up to the proof that it is the right one.

use super::LOOK;
use doorward_core::site::{Address, Carrier, Endpoint, Fingerprint};
use doorward_tunnel::{Destination, Dialer, Established, Proxy};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What became of one way to a gateway.
pub(super) struct Tried {
    pub(super) endpoint: Endpoint,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// The right gateway answered.
    Answered {
        after: Duration,
        established: Box<Established>,
    },
    /// Somebody answered who has another site key.
    Stranger {
        why: String,
    },
    Failed {
        why: String,
    },
}

/// Every endpoint at once. Where there is a proxy, QUIC is not tried: nothing carries it there.
pub(super) async fn try_all(addresses: &[Address], keys: &[Fingerprint], proxy: Option<&Proxy>) -> Vec<Tried> {
    let ways = addresses.iter().flat_map(ways).filter(|(_, e)| proxy.is_none() || e.carrier != Carrier::Quic);
    let tries = ways.map(|(address, endpoint)| try_one(address, endpoint, keys.to_vec(), proxy.cloned()));
    futures_util::future::join_all(tries).await
}

/// One address for each endpoint, since a dialer does not tell by which it came through.
fn ways(address: &Address) -> Vec<(Address, Endpoint)> {
    let endpoints = address.endpoints();
    let is_one = endpoints.len() == 1;
    let single = |endpoint: Endpoint| {
        let one = Address::one(endpoint.carrier, endpoint.host.clone(), endpoint.port);
        (if is_one { address.clone() } else { one }, endpoint)
    };
    endpoints.into_iter().map(single).collect()
}

async fn try_one(address: Address, endpoint: Endpoint, keys: Vec<Fingerprint>, proxy: Option<Proxy>) -> Tried {
    let destination = Destination { addresses: vec![address], keys, proxy, metered: false };
    let failed = |why: String| Outcome::Failed { why };
    let outcome = match Dialer::new(&destination) {
        Err(error) => failed(error.to_string()),
        Ok(dialer) => {
            let started = Instant::now();
            match timeout(LOOK, dialer.try_carrier(endpoint.carrier)).await {
                Ok(Some(established)) => {
                    Outcome::Answered { after: started.elapsed(), established: Box::new(established) }
                }
                Ok(None) => judge(dialer.last_errors().first().map_or("", String::as_str), &endpoint),
                Err(_) => failed(format!("no answer within {} s", LOOK.as_secs())),
            }
        }
    };
    Tried { endpoint, outcome }
}

fn judge(error: &str, endpoint: &Endpoint) -> Outcome {
    let why = error.strip_prefix(&format!("{endpoint}: ")).unwrap_or(error).to_owned();
    // rustls (and quinn around it) say "invalid peer certificate: …" where the pinned key does not fit, and name the
    // alert where the other side does not speak our protocol.
    let is_stranger = ["invalid peer certificate", "NoApplicationProtocol", "peer doesn't support any known protocol"];
    if is_stranger.iter().any(|sign| why.contains(sign)) { Outcome::Stranger { why } } else { Outcome::Failed { why } }
}
