use super::*;
use crate::admin::status::PortStatus;
use crate::testbed::{Ports, Testbed};
use doorward_control::InviteRequest;
use firewall::Firewall;
use serde_json::json;

fn found<'f>(findings: &'f [Finding], hop: &str, part: &str) -> &'f Finding {
    let found = findings.iter().find(|finding| finding.hop == hop && finding.what.contains(part));
    found.unwrap_or_else(|| panic!("no {hop}: {part} in\n{}", words(findings)))
}

fn nowhere() -> Places {
    Places { state: "/nonexistent".into(), config: None }
}

#[tokio::test]
async fn where_nothing_is_it_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    let findings = examine(&Owner::new(directory.path()), &nowhere()).await;
    assert_eq!((findings.len(), count_wrong(&findings)), (1, 1));
    assert!(findings[0].what.contains(directory.path().to_str().unwrap()));
}

#[tokio::test]
async fn a_gateway_and_a_device_that_are_well_have_nothing_wrong() {
    let bed = Testbed::start().await;
    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let services = format!("[[service]]\nname = \"web\"\ntarget = \"http://{}\"\n", target.local_addr().unwrap());
    let invite = bed.gateway.invite(InviteRequest::default()).await.unwrap();
    let mut agent = bed.join(&invite, "printer1", &services).await;
    let findings = examine(&bed.owner, &agent.places).await;
    assert_eq!(count_wrong(&findings), 0, "{}", words(&findings));
    for (hop, part) in [
        ("gateway", "runs with"),
        ("store", "written and read"),
        ("site key", "in use"),
        ("devices", "1 of 1 are online"),
        ("agent", "it runs"),
        ("gateway main", "quic://127.0.0.1"),
        ("gateway main", "tls://127.0.0.1"),
        ("gateway main", "the agent is connected by quic, as printer1"),
        ("service", "takes connections"),
    ] {
        assert_eq!(found(&findings, hop, part).standing, Standing::Fine);
    }
    assert_eq!(found(&findings, "domain", "there is none").standing, Standing::Note);
    let shown = found(&findings, "certificate", "signed by the gateway's own authority");
    assert!(shown.standing == Standing::Note && shown.remedy.as_ref().unwrap().contains("doorward ca"), "{shown:?}");

    agent.stop().await;
    drop(target);
    let device = Owner::new("/nonexistent");
    let findings = examine(&device, &agent.places).await;
    assert_eq!(found(&findings, "agent", "does not run").standing, Standing::Wrong);
    assert_eq!(found(&findings, "gateway main", "it knows this device, as printer1").standing, Standing::Fine);
    let service = found(&findings, "service", "cannot be reached");
    assert!(service.remedy.as_ref().unwrap().contains("agent.toml"), "{service:?}");

    // A second gateway is asked as well.
    let other = Testbed::start().await;
    let options = doorward_agent::JoinOptions::new(
        doorward_core::names::Label::parse("other").unwrap(),
        StateDir::new(&agent.places.state),
        crate::agent::SOFTWARE,
    );
    let invite = other.gateway.invite(InviteRequest::default()).await.unwrap();
    doorward_agent::join(&invite, options).await.unwrap();
    let findings = examine(&device, &agent.places).await;
    for gateway in ["gateway main", "gateway other"] {
        assert_eq!(found(&findings, gateway, "it knows this device").standing, Standing::Fine);
    }

    crate::admin::devices::revoke(&bed.owner, "printer1").await.unwrap();
    let findings = examine(&device, &agent.places).await;
    let refused = found(&findings, "gateway main", "it refuses this device");
    assert!(refused.remedy.as_ref().unwrap().contains("join --replace"), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_that_somebody_else_signed_is_fine() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let keys = [(); 2].map(|()| rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
    let mut authority = rcgen::CertificateParams::default();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "An authority");
    let authority = rcgen::Issuer::from_params(&authority, &keys[0]);
    let made = rcgen::CertificateParams::new(vec!["*.example.localhost".to_owned()]).unwrap();
    std::fs::write(&chain, made.signed_by(&keys[1], &authority).unwrap().pem()).unwrap();
    std::fs::write(&key, keys[1].serialize_pem()).unwrap();
    let data = directory.path().join("gateway");
    let mut settings = crate::testbed::settings(&data, Ports::default());
    settings.gateway.certificate = doorward_gateway::CertificateSource::Files { chain, key };
    let gateway = crate::serve::start(settings).await.unwrap();
    let findings = examine(&Owner::new(data), &nowhere()).await;
    assert_eq!(found(&findings, "certificate", "is not self-signed").standing, Standing::Fine);
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_with_another_site_key_is_a_stranger() {
    let bed = Testbed::start().await;
    let invite = bed.gateway.invite(InviteRequest::default()).await.unwrap();
    let mut agent = bed.join(&invite, "printer1", "").await;
    agent.stop().await;
    let ports = Ports::of(&bed.gateway);
    let Testbed { directory, gateway, .. } = bed;
    gateway.stop().await;
    let other = crate::serve::start(crate::testbed::settings(&directory.path().join("other"), ports)).await.unwrap();
    let findings = examine(&Owner::new("/nonexistent"), &agent.places).await;
    for carrier in ["quic://", "tls://"] {
        let stranger = found(&findings, "gateway main", carrier);
        assert!(stranger.what.contains("another site key"), "{stranger:?}");
        assert_eq!(stranger.standing, Standing::Wrong);
    }
    other.stop().await;
}

#[tokio::test]
async fn a_gateway_whose_name_is_gone_is_told_by_the_name() {
    let bed = Testbed::start().await;
    let invite = bed.gateway.invite(InviteRequest::default()).await.unwrap();
    let mut agent = bed.join(&invite, "printer1", "").await;
    agent.stop().await;
    let site = agent.places.state.join("main/site.json");
    let text = std::fs::read_to_string(&site).unwrap();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap();
    let known =
        json!({"addresses": ["gone.invalid:443"], "keys": known["keys"], "revision": 1, "device-name": "printer1"});
    std::fs::write(&site, known.to_string()).unwrap();
    let findings = examine(&Owner::new("/nonexistent"), &agent.places).await;
    assert_eq!(found(&findings, "gateway main", "gone.invalid does not resolve").standing, Standing::Wrong);
}

#[tokio::test]
async fn a_gateway_that_is_gone_is_found_by_its_data() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("doorward.db"), "").unwrap();
    let findings = examine(&Owner::new(directory.path()), &nowhere()).await;
    assert!(found(&findings, "gateway", "does not run").remedy.as_ref().unwrap().contains("doorward serve"));
}

