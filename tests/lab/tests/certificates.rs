//! Certificates from a real ACME server, proved by real name servers.

#![expect(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use doorward_control::CertificateState;
use doorward_core::certificates::{Names as CertificateNames, Outcome};
use doorward_core::names::HostName;
use doorward_gateway::{DnsSettings, HookSettings, IssuingSettings, ResponderSettings, Way};
use doorward_lab::authority::{Bind, Manners, Names, Pebble, free, held, issuing, until_held, until_reported};
use doorward_lab::{LIMIT, LOOPBACK, Lab, Shape, service, until, visitor, web};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn shape(issuing: IssuingSettings) -> Shape {
    Shape { issuing: Some(issuing), hsts: Duration::from_secs(60), ..Shape::default() }
}

/// Looking for proofs where the gateway is.
fn manners(lab: &Lab, dns: SocketAddr) -> Manners {
    let bound = lab.gateway.gateway.bound();
    Manners { http: bound.redirect[0].port(), https: bound.https[0].port(), dns, bad_nonces: 0, life: 90 * 86_400 }
}

/// The certificate that a browser sees under this name.
async fn shown(lab: &Lab, host: &str) -> CertificateDer<'static> {
    let socket = TcpStream::connect(lab.https()).await.unwrap();
    let secured = visitor::tls(socket, host, &["http/1.1"]).await.unwrap();
    secured.get_ref().1.peer_certificates().unwrap()[0].clone()
}

fn first(chain: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()
}

async fn until_shown(lab: &Lab, names: &str, host: &str) {
    let (_, chain) = held(lab.control(), names).unwrap();
    until(&format!("{host} shows it"), async || shown(lab, host).await == first(&chain)).await;
}

/// A program that has challtestsrv say what it is told; beforehand it does this.
fn hook(folder: &Path, names: &Names, beforehand: &str) -> HookSettings {
    let program = folder.join("hook");
    let text = format!(
        "#!/bin/sh\nset -e\n{beforehand}\ncase \"$1\" in\n\
         present) curl -sSf -d \"{{\\\"host\\\":\\\"$2\\\",\\\"value\\\":\\\"$3\\\"}}\" http://{0}/set-txt ;;\n\
         cleanup) curl -sSf -d \"{{\\\"host\\\":\\\"$2\\\"}}\" http://{0}/clear-txt ;;\n*) exit 1 ;;\nesac\n\
         echo \"$1 $2\" >> {1}\n",
        names.management,
        folder.join("log").display(),
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    HookSettings { program, propagation: Duration::from_secs(10) }
}

const BOTH: &str = "gw.test,*.gw.test";

#[tokio::test(flavor = "multi_thread")]
async fn every_known_name_gets_a_certificate_over_http_and_is_held_to_https() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let lab = Lab::of(shape(issuing(&[&pebble], &[Way::Http], names.dns))).await;
    pebble.start(manners(&lab, names.dns)).await;
    until_held(lab.control(), "gw.test").await;
    let target = web::web(|_| web::ok("here")).await;
    let _device = lab.device("printer1", vec![service("web", &target.url())]).await;
    let host = lab.record("printer1", "web").hosts[0].host.to_string();
    until_held(lab.control(), &host).await;
    until_shown(&lab, "gw.test", "gw.test").await;
    until_shown(&lab, &host, &host).await;

    // HSTS with the trusted certificate, and never with the one of our own making.
    let hsts = async |host: &str| {
        let socket = TcpStream::connect(lab.https()).await.unwrap();
        let secured = visitor::tls(socket, host, &["http/1.1"]).await.unwrap();
        let request = visitor::request(host, "/").body(visitor::nothing()).unwrap();
        let answer = visitor::send_over(&mut visitor::http1_over(secured).await, request).await;
        answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(hsts(&host).await.as_deref(), Some("max-age=60"));
    assert_eq!(hsts("unknown.gw.test").await, None);
    let plain = visitor::get(lab.http(), &host, "/").await;
    assert_eq!((plain.status.as_u16(), plain.headers.get("strict-transport-security")), (200, None));

    let port_80 = lab.gateway.gateway.bound().redirect[0];
    let sent = visitor::get(port_80, &host, "/x?y=1").await;
    assert_eq!(sent.status, 308);
    let location = sent.headers["location"].to_str().unwrap();
    assert!(location.starts_with("https://") && location.ends_with("/x?y=1"), "{location}");
    assert_eq!(visitor::get(port_80, &host, "/.well-known/acme-challenge/x").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_are_proved_by_tls_and_whoever_asks_without_reason_sees_nothing() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let mut settings = issuing(&[&pebble], &[Way::TlsAlpn], names.dns);
    settings.addresses = vec![LOOPBACK];
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, names.dns)).await;
    until_held(lab.control(), "gw.test").await;
    until_held(lab.control(), "127.0.0.1").await;
    until_shown(&lab, "gw.test", "gw.test").await;
    // An address is asked for without a name.
    until_shown(&lab, "127.0.0.1", "127.0.0.1").await;
    let socket = TcpStream::connect(lab.https()).await.unwrap();
    assert!(visitor::tls(socket, "gw.test", &["acme-tls/1"]).await.is_err());
}

