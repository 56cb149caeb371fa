//! Whether something changed in this machine's network: an address, a route, an interface (rtnetlink(7)). It says
//! nothing of what; whoever cares looks for themselves.

use bytes::BytesMut;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

/// rtnetlink(7): RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Changes come in swarms: one telling for all within this.
const SETTLE: Duration = Duration::from_millis(300);

/// Counts changes for as long as it is polled. Where the system does not tell, it waits for ever: links notice by
/// themselves, later.
pub(crate) async fn watch_network(changes: watch::Sender<u64>) {
    if let Err(error) = watch_messages(&changes).await {
        debug!(%error, "changes of the network cannot be watched");
        pending::<()>().await;
    }
}

async fn watch_messages(changes: &watch::Sender<u64>) -> io::Result<()> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        next(&mut socket, &mut buffer).await;
        let settled = Instant::now() + SETTLE;
        while timeout_at(settled, next(&mut socket, &mut buffer)).await.is_ok() {}
        changes.send_modify(|count| *count += 1);
    }
}

/// One message, whatever it says. An error says that some were lost, which is as good as one.
async fn next(socket: &mut TokioSocket, buffer: &mut BytesMut) {
    buffer.clear();
    if socket.recv(buffer).await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
}
