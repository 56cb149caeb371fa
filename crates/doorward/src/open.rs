//! `doorward open`: a session at a portal elsewhere, and a port of this machine that leads to the service for as long as it lasts.
//! Other users of this machine reach that port, too, as with `ssh -L`.

mod carried;
mod session;
mod tcp;
mod udp;

pub use carried::CarryError;
pub use session::Session;

use crate::admin::portal::Portal;
use crate::admin::services::{self, Service};
use crate::admin::{AskError, Owner, ServicePath};
use doorward_core::access::HowDocument;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What somebody wants to have open.
#[derive(Clone, Debug)]
pub struct Wish {
    pub service: ServicePath,
    /// As `30m`.
    pub length: String,
    /// The port of this machine; 0: any that is free.
    pub port: u16,
}

#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Asking(#[from] AskError),
    #[error("{0} has no address now: `doorward services` shows why")]
    NowhereReached(ServicePath),
    #[error("the port {port} of this machine cannot be used: {source}")]
    Port { port: u16, source: io::Error },
    #[error("services of the kind \"{0}\" are not known to this version of doorward")]
    Kind(String),
}

/// How it is reached from here.
#[derive(Debug)]
pub enum Reached {
    /// At its own address, in a browser.
    Web(String),
    Port {
        protocol: &'static str,
        local: SocketAddr,
    },
}

/// Dropped, the port is closed and what came through it broken off.
#[derive(Debug)]
pub struct Opened {
    pub reached: Reached,
    /// `None`: the service needs none.
    pub session: Option<Session>,
    /// What went wrong with single connections.
    pub troubles: mpsc::Receiver<CarryError>,
    _carrying: JoinSet<()>,
}

/// Troubles that nobody reads are dropped, not waited for.
const TROUBLES: usize = 16;

pub async fn open(portal: &Portal, wish: &Wish) -> Result<Opened, OpenError> {
    let owner = Owner::at(portal.clone());
    let service = services::find(&owner, &wish.service).await?;
    // Before the session: a port that is taken should not cost one.
    let (tell, troubles) = mpsc::channel(TROUBLES);
    let mut carrying = JoinSet::new();
    let way = carried::Way { portal: Arc::new(portal.clone()), service: wish.service.clone(), tell };
    let reached = reach(&service, wish, way, &mut carrying).await?;
    let session = match service.access.how {
        Some(HowDocument::OnRequest) => Some(Session::open(&owner, &wish.service, &wish.length).await?),
        Some(HowDocument::SignedIn) | None => None,
    };
    Ok(Opened { reached, session, troubles, _carrying: carrying })
}

async fn reach(
    service: &Service,
    wish: &Wish,
    way: carried::Way,
    carrying: &mut JoinSet<()>,
) -> Result<Reached, OpenError> {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, wish.port));
    let refuse = |source| OpenError::Port { port: wish.port, source };
    match service.kind.as_str() {
        "http" => {
            let address = service.reached_by.iter().find(|address| address.starts_with("http"));
            address.cloned().map(Reached::Web).ok_or_else(|| OpenError::NowhereReached(wish.service.clone()))
        }
        "tcp" => {
            let listener = TcpListener::bind(at).await.map_err(refuse)?;
            let local = listener.local_addr().map_err(refuse)?;
            carrying.spawn(tcp::carry(listener, way));
            Ok(Reached::Port { protocol: "tcp", local })
        }
        "udp" => {
            let socket = UdpSocket::bind(at).await.map_err(refuse)?;
            let local = socket.local_addr().map_err(refuse)?;
            carrying.spawn(udp::carry(socket, way));
            Ok(Reached::Port { protocol: "udp", local })
        }
        other => Err(OpenError::Kind(other.to_owned())),
    }
}
