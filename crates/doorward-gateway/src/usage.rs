//! Tells control which sessions are in use: those in which bytes passed. An open connection that is silent is no use.

use crate::live::Live;
use crate::ssh::Connections;
use doorward_control::Control;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Idle times are counted in minutes.
const EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn watch(control: Control, live: Arc<Live>, ssh: Arc<Connections>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let now = Timestamp::now();
        live.tell_traffic(now);
        for session in live.sessions_in_use() {
            control.session_used(session, now);
        }
        // An account that has ended is let in nowhere from that moment on; what its owner holds open here goes soon after.
        ssh.end_strangers(&control.snapshot());
    }
}
