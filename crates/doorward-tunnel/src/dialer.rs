//! How an agent gets through: every carrier on every address, raced, for as long as it takes.
//!
//! Attempts overlap. Each wave starts all carriers anew, soon after the last one, whether or not that has failed yet:
//! on a line that was dead and is not any more, the next wave gets through while the old ones still wait for their
//! retransmission timers. The first carrier that authenticated the gateway wins.

use crate::agent_end::{AgentStanding, Route};
use crate::handshake::{HandshakeError, Introduction};
use crate::identity::DeviceKey;
use crate::names::{Names, in_turn};
use crate::pinning;
use crate::race::{HEAD_START, Race, Rank, lifetime, rank};
use crate::transport::memory::MemoryDialer;
use crate::transport::tls::Proxy;
use crate::transport::{Carried, quic, tls, websocket};
use doorward_core::site::{Address, Carrier, Endpoint, Fingerprint, Host};
use rand::RngExt;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
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
    names: Names,
    /// By endpoint, so that it cannot grow.
    last_errors: Mutex<BTreeMap<String, String>>,
}

/// A gateway that proved to be the right one; the device has not spoken yet.
pub struct Established {
    carried: Carried,
    route: Route,
}

/// Between the addresses of one name.
const STAGGER: Duration = Duration::from_millis(60);
const FIRST_ATTEMPTS_LIMIT: Duration = Duration::from_secs(4);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
/// A better carrier that needs longer is no better. Every second of trying sends packets into the void.
const CLIMB_LIMIT: Duration = Duration::from_secs(2);
const MAX_ADDRESSES: usize = 8;

impl Dialer {
    pub fn new(destination: &Destination) -> io::Result<Self> {
        Self::with_names(destination, Names::default())
    }

    /// With what is known of names from earlier dialling.
    pub fn with_names(destination: &Destination, names: Names) -> io::Result<Self> {
        let tls = pinning::client_config(&destination.keys).map_err(io::Error::other)?;
        let quic = quic::client_config(tls.clone())?;
        let (tls, proxy) = (Arc::new(tls), destination.proxy.clone());
        let ways = Ways { tls, quic, proxy, names, last_errors: Mutex::default() };
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
        let mut race = Race::new(self.best_possible(preferred));
        let started = Instant::now();
        let (mut wave, mut next) = (0, started);
        loop {
            if let Some(winner) = race.winner() {
                return winner;
            }
            let over = race.over();
            tokio::select! {
                () = sleep_until(over.unwrap_or(next)), if over.is_some() => {}
                () = sleep_until(next) => {
                    self.start_wave(&mut race, preferred, wave);
                    wave += 1;
                    next = Instant::now() + self.pause(started.elapsed());
                }
                failed = race.progress() => {
                    if let Some(error) = failed {
                        debug!(%error, "an attempt to reach the gateway failed");
                    }
                }
            }
        }
    }

    fn best_possible(&self, preferred: Option<Carrier>) -> Rank {
        let carriers = match &self.means {
            Means::Network { endpoints, .. } => endpoints.iter().map(|e| e.carrier).collect(),
            Means::Memory(_) => vec![Carrier::Memory],
        };
        let ranks = carriers.into_iter().map(|carrier| rank(carrier, preferred));
        ranks.min().unwrap_or((true, Carrier::Memory))
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

    fn start_wave(&self, race: &mut Race<Established>, preferred: Option<Carrier>, wave: u32) {
        let limit = lifetime(wave, if wave < 10 { FIRST_ATTEMPTS_LIMIT } else { ATTEMPT_LIMIT });
        match &self.means {
            Means::Memory(dialer) => {
                let dialer = dialer.clone();
                race.start(rank(Carrier::Memory, preferred), async move {
                    let carried = Carried::Pipe(dialer.dial().await?);
                    Ok(Established { carried, route: Route::Memory(dialer) })
                });
            }
            Means::Network { endpoints, ways } => {
                let mut endpoints = endpoints.clone();
                endpoints.sort_by_key(|e| rank(e.carrier, preferred));
                let mut turn = 0;
                let mut last = None;
                for endpoint in endpoints {
                    turn += u32::from(last.is_some_and(|carrier| carrier != endpoint.carrier));
                    last = Some(endpoint.carrier);
                    let ways = ways.clone();
                    race.start(rank(endpoint.carrier, preferred), async move {
                        sleep(HEAD_START * turn).await;
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
            let silent = format!("{endpoint}: no answer within {limit:?}");
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
        let addresses = self.resolve(&endpoint).await.map_err(context)?;
        self.attempt_all(&endpoint, addresses).await.map_err(context)
    }

    async fn resolve(&self, endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        let ips = match &endpoint.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => in_turn(self.names.addresses(name.as_str()).await?),
        };
        Ok(ips.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, endpoint.port)).collect())
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
            Carrier::Tls | Carrier::WebSocket | Carrier::Memory | Carrier::Ssh => {
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
        let tcp = match &self.proxy {
            None => tls::connect(&[address]).await?,
            Some(proxy) => {
                let ips = in_turn(self.names.addresses(&proxy.host).await?);
                let addresses: Vec<_> = ips.into_iter().map(|ip| SocketAddr::new(ip, proxy.port)).collect();
                tls::connect_through(proxy, &addresses, &format!("{}:{}", endpoint.host, endpoint.port)).await?
            }
        };
        let pipe = if endpoint.carrier == Carrier::WebSocket { websocket::connect(tcp, endpoint).await? } else { tcp };
        tls::secure(pipe, &self.tls).await
    }
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
