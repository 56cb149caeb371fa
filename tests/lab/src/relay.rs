//! A piece of network between agents and the gateway, which counts the TCP connections over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub struct Relay {
    pub address: SocketAddr,
    far: watch::Sender<Option<SocketAddr>>,
    taken: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// Connections wait until it is known where they lead.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (far, leads_to) = watch::channel(None);
        let taken = Arc::<AtomicUsize>::default();
        let counted = taken.clone();
        let task = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                passing.spawn(pass(near, leads_to.clone()));
            }
        });
        Self { address, far, taken, _task: AbortOnDropHandle::new(task) }
    }

    pub fn lead_to(&self, far: SocketAddr) {
        self.far.send_replace(Some(far));
    }

    /// Connections so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

async fn pass(mut near: TcpStream, mut leads_to: watch::Receiver<Option<SocketAddr>>) {
    let far = leads_to.wait_for(Option::is_some).await.ok().and_then(|far| *far);
    let Some(far) = far else { return };
    if let Ok(mut far) = TcpStream::connect(far).await {
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}