#[test]
fn ports_are_told_apart_and_the_command_is_said() {
    let ports: Vec<PortStatus> = serde_json::from_value(json!([
        {"protocol": "tcp", "port": 443, "service": null, "state": null, "reachability": "reachable"},
        {"protocol": "tcp", "port": 20000, "service": "printer1/ssh", "state": {"failed": {"why": "Address already in use (os error 98)"}}, "reachability": null},
        {"protocol": "tcp", "port": 20001, "service": "printer1/vnc", "state": "bound", "reachability": {"unreachable": {"detail": "no answer"}}},
        {"protocol": "udp", "port": 20002, "service": "printer1/sip", "state": "bound", "reachability": null},
    ]))
    .unwrap();
    let findings = gateway::ports(&ports, Firewall::Ufw);
    let taken = found(&findings, "port", "tcp/20000 (printer1/ssh) cannot be opened");
    assert!(taken.remedy.as_ref().unwrap().contains("ss -lntp 'sport = :20000'"), "{taken:?}");
    let closed = found(&findings, "port", "tcp/20001 (printer1/vnc) is closed from outside: no answer");
    assert!(closed.remedy.as_ref().unwrap().contains("sudo ufw allow 20001/tcp"), "{closed:?}");
    assert_eq!(found(&findings, "ports", "reached 1").standing, Standing::Fine);
    assert_eq!(found(&findings, "ports", "udp/20002").standing, Standing::Note);
    assert_eq!(findings.len(), 4);
}

#[test]
fn each_finding_is_one_line_with_its_remedy() {
    let findings = [Finding::fine("a", "b"), Finding::wrong("longer", "x\u{1b}[2J", "do y")];
    assert_eq!(words(&findings), "fine   a       b\nWRONG  longer  x\u{fffd}[2J; do y\n");
    let json = serde_json::to_value(&findings).unwrap();
    assert_eq!(json[1], json!({"standing": "wrong", "hop": "longer", "what": "x\u{1b}[2J", "remedy": "do y"}));
}

#[tokio::test]
async fn a_camera_is_looked_at_and_what_it_shows_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (good, gone) = (folder.path().join("good.jpg"), folder.path().join("gone.jpg"));
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../doorward-frames/tests/picture.jpg"), &good).unwrap();
    let settings = format!(
        "[[service]]\nname = \"good\"\ntarget = \"camera:{}\"\n[[service]]\nname = \"octo\"\ntarget = \"http://127.0.0.1:9\"\n\
         mounts = {{ \"/webcam/\" = \"camera:{}\" }}\n",
        good.display(),
        gone.display()
    );
    let settings = doorward_agent::Settings::parse(&settings, Path::new("agent.toml")).unwrap();
    let findings = targets::examine(&settings.services).await;
    let shown = found(&findings, "camera", "good: camera:");
    assert!(shown.standing == Standing::Fine && shown.what.contains("shows pictures of "), "{shown:?}");
    let missing = found(&findings, "camera", "octo/webcam/: camera:");
    assert!(missing.standing == Standing::Wrong && missing.what.contains("it is not there"), "{missing:?}");
    assert_eq!(findings.len(), 3, "each once, and the service itself");
}