/// A ClientHello, as TLS writes it.
fn hello(host: &str, protocol: &str) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).unwrap();
    let mut bytes = Vec::new();
    rustls::ClientConnection::new(config.into(), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_in_many_pieces_is_judged_like_a_whole_one() {
    let names = Names::start().await;
    let lab = Lab::of(shape(issuing(&[], &[Way::TlsAlpn], names.dns))).await;
    // Whether the gateway goes on with the handshake.
    let is_answered = async |protocol: &str, piece: usize| {
        let mut socket = TcpStream::connect(lab.https()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for piece in hello("gw.test", protocol).chunks(piece) {
            // Who is refused may be so before the last piece.
            let _ = socket.write_all(piece).await;
            tokio::task::yield_now().await;
        }
        let mut first = [0; 1];
        let read = tokio::time::timeout(LIMIT, socket.read(&mut first)).await.expect("an answer in time");
        // 22: a handshake message (RFC 8446, 5.1).
        matches!(read, Ok(1)) && first[0] == 22
    };
    let mut seen = 0;
    for piece in [1, 7, 100, 10_000] {
        assert!(is_answered("http/1.1", piece).await, "{piece}");
        assert!(is_answered("doorward/1", piece).await, "{piece}");
        assert!(!is_answered("acme-tls/1", piece).await, "{piece}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_are_refused_again_and_again_only_take_time() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    // Nothing is ordered before there is an authority.
    names.lead("gw.test", Some("192.0.2.7")).await;
    let lab = Lab::of(shape(issuing(&[&pebble], &[Way::Http], names.dns))).await;
    let bad_nonces = 70;
    pebble.start(Manners { bad_nonces, ..manners(&lab, names.dns) }).await;
    names.lead("gw.test", None).await;
    until_held(lab.control(), "gw.test").await;
    // Without refusals it takes nine.
    let asked = pebble.log().matches("POST /").count();
    println!("{asked} requests were made");
    assert!(asked > 10, "{}", pebble.log());
    assert_eq!(lab.control().certificate_attempts().await.unwrap().len(), 1, "it was given up in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_is_asked_again_and_another_one_meanwhile() {
    let (names, away, mut pebble) = (Names::start().await, Pebble::new(), Pebble::new());
    let lab = Lab::of(shape(issuing(&[&away, &pebble], &[Way::Http], names.dns))).await;
    let directories = [&away, &pebble].map(|authority| authority.settings().terms.directory);
    until("both were asked", async || {
        let tried = lab.control().certificate_attempts().await.unwrap();
        directories.iter().all(|directory| tried.iter().any(|attempt| attempt.authority == *directory))
    })
    .await;
    pebble.start(manners(&lab, names.dns)).await;
    until_held(lab.control(), "gw.test").await;
    let report = lab.control().certificate_reports().newest();
    let used: Vec<_> = report.authorities.iter().map(|authority| authority.weekly_used).collect();
    // The report is of before the order was completed, or of after.
    assert!(used == [0, 1] || used == [0, 0], "{report:#?}");
    until_reported(lab.control(), "one new one this week", |report| report.authorities[1].weekly_used == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_outlives_a_restart() {
    let (names, mut pebble, folder) = (Names::start().await, Pebble::new(), tempfile::tempdir().unwrap());
    let mut settings = issuing(&[&pebble], &[], names.dns);
    let go = folder.path().join("go");
    let until_go = format!("while [ ! -e {} ]; do sleep 0.1; done", go.display());
    settings.dns = Some(DnsSettings::Hook(hook(folder.path(), &names, &until_go)));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, names.dns)).await;
    let directory = pebble.settings().terms.directory;
    let set = CertificateNames::parse(BOTH).unwrap();
    let pending = async |lab: &Lab| lab.control().pending_order(&set, &directory).await.unwrap();
    until("an order is under way", async || pending(&lab).await.is_some()).await;
    let lab = lab.restart_gateway().await;
    let begun = pending(&lab).await.expect("the order is still under way");
    std::fs::write(go, "").unwrap();
    until_held(lab.control(), BOTH).await;
    let (key, _) = held(lab.control(), BOTH).unwrap();
    assert!(key == begun.key, "another order was made instead");
    assert!(pending(&lab).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_there_again_after_a_restart_and_are_not_ordered_anew() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let lab = Lab::of(shape(issuing(&[&pebble], &[Way::Http], names.dns))).await;
    pebble.start(manners(&lab, names.dns)).await;
    until_held(lab.control(), "gw.test").await;
    pebble.stop().await;
    let lab = lab.restart_gateway().await;
    until_shown(&lab, "gw.test", "gw.test").await;
    until_reported(lab.control(), "it is fine", |report| {
        report.sets.iter().any(|set| matches!(set.state, CertificateState::Fine { .. }))
    })
    .await;
    let attempts = lab.control().certificate_attempts().await.unwrap();
    // Before there was an authority some came to nothing.
    let issued = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Issued { .. })).count();
    assert_eq!(issued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ordered_before_dns_leads_here_and_the_missing_record_is_named() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    names.lead("gw.test", Some("192.0.2.7")).await;
    let mut settings = issuing(&[&pebble], &[Way::Http], names.dns);
    settings.public = vec!["203.0.113.7".parse().unwrap()];
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, names.dns)).await;
    until_reported(lab.control(), "a record is missing", |report| {
        let Some(CertificateState::Records { missing }) = report.sets.first().map(|set| &set.state) else {
            return false;
        };
        assert!(missing[0].starts_with("gw.test A 203.0.113.7 (DNS says 192.0.2.7"), "{missing:?}");
        true
    })
    .await;
    let mut reports = lab.control().certificate_reports().follow();
    for _ in 0..3 {
        // After each look it would order, if it did.
        reports.changed().await.unwrap();
    }
    assert!(lab.control().certificate_attempts().await.unwrap().is_empty());
    assert!(!pebble.log().contains("POST /"), "{}", pebble.log());
    names.lead("gw.test", None).await;
    until_held(lab.control(), "gw.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_proved_by_a_dynamic_update_that_is_signed() {
    let (bind, mut pebble) = (Bind::start("", None).await, Pebble::new());
    let mut settings = issuing(&[&pebble], &[], bind.dns);
    settings.dns = Some(DnsSettings::Update(bind.updates(Bind::key())));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, bind.dns)).await;
    until_held(lab.control(), BOTH).await;
    until_shown(&lab, BOTH, "gw.test").await;
    until_shown(&lab, BOTH, "any.gw.test").await;
    // With one certificate for all, a service's own name needs none.
    let target = web::web(|_| web::ok("here")).await;
    let _device = lab.device("printer1", vec![service("web", &target.url())]).await;
    let host = lab.record("printer1", "web").hosts[0].host.to_string();
    until_shown(&lab, BOTH, &host).await;
    until_reported(lab.control(), "one set is all", |report| report.sets.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_with_another_key_is_refused_and_that_is_said() {
    let (bind, mut pebble) = (Bind::start("", None).await, Pebble::new());
    let mut settings = issuing(&[&pebble], &[], bind.dns);
    settings.dns = Some(DnsSettings::Update(bind.updates(b"not the key that was agreed on")));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, bind.dns)).await;
    until_reported(lab.control(), "the refusal", |report| {
        let Some(CertificateState::Failed { why, .. }) = report.sets.first().map(|set| &set.state) else {
            return false;
        };
        why.contains("refuses a record")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_proved_by_our_own_name_server_behind_an_alias() {
    let dns = free();
    let bind = Bind::start("_acme-challenge CNAME gw.test.acme.test.", Some(("acme.test", dns))).await;
    let mut pebble = Pebble::new();
    let mut settings = issuing(&[&pebble], &[], bind.dns);
    let host = |name: &str| HostName::parse(name).unwrap();
    let responder = ResponderSettings { zone: host("acme.test"), server: host("ns.gw.test"), listen: vec![dns] };
    settings.dns = Some(DnsSettings::Responder(responder));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, bind.dns)).await;
    until_held(lab.control(), BOTH).await;
    until_shown(&lab, BOTH, "any.gw.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_alias_nothing_is_ordered_and_the_alias_is_named() {
    let dns = free();
    let bind = Bind::start("", Some(("acme.test", dns))).await;
    let pebble = Pebble::new();
    let mut settings = issuing(&[&pebble], &[], bind.dns);
    let host = |name: &str| HostName::parse(name).unwrap();
    let responder = ResponderSettings { zone: host("acme.test"), server: host("ns.gw.test"), listen: vec![dns] };
    settings.dns = Some(DnsSettings::Responder(responder));
    let lab = Lab::of(shape(settings)).await;
    until_reported(lab.control(), "the alias is missing", |report| {
        let Some(CertificateState::Records { missing }) = report.sets.first().map(|set| &set.state) else {
            return false;
        };
        missing.iter().any(|record| record.contains("_acme-challenge.gw.test CNAME gw.test.acme.test"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_of_ours_that_nobody_hears_orders_nothing() {
    // The alias is there, and its zone was delegated to another gateway.
    let (dns, host) = (free(), |name: &str| HostName::parse(name).unwrap());
    let bind = Bind::start("_acme-challenge CNAME gw.test.acme.test.", Some(("acme.test", dns))).await;
    let gateway = |listen: SocketAddr| {
        let mut settings = issuing(&[], &[], bind.dns);
        let (zone, server) = (host("acme.test"), host("ns.gw.test"));
        settings.dns = Some(DnsSettings::Responder(ResponderSettings { zone, server, listen: vec![listen] }));
        settings
    };
    let pebble = Pebble::new();
    let _other = Lab::of(shape(gateway(dns))).await;
    let mut settings = gateway(free());
    settings.authorities.push(pebble.settings());
    let lab = Lab::of(shape(settings)).await;
    until_reported(lab.control(), "the delegation is missing", |report| {
        let Some(CertificateState::Records { missing }) = report.sets.first().map(|set| &set.state) else {
            return false;
        };
        missing.iter().any(|record| record.contains("acme.test NS ns.gw.test") && record.contains("nobody hears"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_is_proved_by_a_program_that_speaks_legos_protocol() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let folder = tempfile::tempdir().unwrap();
    let mut settings = issuing(&[&pebble], &[], names.dns);
    settings.dns = Some(DnsSettings::Hook(hook(folder.path(), &names, "")));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(manners(&lab, names.dns)).await;
    until_held(lab.control(), BOTH).await;
    until_shown(&lab, BOTH, "any.gw.test").await;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let count = |verb: &str| log.matches(&format!("{verb} _acme-challenge.gw.test.\n")).count();
    assert!(count("present") >= 2 && count("present") == count("cleanup"), "{log}");
}
