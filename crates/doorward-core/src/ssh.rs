//! What SSH clients ask for and what it means here. The credential alone says who asks; the user name only says which
//! device is meant, and a local account's name means nothing.

pub mod certificate;
mod key;
mod password;
mod sessions;

pub use key::{PublicKey, PublicKeyError};
pub use password::Purpose;
pub use sessions::SessionWish;

use crate::invite::{Invite, InviteError};
use crate::names::{HostName, Label};
use std::time::Duration;
use thiserror::Error;

/// Whose credential it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A machine without an agent, by its name.
    Device(Label),
    /// Somebody whom an owner listed.
    Person(Label),
    /// Who holds a sender key: good for this one virtual port of this one device.
    Sender { device: Label, port: u16 },
    /// Nobody that is known here.
    Guest,
}

/// What a client asks for, as it stands in its request.
#[derive(Clone, Copy, Debug)]
pub enum Request<'r> {
    /// `-R`: `tcpip-forward` (RFC 4254, 7.1).
    Forward {
        host: &'r str,
        port: u32,
    },
    /// `-L`, `-W`, `-J`, `-D`: `direct-tcpip` (RFC 4254, 7.2).
    Direct {
        host: &'r str,
        port: u32,
    },
    /// A command.
    Execute(&'r str),
    Shell,
    /// sftp and others.
    Subsystem(&'r str),
    /// `-R` and `-L` with a path in place of a port.
    UnixSocket,
    /// `-X`.
    Display,
    /// `-A`.
    Agent,
}

/// What comes of it.
#[derive(Debug)]
pub enum Meaning {
    Offer(Wanted),
    Reach(Destination),
    Join(Box<Invite>),
    /// Ask for the invite: on a command line everybody on that machine could read it.
    AskForInvite,
    /// Say what there is.
    Show,
    /// Keep the channel for so long, then say that it went well: what `ssh -f … sleep 60` asks for.
    Hold(Duration),
    Session(SessionWish),
    Refuse(Refusal),
}

/// A service that a device offers by `-R`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub service: Label,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Web,
    /// The device's name alone leads to it.
    MainWeb,
    /// A public TCP port; 0 leaves the choice to the gateway.
    Port(u16),
    /// No public entrance: for those who come by SSH, at this port of the device.
    Inner(u16),
}

/// What somebody wants to get to. Whether there is such a thing, and whether they may, is decided elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A device's virtual port.
    Port { device: Label, port: u16 },
    /// A name: of a device, a service (`service.device`) or a web address. The port counts where it is a device's.
    Name { host: HostName, port: u16 },
}

/// Why not, for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("this gateway does not know your key. An invite makes it a device's: ssh … join")]
    Unknown,
    #[error(
        "only devices offer services with -R. `doorward devices add-key NAME` on the gateway makes a key a device's"
    )]
    NotADevice,
    #[error("\"{0}\" cannot be a service's name: use a-z, 0-9 and -, as in -R printer1:80:localhost:5000")]
    BadName(String),
    #[error("there is no port {0}")]
    BadPort(u32),
    #[error(
        "this machine's own addresses are not to be reached through here; name a device, or log in with its name as user name"
    )]
    Loopback,
    #[error("\"{0}\" is not the name of anything here")]
    NotAName(String),
    #[error("{0}")]
    Invite(#[from] InviteError),
    #[error("this key is known here already: an invite is not needed")]
    KnownAlready,
    #[error("commands are not run here; without one you are shown what there is")]
    Command,
    #[error(
        "this password is for sending to port {port} of {device} alone: -L PORT:127.0.0.1:{port} with {device} as user name, and -N"
    )]
    Sender { device: Label, port: u16 },
    #[error(
        "write it as: open DEVICE/SERVICE --for 30m (and --take-over), or: sessions, or: end NUMBER, or: leave DEVICE/SERVICE, \
         or: requests, or: approve NUMBER, or: refuse NUMBER"
    )]
    Sessions,
    #[error("sessions are people's: come with a key of yours, not a device's")]
    NotAPerson,
    #[error("only TCP is forwarded here, no X11, no agent, no unix socket, no file transfer; -J takes you to a device")]
    NotHere,
}

/// `ssh -f` needs a command that lasts until the tunnel is used; more than a day is no such thing.
const LONGEST_SLEEP: u32 = 24 * 60 * 60;

