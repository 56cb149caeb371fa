//! How an agent gets through: every carrier on every address, raced, for as long as it takes.
//!
//! Attempts overlap. Each wave starts all carriers anew, soon after the last one, whether or not that has failed yet:
//! on a line that was dead and is not any more, the next wave gets through while the old ones still wait for their
//! retransmission timers. The first carrier that authenticated the gateway wins.

use crate::agent_end::{AgentStanding, Route};
use crate::handshake::{HandshakeError, Introduction};
use crate::identity::DeviceKey;
use crate::pinning;
use crate::transport::memory::MemoryDialer;
use crate::transport::tls::Proxy;
use crate::transport::{Carried, quic, tls, websocket};
use doorward_core::site::{Address, Carrier, Endpoint, Fingerprint, Host};
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

/// Where a gateway is and whom to trust there.
#[derive(Clone, Debug)]
pub struct Destination {
    pub addresses: Vec<Address>,
    pub keys: Vec<Fingerprint>,
    pub proxy: Option<Proxy>,
    pub metered: bool,
}

#[derive(Clone)]
pub struct Dialer {
    means: Means,
    metered: bool,
}

#[derive(Clone)]
enum Means {
    Network { endpoints: Vec<Endpoint>, ways: Arc<Ways> },
    Memory(MemoryDialer),
}

/// What every attempt needs.
pub(crate) struct Ways {
    tls: Arc<rustls::ClientConfig>,
    quic: quinn::ClientConfig,
    proxy: Option<Proxy>,
    /// By endpoint, so that it cannot grow.
    last_errors: Mutex<BTreeMap<String, String>>,
}

/// A gateway that proved to be the right one; the device has not spoken yet.
pub struct Established {
    carried: Carried,
    route: Route,
}

/// A better-liked carrier starts this much before the next.
const HEAD_START: Duration = Duration::from_millis(250);
/// Between the addresses of one name.
const STAGGER: Duration = Duration::from_millis(60);
const FIRST_ATTEMPTS_LIMIT: Duration = Duration::from_secs(4);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// A better carrier that needs longer is no better. Every second of trying sends packets into the void.
const CLIMB_LIMIT: Duration = Duration::from_secs(3);
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
const MAX_ADDRESSES: usize = 8;
const MAX_IN_FLIGHT: usize = 64;

impl Dialer {
    pub fn new(destination: &Destination) -> io::Result<Self> {
        let tls = pinning::client_config(&destination.keys).map_err(io::Error::other)?;
        let quic = quic::client_config(tls.clone())?;
        let ways = Ways { tls: Arc::new(tls), quic, proxy: destination.proxy.clone(), last_errors: Mutex::default() };
        let mut endpoints: Vec<_> = destination.addresses.iter().flat_map(Address::endpoints).collect();
        if destination.proxy.is_some() {
            // A network with a proxy rarely lets UDP out, and nothing could carry it there.
            endpoints.retain(|e| e.carrier != Carrier::Quic);
        }
        let means = Means::Network { endpoints, ways: Arc::new(ways) };
        Ok(Self { means, metered: destination.metered })
    }

    /// For the gateway's built-in agent.
    pub fn memory(dialer: MemoryDialer) -> Self {
        Self { means: Means::Memory(dialer), metered: false }
    }

    /// Whether there is an address to try this carrier on.
    pub fn offers(&self, carrier: Carrier) -> bool {
        match &self.means {
            Means::Network { endpoints, .. } => endpoints.iter().any(|e| e.carrier == carrier),
            Means::Memory(_) => carrier == Carrier::Memory,
        }
    }

    /// What was tried so far and why it failed last: a line for each endpoint.
    pub fn last_errors(&self) -> Vec<String> {
        match &self.means {
            Means::Network { ways, .. } => {
                let errors = ways.last_errors.lock().unwrap_or_else(PoisonError::into_inner);
                errors.values().cloned().collect()
            }
            Means::Memory(_) => Vec::new(),
        }
    }

    /// Dials until a gateway answers. `preferred` is what worked last time.
    pub async fn establish(&self, preferred: Option<Carrier>) -> Established {
        let mut attempts = JoinSet::new();
        let mut wave = 0;
        let started = Instant::now();
        loop {
            if attempts.len() < MAX_IN_FLIGHT {
                self.start_wave(&mut attempts, preferred, wave);
            }
            wave += 1;
            let next = Instant::now() + self.pause(started.elapsed());
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    Some(done) = attempts.join_next() => match done {
                        Ok(Ok(established)) => return established,
                        Ok(Err(error)) => debug!(%error, "an attempt to reach the gateway failed"),
                        Err(_) => {}
                    },
                }
            }
        }
    }

    /// One attempt with one carrier, for climbing back to a better one.
    pub async fn try_carrier(&self, carrier: Carrier) -> Option<Established> {
        let Means::Network { endpoints, ways } = &self.means else { return None };
        for endpoint in endpoints.iter().filter(|e| e.carrier == carrier) {
            if let Ok(established) = ways.clone().attempt_within(CLIMB_LIMIT, endpoint.clone()).await {
                return Some(established);
            }
        }
        None
    }

    fn start_wave(&self, attempts: &mut JoinSet<io::Result<Established>>, preferred: Option<Carrier>, wave: u32) {
        let limit = if wave < 10 { FIRST_ATTEMPTS_LIMIT } else { ATTEMPT_LIMIT };
        match &self.means {
            Means::Memory(dialer) => {
                let dialer = dialer.clone();
                attempts.spawn(async move {
                    let carried = Carried::Pipe(dialer.dial().await?);
                    Ok(Established { carried, route: Route::Memory(dialer) })
                });
            }
            Means::Network { endpoints, ways } => {
                let mut endpoints = endpoints.clone();
                endpoints.sort_by_key(|e| (Some(e.carrier) != preferred, e.carrier));
                let mut rank = 0;
                let mut last = None;
                for endpoint in endpoints {
                    rank += u32::from(last.is_some_and(|carrier| carrier != endpoint.carrier));
                    last = Some(endpoint.carrier);
                    let ways = ways.clone();
                    attempts.spawn(async move {
                        sleep(HEAD_START * rank).await;
                        ways.attempt_within(limit, endpoint).await
                    });
                }
            }
        }
    }

    /// Between two waves: eager at first, patient later, never in step with other agents.
    fn pause(&self, trying_for: Duration) -> Duration {
        let base = match trying_for.as_secs() {
            0..15 => 200,
            15..60 => 500,
            60..600 => 1500,
            _ => 5000,
        };
        let base = if self.metered { base * 6 } else { base };
        Duration::from_millis(base * rand::rng().random_range(75..=125) / 100)
    }
}

