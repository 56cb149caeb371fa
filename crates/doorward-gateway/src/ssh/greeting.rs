//! The words for terminals.

use super::Room;
use doorward_control::{Device, KeyFingerprint};
use doorward_core::access::{Visitor, decide};
use doorward_core::names::Label;
use doorward_core::service::{ServiceKind, Standing};
use doorward_core::ssh::{Identity, PublicKey};
use jiff::Timestamp;
use std::fmt::Write;
use std::net::IpAddr;

impl Room {
    /// How one says `ssh` to this gateway.
    fn command(&self, options: &str) -> String {
        let host = self.admission.control.site().port_host();
        let port = if self.port == 22 { String::new() } else { format!("-p {} ", self.port) };
        let options = if options.is_empty() { String::new() } else { format!("{options} ") };
        format!("ssh {port}{options}{host}")
    }

    fn jump(&self) -> String {
        format!("{}:{}", self.admission.control.site().port_host(), self.port)
    }
}

/// `refusal`: why a key or certificate that is known, or was, did not let in.
pub(super) fn guest(room: &Room, offered: Option<&PublicKey>, refusal: Option<&str>) -> String {
    if let Some(refusal) = refusal {
        return format!("You were not let in: {refusal}.\n");
    }
    let key = offered.map_or_else(
        || "Your client offered no key (`ssh-keygen -t ed25519` makes one).".to_owned(),
        |key| format!("This gateway does not know your key {}.", KeyFingerprint::of(key)),
    );
    format!(
        "{key}\n\nWith an invite (`doorward invite` on the gateway makes one) it becomes a device's:\n\n  {} join INVITE\n",
        room.command("")
    )
}

pub(super) fn joined(room: &Room, device: &Device, fingerprint: KeyFingerprint) -> String {
    let name = &device.name;
    format!(
        "This is device \"{name}\" from now on, by its key {fingerprint}.\n\nTo offer a web page that it serves on its port 5000:\n\n  {}\n",
        room.command(&format!("-R {name}:80:localhost:5000"))
    )
}

/// In a terminal that is not closed at once.
pub(super) const STAYS: &str =
    "\nThis stays open for what is forwarded (-R, -L), and visits are shown here. Ctrl-C ends it.\n";

pub(super) fn visit(service: &Label, source: IpAddr) -> String {
    format!("{}  {service}: a visit from {source}\n", Timestamp::now().strftime("%H:%M:%S"))
}

/// What somebody may get to now, with the lines to copy.
pub(super) fn reach(
    room: &Room,
    identity: &Identity,
    until: Option<Timestamp>,
    visitor: &Visitor,
    said: &str,
) -> String {
    let by = until.map(|until| format!(", by a certificate until {}", until.strftime("%F %H:%M:%S UTC")));
    let mut text = match identity {
        Identity::Device(name) => format!("You are device \"{name}\".\n"),
        Identity::Person(name) => format!("You are {name}{}.\n", by.unwrap_or_default()),
        Identity::Guest | Identity::Sender { .. } => String::new(),
    };
    text += said;
    let (snapshot, now) = (room.admission.control.snapshot(), Timestamp::now());
    let mut records: Vec<_> = snapshot
        .services()
        .filter(|record| record.service.standing == Standing::Offered && decide(&record.service, visitor, now).is_ok())
        .collect();
    records.sort_by_key(|record| record.service.path());
    if records.is_empty() {
        return text + "\nThere is nothing that you may use by SSH now.\n";
    }
    text += "\nYou may use:\n";
    // Each gets a port of its own here, so that all can be used at once.
    let mut pages = 8080..;
    for record in records {
        let (device, name) = (&record.service.device_name, &record.service.name);
        let line = match (record.service.kind, record.virtual_port) {
            (ServiceKind::Udp, _) => continue,
            (ServiceKind::Tcp, Some(22)) => format!("ssh -J {} USER@{device}", room.jump()),
            (ServiceKind::Http, _) => {
                let here: u16 = pages.next().unwrap_or_default();
                let command = room.command(&format!("-N -L {here}:{name}.{device}:80"));
                format!("{command}     then http://localhost:{here}/")
            }
            (ServiceKind::Tcp, port) => {
                let port = port.unwrap_or(9000);
                room.command(&format!("-N -L {}:{name}.{device}:{port}", unprivileged(port)))
            }
        };
        let _ = writeln!(text, "  {:<28} {line}", record.service.path());
    }
    text
}

/// Only root may listen on the lower ones.
fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 10_000 } else { port }
}
