//! The start page: who is here, what is offered, and what stands in the way.

use super::escape;
use crate::PortalState;
use crate::api::devices::in_order;
use crate::api::status::{PortStatus, ports};
use axum::extract::State;
use axum::response::Html;
use doorward_control::{Device, LinkState, PortState, Protocol, Reach, Reachability, ServiceRecord};
use doorward_core::access::WhoDocument;
use doorward_core::prepare::Phase;
use doorward_core::service::{ServiceKind, Standing};
use jiff::Timestamp;

pub(super) async fn show(State(state): State<PortalState>) -> Html<String> {
    let now = (state.clock)();
    let name = state.control.site().domain.as_ref().map_or_else(|| "Doorward".to_owned(), ToString::to_string);
    let name = escape(name);
    let devices: String = in_order(&state).iter().map(|device| device_card(&state, device, now)).collect();
    let devices = if devices.is_empty() { "<p>No device has joined yet.</p>".to_owned() } else { devices };
    let addresses: Vec<_> = state.addresses.borrow().iter().map(|a| format!("<code>{}</code>", escape(a))).collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"30\"><title>{name}</title>\
         <link rel=\"stylesheet\" href=\"/style.css\"></head>\n\
         <body><header><h1>{name}</h1><p>Agents reach this gateway at {addresses}</p></header>\n\
         <main>\n{ports}<section><h2>Devices</h2>\n{devices}</section>\n{joining}</main>\n\
         <footer>Doorward {release}</footer></body></html>\n",
        addresses = if addresses.is_empty() { "no known address".to_owned() } else { addresses.join(", ") },
        ports = closed_ports(&ports(&state)),
        joining = JOINING,
        release = escape(state.release),
    ))
}

const JOINING: &str = "<section><h2>Add a device</h2>\
    <p>Make an invite here: <code>doorward invite</code>. Then, on the device: <code>doorward join</code>, \
    and paste the invite when asked.</p></section>\n";

fn device_card(state: &PortalState, device: &Device, now: Timestamp) -> String {
    let presence = state.control.presence().device(device.id);
    let (class, words) = match (&presence.link, device.revoked_at) {
        (_, Some(at)) => ("off", format!("revoked {}", ago(at, now))),
        (LinkState::Online { since, carrier, report, .. }, None) => {
            let rtt = report.rtt.map(|rtt| format!(", {} ms", rtt.as_millis())).unwrap_or_default();
            ("on", format!("online for {} ({}{rtt})", span(*since, now), escape(carrier.word())))
        }
        (LinkState::Offline { since: Some(at) }, None) => ("off", format!("offline, last seen {}", ago(*at, now))),
        (LinkState::Offline { since: None }, None) => ("off", "never seen".to_owned()),
    };
    let snapshot = state.control.snapshot();
    let services: String = snapshot
        .services_of(device.id)
        .filter(|record| record.service.standing == Standing::Offered)
        .map(|record| service_row(state, device, &record, now))
        .collect();
    let title =
        if device.title == device.name.as_str() { String::new() } else { format!(" {}", escape(&device.title)) };
    format!(
        "<article><h3><span class=\"dot {class}\"></span>{}<small>{title}</small></h3><p class=\"{class}\">{words}</p>\
         <ul>{services}</ul></article>\n",
        escape(&device.name),
    )
}

fn service_row(state: &PortalState, device: &Device, record: &ServiceRecord, now: Timestamp) -> String {
    let reach: Vec<_> = state.control.reach(record).iter().map(way_in).collect();
    let who = match record.access.who {
        WhoDocument::Nobody => "nobody may use it yet",
        WhoDocument::Public => "public",
        WhoDocument::Password => "with password",
        WhoDocument::People => "certain people",
        WhoDocument::Senders => "senders by SSH",
    };
    let from = if record.access.from.is_some() { ", from certain networks" } else { "" };
    let when = if record.access.when.is_some() { ", at certain hours" } else { "" };
    let failure = state.control.presence().service_failure(record.service.id);
    let failure = failure
        .map(|f| format!(" <span class=\"bad\">{}, since {}</span>", escape(f.failure), span(f.since, now)))
        .unwrap_or_default();
    let preparation = state.control.presence().preparation(record.service.id).filter(|p| p.phase != Phase::Resting);
    let preparation = preparation.map(|p| format!(" <small>{}, {}</small>", p.phase, span(p.since, now)));
    let failure = preparation.unwrap_or_default() + &failure;
    format!(
        "<li><b>{}</b> <small>{} · {who}{from}{when}</small><br>{}{failure}{}</li>",
        escape(&record.service.title),
        escape(record.service.kind),
        reach.join("<br>"),
        opening(device, record),
    )
}

/// For a service that nobody may use: the command that changes it.
fn opening(device: &Device, record: &ServiceRecord) -> String {
    let wish = match (record.access.who, record.service.kind) {
        (WhoDocument::Public | WhoDocument::Password | WhoDocument::People | WhoDocument::Senders, _) => {
            return String::new();
        }
        (WhoDocument::Nobody, ServiceKind::Http | ServiceKind::Camera) => "--password NAME",
        (WhoDocument::Nobody, ServiceKind::Tcp | ServiceKind::Udp) => "--public --from NETWORK",
    };
    let path = escape(format_args!("{}/{}", device.name, record.service.name));
    format!("<br><small>Open it:</small> <code>doorward access {path} set {wish}</code>")
}

/// A link where a browser can follow it, else text that one tap selects.
fn way_in(reach: &Reach) -> String {
    match reach {
        Reach::Web { .. } | Reach::Tls { .. } => {
            let url = escape(reach);
            format!("<a href=\"{url}\" rel=\"noreferrer\">{url}</a>")
        }
        Reach::Port { .. } => format!("<code>{}</code>", escape(reach)),
    }
}

fn closed_ports(ports: &[PortStatus]) -> String {
    let rows: String = ports.iter().filter_map(closed_port).collect();
    if rows.is_empty() { rows } else { format!("<section class=\"warning\"><h2>Closed ports</h2>{rows}</section>\n") }
}

fn closed_port(status: &PortStatus) -> Option<String> {
    let (protocol, port) = (status.protocol.word(), status.port);
    let of = status.service.as_ref().map(|path| format!(" ({})", escape(path))).unwrap_or_default();
    if let Some(PortState::Failed { why }) = &status.state {
        return Some(format!("<p>{protocol} port {port}{of} could not be opened: {}.</p>", escape(why)));
    }
    let Some(Reachability::Unreachable { detail }) = &status.reachability else { return None };
    Some(format!(
        "<p>{protocol} port {port}{of} cannot be reached from outside: {}. Open it in the firewall, by the \
         command that fits (and in the provider's firewall, if there is one):</p>\
         <ul class=\"commands\"><li><code>sudo ufw allow {port}/{protocol}</code></li>\
         <li><code>sudo firewall-cmd --permanent --add-port={port}/{protocol} &amp;&amp; sudo firewall-cmd --reload</code></li>\
         <li><code>sudo nft insert rule inet filter input {nft} dport {port} accept</code></li></ul>",
        escape(detail),
        nft = match status.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        },
    ))
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(then, now))
}

/// `45 s`, `12 min`, `5 h`, `3 days`, with the exact time at hand.
fn span(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let words = match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("<time datetime=\"{since}\" title=\"since {since}\">{words}</time>")
}