impl Ways {
    async fn attempt_within(self: Arc<Self>, limit: Duration, endpoint: Endpoint) -> io::Result<Established> {
        let attempt = timeout(limit, self.clone().attempt(endpoint.clone())).await;
        let result = attempt.unwrap_or_else(|_| {
            let silent = format!("{endpoint}: no answer within {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, silent))
        });
        if let Err(error) = &result {
            let mut errors = self.last_errors.lock().unwrap_or_else(PoisonError::into_inner);
            errors.insert(endpoint.to_string(), error.to_string());
        }
        result
    }

    async fn attempt(self: Arc<Self>, endpoint: Endpoint) -> io::Result<Established> {
        let context = |e: io::Error| io::Error::new(e.kind(), format!("{endpoint}: {e}"));
        if endpoint.carrier != Carrier::Quic && self.proxy.is_some() {
            let route =
                Route::Tcp { endpoint: endpoint.clone(), address: ([0, 0, 0, 0], 0).into(), ways: self.clone() };
            let carried = Carried::Pipe(self.dial_pipe(&endpoint, ([0, 0, 0, 0], 0).into()).await.map_err(context)?);
            return Ok(Established { carried, route });
        }
        let addresses = resolve(&endpoint).await.map_err(context)?;
        self.attempt_all(&endpoint, addresses).await.map_err(context)
    }

    /// Tries the addresses of a name almost at once: one that leads nowhere (an IPv6 route that ends somewhere) must
    /// not hold up the others (RFC 8305, section 5).
    async fn attempt_all(self: Arc<Self>, endpoint: &Endpoint, addresses: Vec<SocketAddr>) -> io::Result<Established> {
        let mut attempts = JoinSet::new();
        for (rank, address) in (0..).zip(addresses) {
            let (ways, endpoint) = (self.clone(), endpoint.clone());
            attempts.spawn(async move {
                sleep(STAGGER * rank).await;
                ways.attempt_at(&endpoint, address).await
            });
        }
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        while let Some(done) = attempts.join_next().await {
            match done {
                Ok(Ok(established)) => return Ok(established),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn attempt_at(self: Arc<Self>, endpoint: &Endpoint, address: SocketAddr) -> io::Result<Established> {
        let carried = match endpoint.carrier {
            Carrier::Quic => Carried::Quic(quic::connect(address, self.quic.clone()).await?),
            Carrier::Tls | Carrier::WebSocket | Carrier::Memory => {
                Carried::Pipe(self.dial_pipe(endpoint, address).await?)
            }
        };
        Ok(Established { carried, route: Route::Tcp { endpoint: endpoint.clone(), address, ways: self } })
    }

    /// A TCP carrier to a known address: also how lanes are dialled.
    pub(crate) async fn dial_pipe(
        &self,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> io::Result<crate::handshake::Channel> {
        let via = self.proxy.as_ref().map(|proxy| (proxy, format!("{}:{}", endpoint.host, endpoint.port)));
        let tcp = tls::connect(address, via).await?;
        let pipe = if endpoint.carrier == Carrier::WebSocket { websocket::connect(tcp, endpoint).await? } else { tcp };
        tls::secure(pipe, &self.tls).await
    }
}

/// The addresses of an endpoint, the two families in turn, IPv6 first (RFC 8305, section 4).
async fn resolve(endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
    let name = match &endpoint.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, endpoint.port)]),
        Host::Name(name) => name.as_str(),
    };
    let looking_up = tokio::net::lookup_host((name, endpoint.port));
    let found = timeout(RESOLVE_LIMIT, looking_up).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (six, four): (Vec<_>, Vec<_>) = found.map(|a| a.ip()).partition(|ip| matches!(ip, IpAddr::V6(_)));
    let mut ips = Vec::new();
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    while ips.len() < MAX_ADDRESSES {
        let before = ips.len();
        ips.extend(six.next());
        ips.extend(four.next());
        if ips.len() == before {
            break;
        }
    }
    Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, endpoint.port)).collect())
}

impl Established {
    pub fn carrier(&self) -> Carrier {
        match (&self.carried, &self.route) {
            (Carried::Quic(_), _) => Carrier::Quic,
            (Carried::Pipe(_), Route::Tcp { endpoint, .. }) => endpoint.carrier,
            (Carried::Pipe(_), Route::Memory(_)) => Carrier::Memory,
        }
    }

    /// Shows and proves the device's key; on success the link stands.
    pub async fn introduce(self, key: &DeviceKey, who: &Introduction) -> Result<AgentStanding, HandshakeError> {
        AgentStanding::begin(self.carrier(), self.carried, self.route, key, who).await
    }
}