/// The whole table is `tests/ssh.golden.txt`.
pub fn meaning(identity: &Identity, user: &str, request: Request<'_>) -> Meaning {
    let meant = match (request, identity) {
        (Request::Execute(command), _) => return execute(identity, command),
        (Request::UnixSocket | Request::Display | Request::Agent | Request::Subsystem(_), _) => Err(Refusal::NotHere),
        (Request::Direct { host, port }, Identity::Sender { device, port: own }) => {
            sent_to(user, host, port, device, *own).map(Meaning::Reach)
        }
        (Request::Forward { .. } | Request::Shell, Identity::Sender { device, port }) => {
            Err(Refusal::Sender { device: device.clone(), port: *port })
        }
        (Request::Shell, _) => return Meaning::Show,
        (Request::Forward { .. } | Request::Direct { .. }, Identity::Guest) => Err(Refusal::Unknown),
        (Request::Forward { .. }, Identity::Person(_)) => Err(Refusal::NotADevice),
        (Request::Forward { host, port }, Identity::Device(device)) => wanted(device, host, port).map(Meaning::Offer),
        (Request::Direct { host, port }, Identity::Device(_) | Identity::Person(_)) => {
            destination(user, host, port).map(Meaning::Reach)
        }
    };
    meant.unwrap_or_else(Meaning::Refuse)
}

fn execute(identity: &Identity, command: &str) -> Meaning {
    match (sessions::read(command), identity) {
        (Some(wish), Identity::Person(_)) => return wish.map_or_else(Meaning::Refuse, Meaning::Session),
        (Some(_), Identity::Device(_) | Identity::Sender { .. }) => return Meaning::Refuse(Refusal::NotAPerson),
        (Some(_), Identity::Guest) | (None, _) => {}
    }
    let mut words = command.split_whitespace();
    match (words.next(), identity) {
        (Some("join"), Identity::Guest) => match words.collect::<String>() {
            none if none.is_empty() => Meaning::AskForInvite,
            invite => Invite::parse(&invite).map_or_else(|e| Meaning::Refuse(e.into()), |i| Meaning::Join(Box::new(i))),
        },
        (Some("join"), Identity::Device(_) | Identity::Person(_) | Identity::Sender { .. }) => {
            Meaning::Refuse(Refusal::KnownAlready)
        }
        (_, Identity::Guest) => Meaning::Refuse(Refusal::Unknown),
        (Some("sleep"), Identity::Device(_) | Identity::Person(_) | Identity::Sender { .. }) => {
            let seconds = words.next().and_then(|word| word.parse::<u32>().ok());
            let seconds = seconds.filter(|seconds| *seconds <= LONGEST_SLEEP);
            match (seconds, words.next()) {
                (Some(seconds), None) => Meaning::Hold(Duration::from_secs(seconds.into())),
                (Some(_) | None, _) => Meaning::Refuse(Refusal::Command),
            }
        }
        (_, Identity::Device(_) | Identity::Person(_) | Identity::Sender { .. }) => Meaning::Refuse(Refusal::Command),
    }
}

/// A sender names its device as user name and the port as the device's own, and nothing else.
fn sent_to(user: &str, host: &str, port: u32, device: &Label, own: u16) -> Result<Destination, Refusal> {
    match destination(user, host, port) {
        Ok(Destination::Port { device: named, port }) if named == *device && port == own => {
            Ok(Destination::Port { device: named, port })
        }
        Ok(_) | Err(_) => Err(Refusal::Sender { device: device.clone(), port: own }),
    }
}

/// A service is named by the bind address; a client that was given none sends one of these.
fn is_no_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    matches!(host, "" | "*" | "127.0.0.1" | "::1" | "0.0.0.0" | "::") || host.eq_ignore_ascii_case("localhost")
}

fn wanted(device: &Label, host: &str, port: u32) -> Result<Wanted, Refusal> {
    let number = u16::try_from(port).map_err(|_| Refusal::BadPort(port))?;
    if is_no_name(host) {
        let (name, shape) = match number {
            80 | 443 => ("web".to_owned(), Shape::MainWeb),
            0 => ("tcp".to_owned(), Shape::Port(0)),
            port => (format!("port-{port}"), Shape::Port(port)),
        };
        return Ok(Wanted { service: Label::parse(&name).expect("it is a label"), shape });
    }
    let service = Label::parse(host).map_err(|_| Refusal::BadName(host.chars().take(80).collect()))?;
    match number {
        80 | 443 if service == *device => Ok(Wanted { service, shape: Shape::MainWeb }),
        80 | 443 => Ok(Wanted { service, shape: Shape::Web }),
        0 => Err(Refusal::BadPort(port)),
        _ => Ok(Wanted { service, shape: Shape::Inner(number) }),
    }
}

fn destination(user: &str, host: &str, port: u32) -> Result<Destination, Refusal> {
    let number = u16::try_from(port).ok().filter(|port| *port != 0).ok_or(Refusal::BadPort(port))?;
    if is_no_name(host) {
        let device = Label::parse(user).map_err(|_| Refusal::Loopback)?;
        return Ok(Destination::Port { device, port: number });
    }
    // An address is no name here: whatever it is, it would be one of the gateway's network.
    let is_address = host.parse::<std::net::IpAddr>().is_ok() || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match HostName::parse(host) {
        Ok(host) if !is_address => Ok(Destination::Name { host, port: number }),
        Ok(_) | Err(_) => Err(Refusal::NotAName(host.chars().take(80).collect())),
    }
}
