//! `doorward devices token` and `doorward sender-key`: passwords by SSH, shown once, with the lines to paste.

use super::ssh::{HostKeys, NOTHING_OPEN};
use super::{AskError, Owner};
use doorward_core::names::Label;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;
use std::str::FromStr;

/// DEVICE:PORT, what a sender key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderPlace {
    pub device: Label,
    pub port: u16,
}

impl FromStr for SenderPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("\"{text}\" is not DEVICE:PORT, as livingroom:5454");
        let (device, port) = text.split_once(':').ok_or_else(wanted)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wanted)?;
        Ok(Self { device: Label::parse(device).map_err(|error| error.to_string())?, port })
    }
}

#[derive(Deserialize)]
struct Made {
    number: String,
    password: String,
}

/// A password by which a machine without an agent is this device.
pub async fn token(owner: &Owner, device: &str) -> Result<String, AskError> {
    let gateway = HostKeys::ask(owner).await?;
    let Some(port) = gateway.port else { return Ok(NOTHING_OPEN.to_owned()) };
    let Made { number, password } =
        owner.ask(Method::POST, "/ssh-passwords", Some(json!({ "device": device }))).await?.read()?;
    let (host, known) = (&gateway.host, gateway.known_hosts(port).join("\n"));
    Ok(format!(
        "{password}\n\n\
         This password is device {device}'s. It is shown this once; `doorward ssh-keys remove {number}` takes it back.\n\
         With {device} as user name, to offer a web page of that machine's port 5000:\n\n  \
         ssh -p {port} -N -R {device}:80:localhost:5000 {device}@{host}\n\n\
         For ~/.ssh/known_hosts there:\n\n{known}\n"
    ))
}

/// A password by which one port of a device can be sent to.
pub async fn sender_key(owner: &Owner, place: &SenderPlace) -> Result<String, AskError> {
    let gateway = HostKeys::ask(owner).await?;
    let Some(ssh_port) = gateway.port else { return Ok(NOTHING_OPEN.to_owned()) };
    let SenderPlace { device, port } = place;
    let body = json!({ "device": device, "port": port });
    let Made { number, password } = owner.ask(Method::POST, "/ssh-passwords", Some(body)).await?.read()?;
    let (host, known) = (&gateway.host, gateway.known_hosts(ssh_port).join("\n"));
    let mut text = format!(
        "This password is shown this once; `doorward ssh-keys remove {number}` takes it back.\n\n\
         In the sender's script:\n\n\
         stream = NetGear(address=\"127.0.0.1\", port=\"{port}\", protocol=\"tcp\", pattern=1, max_retries=1000000, \
         ssh_tunnel_mode=\"{device}@{host}:{ssh_port}\", ssh_tunnel_pwd=\"{password}\")\n\n\
         In ~/.ssh/known_hosts on the sender:\n\n{known}\n\n\
         On {device}, where NetGear receives at 127.0.0.1:{port}:\n\n\
         doorward tcp {port} --name netgear --senders\n"
    );
    for reason in obstacles(host, ssh_port) {
        let _ = writeln!(text, "\nNote: {reason}");
    }
    Ok(text)
}

/// What NetGear cannot read in the address of a tunnel (netgear.py, vidgear 0.3.6).
fn obstacles(host: &str, ssh_port: u16) -> Vec<String> {
    let mut reasons = Vec::new();
    if ssh_port.to_string().contains("47") {
        reasons.push(format!(
            "NetGear takes \"47\" in a port to pieces, and {ssh_port} has it: open another for SSH, as \
             `ssh = [\"0.0.0.0:2222\", \"[::]:2222\"]` under [listen] in gateway.toml."
        ));
    }
    if host.contains(':') {
        reasons.push(format!("NetGear splits at each colon, so it cannot reach {host}: give the gateway a name."));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_device_and_a_port() {
        let place: SenderPlace = "livingroom:5454".parse().unwrap();
        assert_eq!((place.device.as_str(), place.port), ("livingroom", 5454));
        for wrong in ["livingroom", "livingroom:", "livingroom:0", "livingroom:65536", ":5454", "a b:5454", "a:1:2"] {
            assert!(wrong.parse::<SenderPlace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_has_an_address_that_netgear_misreads_is_told() {
        assert_eq!(obstacles("gw.example", 2222), Vec::<String>::new());
        assert_eq!(obstacles("gw.example", 2247).len(), 1);
        assert_eq!(obstacles("2001:db8::1", 4722).len(), 2);
    }
}
