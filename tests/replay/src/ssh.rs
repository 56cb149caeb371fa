//! What SSH clients and owners of keys send.

use doorward_core::names::Label;
use doorward_core::ssh::{Destination, Identity, Meaning, PublicKey, Request, Wanted, meaning};
use std::net::IpAddr;
use std::time::Duration;

/// Text of key files, and keys as they travel.
pub fn ssh_key(data: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(data) {
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(key.blob(), data);
    }
    let Ok(keys) = PublicKey::read_lines(&String::from_utf8_lossy(data)) else { return };
    for key in keys {
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(PublicKey::from_blob(key.blob()), Ok(key));
    }
}

/// Who, what, a port, then a user name and a host or command with a zero between.
pub fn ssh_request(data: &[u8]) {
    let Some(([who, what], rest)) = data.split_first_chunk::<2>() else { return };
    let Some((port, rest)) = rest.split_first_chunk::<4>() else { return };
    let (port, text) = (u32::from_be_bytes(*port), String::from_utf8_lossy(rest));
    let (user, host) = text.split_once('\0').unwrap_or(("", &text));
    let label = |name| Label::parse(name).expect("a constant name");
    let identity = match who % 4 {
        0 => Identity::Guest,
        1 => Identity::Person(label("anna")),
        2 => Identity::Device(label("zumi01")),
        _ => Identity::Sender { device: label("zumi01"), port: 5454 },
    };
    let request = match what % 5 {
        0 => Request::Forward { host, port },
        1 => Request::Direct { host, port },
        2 => Request::Execute(host),
        3 => Request::Shell,
        _ => Request::Subsystem(host),
    };
    match (meaning(&identity, user, request), &identity) {
        (Meaning::Offer(Wanted { .. }), Identity::Device(_)) => assert!(port <= 65535),
        (Meaning::Reach(Destination::Port { device, port }), Identity::Device(_) | Identity::Person(_)) => {
            assert!(port != 0 && Label::parse(user) == Ok(device), "a loopback port is the named device's");
        }
        (Meaning::Reach(Destination::Name { host, port }), Identity::Device(_) | Identity::Person(_)) => {
            assert!(port != 0 && host.as_str() != "localhost");
            assert!(host.as_str().parse::<IpAddr>().is_err(), "an address was taken for a name");
        }
        (Meaning::Reach(Destination::Port { device, port: reached }), Identity::Sender { .. }) => {
            assert!(device == label("zumi01") && reached == 5454 && Label::parse(user) == Ok(device));
        }
        (Meaning::Join(_), Identity::Guest) => assert!(what % 5 == 2),
        (Meaning::Hold(time), Identity::Device(_) | Identity::Person(_) | Identity::Sender { .. }) => {
            assert!(what % 5 == 2 && host.contains("sleep") && time <= Duration::from_secs(24 * 60 * 60));
        }
        (Meaning::Show, Identity::Device(_) | Identity::Person(_) | Identity::Guest) => assert!(what % 5 == 3),
        (Meaning::Session(_), Identity::Person(_)) => assert!(what % 5 == 2),
        (Meaning::Refuse(_), _) => {}
        (meaning, _) => panic!("{identity:?} got {meaning:?}"),
    }
}
