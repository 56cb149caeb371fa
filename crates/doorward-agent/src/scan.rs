//! Looks around for what this device could offer: a dozen usual ports of this machine and of its own small networks. It
//! only ever connects to private addresses, a few at a time, asks one harmless question, and changes nothing.

mod places;
mod questions;
mod recognise;
mod webcams;

pub use places::{Subnet, own_subnets};
pub use recognise::Kind;
pub use webcams::{Webcam, webcams_of};

use doorward_core::names::Label;
use doorward_tunnel::messages::{Finding, Findings};
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Where what we look for usually listens.
pub const PORTS: [u16; 12] = [80, 81, 554, 4408, 5000, 7125, 8080, 8081, 8123, 8554, 8888, 8889];
/// Places asked at once.
const AT_ONCE: usize = 64;
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// All in all; what was found until then counts.
const LIMIT: Duration = Duration::from_secs(150);
/// For whoever asks from a portal without leave.
pub(crate) const NOT_ALLOWED: &str = "this device's agent.toml has no [portal] may-scan = true";

/// Something that could be offered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub kind: Kind,
    pub at: SocketAddr,
}

impl Found {
    pub fn target(&self) -> String {
        match self.kind {
            Kind::RtspCamera => format!("tcp://{}", self.at),
            Kind::OctoPrint | Kind::Mainsail | Kind::Fluidd | Kind::Moonraker | Kind::HomeAssistant | Kind::Jupyter => {
                format!("http://{}", self.at)
            }
            Kind::Camera => format!("camera+http://{}/", self.at),
            Kind::MjpgStreamer => format!("camera+http://{}/?action=stream", self.at),
            Kind::UStreamer => format!("camera+http://{}/stream", self.at),
        }
    }

    /// What its service might be called.
    pub fn name(&self) -> Label {
        Label::parse(self.kind.name()).expect("it is a label")
    }
}

/// Looks at this machine and its own networks.
pub async fn scan() -> Vec<Found> {
    let around = own_subnets().into_iter().filter(|net| net.is_small()).flat_map(|net| net.hosts().collect::<Vec<_>>());
    let hosts: BTreeSet<IpAddr> = std::iter::once(Ipv4Addr::LOCALHOST).chain(around).map(IpAddr::V4).collect();
    let places = hosts.into_iter().flat_map(|host| PORTS.map(|port| SocketAddr::new(host, port)));
    look_at(places.collect()).await
}

/// The same for certain places. Those that are not private are left out.
pub async fn look_at(places: Vec<SocketAddr>) -> Vec<Found> {
    let end = Instant::now() + LIMIT;
    let private = places.into_iter().filter(|place| places::is_private(place.ip()));
    let mut asked = stream::iter(private).map(|at| async move { Some(Found { kind: ask(at).await?, at }) });
    let mut found = Vec::new();
    let mut answers = asked.by_ref().buffer_unordered(AT_ONCE);
    while let Ok(Some(answer)) = tokio::time::timeout_at(end, answers.next()).await {
        found.extend(answer);
    }
    drop(answers);
    // What listens on all addresses of this machine was met more than once.
    found.sort();
    found
}

async fn ask(at: SocketAddr) -> Option<Kind> {
    let is_there = timeout(CONNECT_LIMIT, tokio::net::TcpStream::connect(at)).await;
    let socket = is_there.ok()?.ok()?;
    timeout(ANSWER_LIMIT, questions::ask(socket, at)).await.ok()?
}

/// One at a time: a second portal that asks meanwhile is told so.
pub(crate) async fn for_portal(looking: &Semaphore) -> Result<Vec<Found>, String> {
    let _place = looking.try_acquire().map_err(|_| "this device looks around already".to_owned())?;
    Ok(scan().await)
}

pub(crate) fn told(number: u64, found: Result<Vec<Found>, String>) -> Findings {
    let (found, error) = match found {
        Ok(found) => (found, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let finding = |found: &Found| Finding {
        kind: found.kind.title().to_owned(),
        target: found.target(),
        preset: found.kind.preset().map(str::to_owned),
        name: found.name().to_string(),
    };
    Findings { scan: number, findings: found.iter().take(MOST).map(finding).collect(), error }
}

/// A house with more than this has a gateway of its own.
const MOST: usize = 200;

#[cfg(test)]
mod tests;
