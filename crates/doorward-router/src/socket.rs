//! The agent's end of the wire: a unix socket that only one user of the machine may speak on.

use crate::error::RouterError;
use crate::privileges::User;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::process::{Uid, geteuid};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// For a whole message, however it trickles in.
const TO_SPEAK: Duration = Duration::from_secs(5);

/// Who may speak is asked of the kernel at every connection, not of the file: the agent's user may be made anew with
/// every start of the agent, and we could not give it the file then.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, RouterError> {
    let failed = |error| RouterError::Socket(path.to_owned(), error);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // What a daemon that was killed left behind. A file of somebody else stays, and binding fails.
    let is_left_over = fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
        && UnixStream::connect(path).is_err();
    if is_left_over {
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

/// Whether the other end is the agent's user, root or ourselves.
pub(crate) fn is_allowed(stream: &UnixStream, agent: &str) -> bool {
    // rustix has no word for the process id 0, which a peer of another PID namespace has.
    let Ok(peer) = getsockopt(stream, PeerCredentials) else { return false };
    let uid = Uid::from_raw(peer.uid());
    uid == Uid::ROOT || uid == geteuid() || User::find(agent).is_ok_and(|agent| agent.is(uid))
}

/// Reads and writes that are over at one moment together.
pub(crate) struct Limited<'s> {
    stream: &'s UnixStream,
    until: Instant,
}

impl<'s> Limited<'s> {
    pub(crate) fn new(stream: &'s UnixStream) -> Self {
        Self { stream, until: Instant::now() + TO_SPEAK }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        (&mut &*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
