use super::portal::Portal;
use super::tokens::Wish;
use super::*;
use crate::testbed::Testbed;
use doorward_core::Secret;
use doorward_core::authority::Scope;
use doorward_portal::{BackupHook, PortalState};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The portal's public door on loopback, and who serves it.
async fn open(bed: &Testbed) -> (String, JoinSet<()>) {
    let backup: BackupHook = Arc::new(|_| Box::pin(async { Err("not in this test".to_owned()) }));
    let (control, clock) = (bed.gateway.control.clone(), Timestamp::now as fn() -> Timestamp);
    let (_, addresses) = watch::channel(Vec::new());
    let site = doorward_portal::site(PortalState {
        control,
        addresses,
        release: "0.0.0",
        backup,
        providers: doorward_oidc::Providers::default(),
        clock,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, site).await.unwrap() });
    (address, server)
}

async fn furnish(bed: &Testbed) {
    let device = bed.enrol(1, "printer1").await;
    let access = json!({"who": "people", "people": ["anna"], "how": "on-request"});
    bed.offer(&device, &[json!({"name": "octoprint", "kind": "http", "access": access})]).await;
    let anna = people::New { name: "anna".to_owned(), title: None, role: None, ends_at: None };
    people::add(&bed.owner, anna).await.unwrap();
}

async fn token(bed: &Testbed, person: Option<&str>, scope: Scope) -> Secret<String> {
    let (title, person) = ("a script".to_owned(), person.map(str::to_owned));
    let wish = Wish { title, scope, services: None, length: Some("1h".to_owned()), person };
    tokens::make(&bed.owner, &wish).await.unwrap()
}

fn everything() -> audit::Choice {
    audit::Choice { person: None, service: None, device: None, deed: None, since: None, until: None, limit: 100 }
}

/// What all lists say, for people and for programs.
async fn lists(owner: &Owner, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    for form in [Form::Table, Form::Json] {
        all.push(devices::list(owner, form, now).await.unwrap());
        all.push(services::list(owner, form, now).await.unwrap());
        all.push(people::list(owner, form, now).await.unwrap());
        all.push(groups::list(owner, form).await.unwrap());
        all.push(sessions::list(owner, true, form, now).await.unwrap());
        all.push(audit::list(owner, &everything(), form, now).await.unwrap());
    }
    all
}

#[tokio::test]
async fn over_the_network_an_owners_token_shows_what_the_socket_shows() {
    let bed = Testbed::start().await;
    furnish(&bed).await;
    let (address, _server) = open(&bed).await;
    let token = token(&bed, None, Scope::Read).await;
    let away = Owner::at(Portal::new(&address, token, None).unwrap());
    let now = Timestamp::now();
    assert_eq!(lists(&away, now).await, lists(&bed.owner, now).await);
    let error = people::remove(&away, "anna").await.unwrap_err().to_string();
    assert!(error.contains("this token is not for that"), "{error}");
}

#[tokio::test]
async fn a_persons_token_shows_what_is_theirs_until_it_is_revoked() {
    let bed = Testbed::start().await;
    furnish(&bed).await;
    let (address, _server) = open(&bed).await;
    let token = token(&bed, Some("anna"), Scope::Sessions).await;
    let away = Owner::at(Portal::new(&address, token, None).unwrap());
    let now = Timestamp::now();
    let listed = services::list(&away, Form::Table, now).await.unwrap();
    assert!(listed.contains("printer1/octoprint") && listed.contains("certain people"), "{listed}");
    assert!(!people::list(&away, Form::Table, now).await.unwrap().contains("owner"));
    let service = "printer1/octoprint".parse().unwrap();
    let opening = sessions::Opening {
        person: "anna".to_owned(),
        service,
        length: "30m".to_owned(),
        takes_over: false,
        from: Vec::new(),
    };
    assert!(sessions::open(&away, opening, now).await.unwrap().contains("as session 1"));
    let listed = tokens::list(&bed.owner, Form::Table, now).await.unwrap();
    assert!(listed.contains("anna") && listed.contains("a script") && listed.contains("sessions"), "{listed}");
    tokens::revoke(&bed.owner, 1).await.unwrap();
    let error = services::list(&away, Form::Table, now).await.unwrap_err().to_string();
    assert!(error.contains("does not take the token any more") && error.contains("doorward login http://"), "{error}");
}

#[tokio::test]
async fn a_portal_that_is_not_there_is_named() {
    let nobody = Portal::new("http://127.0.0.1:1", Secret::new("dw_x".to_owned()), None).unwrap();
    let error = devices::list(&Owner::at(nobody), Form::Table, Timestamp::now()).await.unwrap_err().to_string();
    assert!(error.contains("the portal http://127.0.0.1:1 cannot be reached"), "{error}");
    let error = Owner::without("others may read it".to_owned()).get("/devices").await.unwrap_err().to_string();
    assert_eq!(error, "others may read it");
}

/// The lines of docs/api.md, as they stand there.
#[tokio::test]
async fn what_the_page_about_the_api_shows_can_be_typed() {
    let bed = Testbed::start().await;
    furnish(&bed).await;
    let (address, _server) = open(&bed).await;
    let token = token(&bed, Some("anna"), Scope::Sessions).await;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut seen = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("curl ")) {
        let script = format!("{line} --silent --show-error --fail-with-body --max-time 20");
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", &script]).env("TOKEN", token.expose()).env("PORTAL", &address).kill_on_drop(true);
        let output = shell.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        seen += 1;
    }
    assert_eq!(seen, 3);
    let over = sessions::list(&bed.owner, true, Form::Table, Timestamp::now()).await.unwrap();
    assert!(over.contains("(hand)"), "it was opened and ended: {over}");
}
