//! Moves packets between two TUN interfaces: one thread per direction, asleep until a packet comes in or is due.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::conditions::Conditions;
use crate::line::lane::{Counters, Lane};

/// As much as fits an IP packet; TUN interfaces start with an MTU of 1500.
const LARGEST_PACKET: usize = 65_536;
/// Packets taken in before looking at due ones again.
const AT_ONCE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From left to right; in a world: from home to the provider.
    Up,
    Down,
}

/// The two lanes between two interfaces.
#[derive(Debug)]
pub struct Emulator {
    up: Arc<Mutex<Lane>>,
    down: Arc<Mutex<Lane>>,
}

impl Emulator {
    /// Makes a TUN interface in each namespace (a path like /proc/PID/ns/net, and a name) and carries packets between
    /// them until the process ends. Moves the calling thread into the second namespace.
    pub fn start(left: (&Path, &str), right: (&Path, &str), conditions: Conditions) -> Result<Emulator> {
        // Both paths first: the second may not be visible any more from within the first.
        let namespaces = [File::open(left.0), File::open(right.0)];
        let [left_namespace, right_namespace] = namespaces.map(|file| file.context("network namespace"));
        let left = Arc::new(open_tun(&left_namespace?, left.1)?);
        let right = Arc::new(open_tun(&right_namespace?, right.1)?);
        let lane = || Arc::new(Mutex::new(Lane::new(conditions)));
        let emulator = Emulator { up: lane(), down: lane() };
        for (from, to, lane) in [(&left, &right, &emulator.up), (&right, &left, &emulator.down)] {
            let (from, to, lane) = (Arc::clone(from), Arc::clone(to), Arc::clone(lane));
            thread::spawn(move || {
                if let Err(error) = carry(&from, &to, &lane) {
                    eprintln!("slow-line: {error}");
                    std::process::exit(1);
                }
            });
        }
        Ok(emulator)
    }

    /// Carries out one command and answers with one line.
    ///
    /// `delay 50ms loss 0.02 rate 12500000` (both directions, or after `up` or `down` one of them), `cut`, `mend`,
    /// `stats`.
    pub fn obey(&self, command: &str) -> Result<String> {
        let mut words: Vec<_> = command.split_whitespace().collect();
        let lanes = match words.first() {
            Some(&"up") => vec![&self.up],
            Some(&"down") => vec![&self.down],
            Some(_) | None => vec![&self.up, &self.down],
        };
        if lanes.len() == 1 {
            words.remove(0);
        }
        match words.as_slice() {
            ["stats"] => return Ok(format!("up {} down {}", told(&self.up), told(&self.down))),
            ["cut"] => lanes.iter().for_each(|lane| lock(lane).is_cut = true),
            ["mend"] => lanes.iter().for_each(|lane| lock(lane).is_cut = false),
            words => {
                for lane in lanes {
                    let mut lane = lock(lane);
                    lane.conditions = lane.conditions.apply(words.iter().copied())?;
                }
            }
        }
        Ok("ok".to_owned())
    }
}

fn told(lane: &Mutex<Lane>) -> String {
    let Counters { packets, bytes, lost, overflowed } = lock(lane).counters;
    format!("{packets} {bytes} {lost} {overflowed}")
}

fn open_tun(namespace: &File, name: &str) -> Result<SyncDevice> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).context("setns")?;
    let device = DeviceBuilder::new().name(name).inherit_enable_state().build_sync();
    let device = device.with_context(|| format!("TUN interface {name}: needs /dev/net/tun and CAP_NET_ADMIN"))?;
    device.set_nonblocking(true)?;
    Ok(device)
}

fn carry(from: &SyncDevice, to: &SyncDevice, lane: &Mutex<Lane>) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST_PACKET];
    loop {
        deliver(to, lane)?;
        // Bound first: a guard inside the call would hold the lane while we sleep.
        let due = lock(lane).next_due();
        sleep_until_work(from, due)?;
        for _ in 0..AT_ONCE {
            match from.recv(&mut buffer) {
                Ok(length) => {
                    let packet = buffer[..length].to_vec();
                    let _verdict = lock(lane).enter(packet, Instant::now(), rand::random());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

fn deliver(to: &SyncDevice, lane: &Mutex<Lane>) -> io::Result<()> {
    loop {
        let packet = lock(lane).leave(Instant::now());
        let Some(packet) = packet else { return Ok(()) };
        match to.send(&packet) {
            Ok(_) => {}
            // EIO says the interface is down there, EINVAL that this is no IP packet: nobody receives it.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {}
            Err(error) if error.kind() == ErrorKind::InvalidInput || error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn sleep_until_work(from: &SyncDevice, due: Option<Instant>) -> io::Result<()> {
    let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
    let timeout =
        wait.map(|wait: Duration| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
    match poll(&mut [PollFd::new(from, PollFlags::IN)], timeout.as_ref()) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().expect("a lane does not panic")
}
