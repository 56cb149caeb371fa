use super::support::*;
use doorward_control::{Arrival, DeviceEdit, LinkId, LinkReport, PortState, Protocol, Reachability};
use doorward_core::hop::HopFailure;
use doorward_core::site::Carrier;
use std::time::Duration;

#[tokio::test]
async fn the_page_shows_who_is_here_and_how_to_get_in() {
    let portal = Portal::open().await;
    let empty = portal.ask("GET", "/", "").await.text;
    assert!(empty.contains("No device has joined yet") && empty.contains("doorward join") && !empty.contains("DW1"));
    let (here, gone) = (portal.join(1, "zumi01").await, portal.join(2, "attic").await);
    let jupyter = r#"{"name": "jupyter", "kind": "http", "access": {"who": "public"}}"#;
    let ssh = r#"{"name": "ssh", "kind": "tcp", "entrances": [{"tcp-port": 0}]}"#;
    let vault = r#"{"name": "vault", "kind": "tcp", "entrances": [{"tls": "vault.example.org"}]}"#;
    portal.offer(&here, &[jupyter, ssh, vault]).await;
    let presence = portal.state.control.presence();
    let source = "192.0.2.7".parse().unwrap();
    for (device, link) in [(here.id, 1), (gone.id, 2)] {
        let arrival = Arrival { device, link: LinkId(link), carrier: Carrier::Quic, source, agent_version: "0".into() };
        presence.arrived(arrival, noon() - Duration::from_secs(7200));
    }
    presence.left(gone.id, LinkId(2), noon() - Duration::from_secs(300));
    let report = LinkReport { rtt: Some(Duration::from_millis(34)), ..LinkReport::default() };
    presence.report(here.id, LinkId(1), report);
    let page = portal.ask("GET", "/", "").await.text;
    for part in [
        "<h1>example.org</h1>",
        "<code>gw.example.org:443</code>",
        "(quic, 34 ms)",
        ">2 h</time>",
        ">5 min</time> ago",
        "<a href=\"https://jupyter-zumi01.example.org/\"",
        "<code>example.org:20000</code>",
        "<a href=\"https://vault.example.org/\"",
        "nobody may use it yet",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("Closed ports"));
}

#[tokio::test]
async fn closed_ports_come_with_the_command_that_opens_them() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[r#"{"name": "ssh", "kind": "tcp", "entrances": [{"tcp-port": 0}]}"#]).await;
    let presence = portal.state.control.presence();
    presence.port_state(Protocol::Tcp, 443, PortState::Failed { why: "address in use".into() });
    presence.port_state(Protocol::Tcp, 20000, PortState::Bound);
    presence.port_seen(Protocol::Tcp, 20000, Reachability::Unreachable { detail: "timed out".into() });
    presence.port_seen(Protocol::Udp, 443, Reachability::Reachable);
    let page = portal.ask("GET", "/", "").await.text;
    assert!(page.contains("tcp port 443 could not be opened: address in use"));
    assert!(page.contains("tcp port 20000 (zumi01/ssh) cannot be reached from outside: timed out"));
    for command in ["ufw allow 20000/tcp", "--add-port=20000/tcp", "input tcp dport 20000 accept"] {
        assert!(page.contains(command), "{command}");
    }
    assert!(!page.contains("udp port 443"));
}

#[tokio::test]
async fn no_text_of_a_device_becomes_markup() {
    let portal = Portal::open().await;
    let evil = "<script>alert(1)</script>\"'&";
    let device = portal.join(1, "zumi01").await;
    let edit = DeviceEdit { title: Some(evil.into()), ..DeviceEdit::default() };
    portal.state.control.edit_device(device.id, edit, None, noon()).await.unwrap();
    let offer = serde_json::json!({"name": "a", "kind": "http", "title": evil}).to_string();
    portal.offer(&device, &[&offer]).await;
    let presence = portal.state.control.presence();
    presence.port_state(Protocol::Tcp, 1, PortState::Failed { why: evil.into() });
    presence.port_seen(Protocol::Tcp, 2, Reachability::Unreachable { detail: evil.into() });
    let record = portal.state.control.snapshot().services().next().unwrap().clone();
    presence.service_failed(record.service.id, HopFailure::TargetRefused, noon());
    let page = portal.ask("GET", "/", "").await.text;
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;";
    assert_eq!(page.matches(escaped).count(), 4, "{page}");
    assert!(!page.contains("<script"));
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere_and_may_run_nothing() {
    let portal = Portal::open().await;
    let page = portal.ask("GET", "/", "").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self';"));
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.text.matches("href=").count(), 1, "the style alone");
    for forbidden in ["style=", "<script", "onclick", "src="] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    let style = portal.ask("GET", "/style.css", "").await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.text.contains("prefers-color-scheme: dark") && !style.text.contains("url("));
}
