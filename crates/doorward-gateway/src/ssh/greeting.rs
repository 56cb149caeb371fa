//! The words for terminals.

use super::Room;
use crate::admit::with_session;
use doorward_control::{Device, KeyFingerprint, ServiceRecord};
use doorward_core::access::{Denied, Visitor, decide};
use doorward_core::names::Label;
use doorward_core::service::{ServiceKind, Standing};
use doorward_core::ssh::{Identity, PublicKey};
use jiff::Timestamp;
use std::fmt::Write;
use std::net::IpAddr;

/// For whoever joins.
pub(super) const PASTE: &str = "Paste the invite and press Enter:\n";

impl Room {
    /// How one says `ssh` to this gateway.
    pub(super) fn command(&self, options: &str) -> String {
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
        "{key}\n\nWith an invite (`doorward invite` on the gateway makes one) it becomes a device's:\n\n  {} join\n",
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
    let mut records: Vec<_> =
        snapshot.services().filter(|record| record.service.standing == Standing::Offered).cloned().collect();
    records.sort_by_key(|record| record.service.path());
    let (mut open, mut closed) = (String::new(), String::new());
    // Each page gets a port of its own here, so that all can be used at once.
    for (record, here) in records.into_iter().zip(8080..) {
        let Some(line) = way_to(room, &record, here) else { continue };
        let (service, path) = (&record.service, record.service.path());
        let (lines, line) = match decide(service, &with_session(visitor, service, &snapshot), &*snapshot, now) {
            Ok(_) => (&mut open, line),
            Err(Denied::SessionNeeded | Denied::SessionOver) => (&mut closed, room.opening(service)),
            Err(_) => continue,
        };
        let _ = writeln!(lines, "  {path:<28} {line}");
    }
    if open.is_empty() && closed.is_empty() {
        return text + "\nThere is nothing that you may use by SSH now.\n";
    }
    for (heading, lines) in [("You may use:", open), ("You may open for a while:", closed)] {
        if !lines.is_empty() {
            let _ = write!(text, "\n{heading}\n{lines}");
        }
    }
    text
}

/// The line that leads there. `None`: none does. `here`: a port of theirs for a page.
pub(super) fn way_to(room: &Room, record: &ServiceRecord, here: u16) -> Option<String> {
    let (device, name) = (&record.service.device_name, &record.service.name);
    match (record.service.kind, record.virtual_port) {
        (ServiceKind::Udp | ServiceKind::Camera, _) => None,
        (ServiceKind::Tcp, Some(22)) => Some(format!("ssh -J {} USER@{device}", room.jump())),
        (ServiceKind::Http, _) => {
            let command = room.command(&format!("-N -L {here}:{name}.{device}:80"));
            Some(format!("{command}     then http://localhost:{here}/"))
        }
        (ServiceKind::Tcp, port) => {
            let port = port.unwrap_or(9000);
            Some(room.command(&format!("-N -L {}:{name}.{device}:{port}", unprivileged(port))))
        }
    }
}

/// Only root may listen on the lower ones.
fn unprivileged(port: u16) -> u16 {
    if port < 1024 { port + 10_000 } else { port }
}
