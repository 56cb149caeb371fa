//! Unix sockets as targets.

use super::{Failure, connect_failure};
use doorward_core::hop::HopFailure;
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

pub(crate) async fn connect(path: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(HopFailure::TargetRefused, "its socket does not exist: is it running?"),
        io::ErrorKind::PermissionDenied => {
            let detail = "the agent's user may not use its socket; put that user into the group that owns the socket";
            Failure::new(HopFailure::TargetUnreachable, detail)
        }
        // unix(7), EAGAIN: the queue of the listener is full.
        io::ErrorKind::WouldBlock => Failure::new(HopFailure::TargetTimedOut, "its socket has a full queue"),
        _ => connect_failure(&error),
    })
}
