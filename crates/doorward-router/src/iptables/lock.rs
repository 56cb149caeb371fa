//! The lock by which programs that change tables of the old iptables wait for each other. Only root may open its file,
//! so that is done before rights are given up.

use crate::error::RouterError;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Lock(OwnedFd);

/// Until it is dropped.
pub(crate) struct Held<'l>(&'l OwnedFd);

const LONGEST: Duration = Duration::from_secs(5);

impl Lock {
    /// `None`: the programs shall look for it themselves, and say why they cannot.
    pub(crate) fn open() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
        open("/run/xtables.lock", flags, Mode::RUSR | Mode::WUSR).ok().map(Self)
    }

    pub(crate) fn take(&self) -> Result<Held<'_>, RouterError> {
        let start = Instant::now();
        while flock(&self.0, FlockOperation::NonBlockingLockExclusive).is_err() {
            if start.elapsed() > LONGEST {
                return Err(RouterError::Locked(LONGEST));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Held(&self.0))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It fails for no file that is open.
        let _unlocked = flock(self.0, FlockOperation::Unlock);
    }
}
