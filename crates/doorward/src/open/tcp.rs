//! TCP: each connection to the local port is one visit.

use super::carried::Way;
use socket2::SockRef;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// At once; those who come then wait in the listener's queue.
const MOST: usize = 256;
/// After an error of accept(2) that may pass, as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn carry(listener: TcpListener, way: Way) {
    let mut visits = JoinSet::new();
    loop {
        while visits.len() >= MOST {
            visits.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => drop(visits.spawn(visit(socket, way.clone()))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = visits.join_next() => {}
        }
    }
}

/// What breaks on one side is broken on the other: a cut must not look like an end.
async fn visit(mut socket: TcpStream, way: Way) {
    let _ = socket.set_nodelay(true);
    let passed = match way.connect().await {
        Ok(mut carried) => copy_bidirectional(&mut socket, &mut carried).await.map(drop).is_ok(),
        Err(trouble) => {
            way.tell(trouble);
            false
        }
    };
    if !passed {
        let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
}
