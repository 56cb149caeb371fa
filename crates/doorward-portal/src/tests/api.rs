use super::support::*;
use doorward_control::{Arrival, LinkId, LinkReport};
use doorward_core::Secret;
use doorward_core::hop::HopFailure;
use doorward_core::invite::Invite;
use doorward_core::site::Carrier;
use std::time::Duration;

const JUPYTER: &str = r#"{"name": "jupyter", "kind": "http", "access": {"who": "public"}}"#;
const SSH: &str = r#"{"name": "ssh", "kind": "tcp", "entrances": [{"tcp-port": 0}]}"#;

#[tokio::test]
async fn an_invite_is_made_listed_and_revoked() {
    let portal = Portal::open().await;
    let made = portal.ask("POST", "/api/v1/invites", r#"{"uses": 2, "expires-in": "36h", "name": "zumi"}"#).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let invite = Invite::parse(made.json()["invite"].as_str().unwrap()).unwrap();
    assert_eq!(invite.site, portal.state.control.site_keys().active.fingerprint);
    assert_eq!(invite.addresses[0].to_string(), "gw.example.org:443");
    let listed = portal.ask("GET", "/api/v1/invites", "").await.json();
    assert_eq!(listed[0]["uses-left"], 2);
    assert_eq!(listed[0]["expires-at"], "2026-11-25T00:00:00Z");
    assert!(!listed.to_string().contains("DW1"), "the text is known once");
    let path = format!("/api/v1/invites/{}", made.json()["id"]);
    assert!(portal.ask_seeing("DELETE", &path, "", Some(9)).await.problem(412).contains("version is 1"));
    assert_eq!(portal.ask_seeing("DELETE", &path, "", Some(1)).await.status.as_u16(), 204);
    assert_eq!(portal.ask("GET", "/api/v1/invites", "").await.json()[0]["is-usable"], false);
    portal.ask("DELETE", "/api/v1/invites/99", "").await.problem(404);
    portal.ask("DELETE", "/api/v1/invites/first", "").await.problem(400);
}

#[tokio::test]
async fn without_an_address_no_invite_is_made() {
    let portal = Portal::open().await;
    portal.addresses.send(Vec::new()).unwrap();
    assert!(portal.ask("POST", "/api/v1/invites", "").await.problem(409).contains("address"));
    assert_eq!(portal.state.control.invites().await.unwrap(), []);
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_named() {
    let portal = Portal::open().await;
    portal.join(1, "zumi01").await;
    let table = [
        ("POST", "/api/v1/invites", r#"{"use": 2}"#, "unknown field `use`"),
        ("PATCH", "/api/v1/devices/zumi01", r#"{"nome": "x"}"#, "unknown field `nome`"),
        ("PUT", "/api/v1/services/zumi01/x/access", r#"{"who": "public", "fromm": []}"#, "unknown field `fromm`"),
        ("POST", "/api/v1/backup", r#"{"path": "/x", "pass": 1}"#, "unknown field `pass`"),
        ("GET", "/api/v1/audit?lines=3", "", "unknown field `lines`"),
        ("POST", "/api/v1/invites", "nonsense", "the request's body"),
    ];
    for (method, path, body, what) in table {
        let problem = portal.ask(method, path, body).await.problem(400);
        assert!(problem.contains(what), "{method} {path}: {problem}");
    }
}

#[tokio::test]
async fn devices_show_their_link_and_are_renamed_revoked_and_replaced() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[JUPYTER]).await;
    let presence = portal.state.control.presence();
    let source = "192.0.2.7".parse().unwrap();
    let arrival =
        Arrival { device: device.id, link: LinkId(1), carrier: Carrier::Quic, source, agent_version: "0.1".into() };
    presence.arrived(arrival, noon());
    let report = LinkReport { rtt: Some(Duration::from_millis(12)), streams: 3, bytes_in: 1, bytes_out: 2 };
    presence.report(device.id, LinkId(1), report);
    let shown = portal.ask("GET", "/api/v1/devices", "").await.json()[0].clone();
    assert_eq!(
        (&shown["link"], &shown["carrier"], &shown["rtt-ms"], &shown["streams"], &shown["services"][0]),
        (&"online".into(), &"quic".into(), &12.0.into(), &3.into(), &"jupyter".into())
    );
    let version = shown["version"].as_i64().unwrap();

    let edited = portal.ask_seeing("PATCH", "/api/v1/devices/zumi01", r#"{"name": "zumi02"}"#, Some(version)).await;
    assert_eq!(edited.json()["name"], "zumi02");
    assert_eq!(edited.header("etag"), format!("\"{}\"", version + 1));
    let stale = portal.ask_seeing("POST", "/api/v1/devices/zumi02/revoke", "", Some(version)).await;
    stale.problem(412);
    portal.ask("PATCH", "/api/v1/devices/zumi01", "{}").await.problem(404);
    let bad = portal.ask("PATCH", "/api/v1/devices/zumi02", r#"{"name": "Küche"}"#).await.problem(400);
    assert!(bad.contains("\"kueche\" would do"), "{bad}");
    portal.join(2, "other").await;
    let taken = portal.ask("PATCH", "/api/v1/devices/zumi02", r#"{"name": "other"}"#).await.problem(409);
    assert!(taken.contains("other-2"), "{taken}");

    let revoked = portal.ask("POST", "/api/v1/devices/zumi02/revoke", "").await;
    assert_eq!(revoked.json()["revoked-at"], "2026-11-23T12:00:00Z");
    let replaced = portal.ask("POST", "/api/v1/devices/zumi02/replace", "").await;
    assert!(Invite::parse(replaced.json()["invite"].as_str().unwrap()).is_ok());
    assert_eq!(portal.ask("GET", "/api/v1/invites", "").await.json()[0]["replaces"], "zumi02");
}

#[tokio::test]
async fn services_show_their_addresses_and_take_a_policy() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[JUPYTER, SSH]).await;
    let id = portal.state.control.snapshot().service_of(device.id, &"ssh".to_owned().try_into().unwrap()).unwrap().id;
    portal.state.control.presence().service_failed(id, HopFailure::TargetRefused, noon());
    let shown = portal.ask("GET", "/api/v1/services", "").await.json();
    assert_eq!(shown[0]["reached-by"][0], "https://jupyter-zumi01.example.org/");
    assert_eq!(
        (&shown[1]["reached-by"][0], &shown[1]["ports"][0]["port"]),
        (&"example.org:20000".into(), &20000.into())
    );
    assert_eq!(shown[1]["failure"]["hop"], "target-refused");

    let access = "/api/v1/services/zumi01/ssh/access";
    let version = shown[1]["version"].as_i64();
    let set = portal.ask_seeing("PUT", access, r#"{"who": "public", "from": ["192.0.2.0/24"]}"#, version).await;
    assert_eq!((&set.json()["access-home"], &set.json()["access"]["who"]), (&"store".into(), &"public".into()));
    portal.ask_seeing("PUT", access, "{}", version).await.problem(412);
    let bad = portal.ask("PUT", access, r#"{"who": "public", "from": ["everywhere"]}"#).await.problem(400);
    assert!(bad.contains("access.from"), "{bad}");
    assert_eq!(portal.ask("DELETE", access, "").await.json()["access-home"], "device");
    portal.ask("PUT", "/api/v1/services/zumi01/nothing/access", "{}").await.problem(404);
    portal.ask("PUT", "/api/v1/services/nobody/ssh/access", "{}").await.problem(404);
}

#[tokio::test]
async fn no_answer_holds_anything_to_try_passwords_against() {
    const HASHES: [&str; 2] = ["$argon2id$v=19$one", "$argon2id$v=19$two"];
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    let offer = format!(
        r#"{{"name": "cam", "kind": "http", "access": {{"who": "password", "passwords": {{"anna": "{}"}}}}}}"#,
        HASHES[0]
    );
    portal.offer(&device, &[&offer, SSH]).await;
    let policy = format!(r#"{{"who": "password", "passwords": {{"bert": "{}"}}}}"#, HASHES[1]);
    let mut answers = vec![portal.ask("PUT", "/api/v1/services/zumi01/ssh/access", &policy).await];
    for path in ["services", "devices", "invites", "audit", "status"] {
        answers.push(portal.ask("GET", &format!("/api/v1/{path}"), "").await);
    }
    answers.push(portal.ask("GET", "/", "").await);
    answers.push(portal.ask("DELETE", "/api/v1/services/zumi01/ssh/access", "").await);
    for answer in &answers {
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
        assert!(HASHES.iter().all(|hash| !answer.text.contains(hash)), "{}", answer.text);
    }
    let shown = answers[1].json();
    assert_eq!(shown[0]["access"], serde_json::json!({ "who": "password", "users": ["anna"] }));
    assert_eq!(shown[1]["access"], serde_json::json!({ "who": "password", "users": ["bert"] }));
}

#[tokio::test]
async fn reservations_are_released_by_name() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[JUPYTER, SSH]).await;
    portal.ask("DELETE", "/api/v1/reservations/services/zumi01/ssh", "").await.problem(400);
    for path in ["hosts/jupyter-zumi01.example.org", "ports/tcp/20000"] {
        let path = format!("/api/v1/reservations/{path}");
        assert_eq!(portal.ask("DELETE", &path, "").await.status.as_u16(), 204);
        portal.ask("DELETE", &path, "").await.problem(404);
    }
    portal.ask("DELETE", "/api/v1/reservations/ports/sctp/1", "").await.problem(400);
    portal.offer(&device, &[]).await;
    assert_eq!(portal.ask("DELETE", "/api/v1/reservations/services/zumi01/ssh", "").await.status.as_u16(), 204);
    assert_eq!(portal.ask("GET", "/api/v1/services", "").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn status_audit_site_key_and_backup_answer() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[SSH]).await;
    let status = portal.ask("GET", "/api/v1/status", "").await.json();
    assert_eq!(
        (&status["devices"], &status["services"], &status["ports"][0]["port"]),
        (&1.into(), &1.into(), &20000.into())
    );
    let successor = portal.ask("POST", "/api/v1/site-key/successor", "").await.json();
    assert!(portal.ask("POST", "/api/v1/site-key/activate", "").await.problem(409).contains("zumi01"));
    assert_eq!(portal.ask("GET", "/api/v1/status", "").await.json()["site-key-awaited"][0], "zumi01");
    assert_eq!(portal.ask("POST", "/api/v1/site-key/activate", r#"{"anyway": true}"#).await.json(), successor);
    assert_eq!(portal.ask("GET", "/api/v1/status", "").await.json()["site-key"], successor["fingerprint"]);
    portal.ask("POST", "/api/v1/site-key/activate", "").await.problem(400);
    let audit = portal.ask("GET", "/api/v1/audit?limit=2", "").await.json();
    assert_eq!(audit[0]["deed"], "site-key-rotated");
    assert_eq!(audit.as_array().unwrap().len(), 2);

    let directory = tempfile::tempdir().unwrap();
    let body = serde_json::json!({"path": directory.path().join("copy.db")}).to_string();
    assert_eq!(portal.ask("POST", "/api/v1/backup", &body).await.status.as_u16(), 204);
    assert!(portal.ask("POST", "/api/v1/backup", &body).await.problem(409).contains("copy.db"));
    assert!(
        portal.ask("POST", "/api/v1/backup", r#"{"path": "copy.db"}"#).await.problem(400).contains("from the root")
    );
}

#[tokio::test]
async fn what_does_not_exist_is_answered_like_every_other_error() {
    let portal = Portal::open().await;
    portal.ask("GET", "/api/v1/nothing", "").await.problem(404);
    portal.ask("GET", "/nothing", "").await.problem(404);
    portal.ask("POST", "/api/v1/status", "").await.problem(405);
    portal.ask("POST", "/api/v1/invites", &" ".repeat(70_000)).await.problem(413);
    for bad in ["x", "\"1\", \"2\"", ""] {
        let request = http::Request::builder().method("POST").uri("/api/v1/devices/x/revoke").header("if-match", bad);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = send(crate::owner(portal.state.clone()), request).await;
        assert!(answer.problem(400).contains("If-Match"));
    }
}

#[tokio::test]
async fn a_stopping_gateway_says_so() {
    let portal = Portal::open().await;
    portal.state.control.close().await;
    assert!(portal.ask("POST", "/api/v1/invites", "").await.problem(503).contains("stopping"));
    assert_eq!(portal.ask("GET", "/healthz", "").await.text, "ok\n");
}

#[test]
fn a_passphrase_is_not_printed() {
    let request = crate::BackupRequest { path: "/x".into(), passphrase: Some(Secret::new("hunter2".into())) };
    assert!(!format!("{request:?}").contains("hunter2"));
}
