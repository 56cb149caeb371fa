use super::signing_in::{PASSWORD, here, somebody};
use super::support::*;
use crate::{Actor, NewHolder, SessionRequest, TokenRequest};
use doorward_core::access::{HowDocument, PolicyDocument, WhoDocument};
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::person::provided::Provided;
use doorward_core::service::Offer;
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;

/// anna with one of everything, beside johanna and anna-2.
async fn with_everything(site: &Site) -> Arc<doorward_core::person::Person> {
    let anna = somebody(site, "anna").await;
    let (johanna, other) = (somebody(site, "johanna").await, somebody(site, "anna-2").await);
    let device = site.join(1, "zumi01").await;
    let access = PolicyDocument {
        who: WhoDocument::People,
        people: vec!["anna".to_owned(), "johanna".to_owned()],
        how: Some(HowDocument::OnRequest),
        max_duration: Some("1h".to_owned()),
        ..PolicyDocument::default()
    };
    let offered = site.offer(&device, Offer { access, ..http("jupyter") }).await;
    let control = site.control.acting_as(Actor::Person { account: anna.id, grounds: "x".into(), source: None });
    control.add_group(label("robotics"), None, vec![label("anna")], noon()).await.unwrap();
    for account in [anna.id, johanna.id] {
        let (service, length) = (offered.service.unwrap(), SignedDuration::from_mins(30));
        let request =
            SessionRequest { account, service, length, source: None, id: Some("r".into()), proofs: Vec::new() };
        let session = site.control.open_session(request, noon()).await.unwrap();
        site.control.end_session(session.id, None, noon()).await.unwrap();
    }
    site.control.begin_login(anna.id, "Firefox, Linux", Some(here()), noon()).await.unwrap();
    let limits = TokenLimits { scope: Scope::Read, services: None };
    let (title, length) = ("a script".to_owned(), SignedDuration::from_hours(1));
    site.control
        .make_token(TokenRequest { account: anna.id, title, limits, length, source: None }, noon())
        .await
        .unwrap();
    site.control.add_ssh_keys(NewHolder::Person(label("anna")), vec![super::people::key(1)], noon()).await.unwrap();
    let provided = Provided {
        issuer: "https://id.test".into(),
        subject: "42".into(),
        name: None,
        title: None,
        groups: [].into(),
        methods: [].into(),
    };
    site.control.link_identity(anna.id, provided, here(), noon()).await.unwrap();
    site.control.end_logins_of(other.id, None, noon()).await.unwrap();
    anna
}

async fn exported(site: &Site, id: doorward_core::AccountId) -> Value {
    serde_json::to_value(site.control.export_person(id, None, noon()).await.unwrap()).unwrap()
}

#[tokio::test]
async fn all_that_is_known_of_somebody_is_given_and_nothing_that_opens_anything() {
    let site = Site::open().await;
    let anna = with_everything(&site).await;
    let data = exported(&site, anna.id).await;
    assert_eq!((&data["account"]["name"], &data["groups"][0]), (&"anna".into(), &"robotics".into()));
    for (list, count) in [("logins", 2), ("sessions", 1), ("ssh-keys", 1), ("identities", 1), ("named-by", 1)] {
        assert_eq!(data[list].as_array().unwrap().len(), count, "{list}: {data:#}");
    }
    assert_eq!(data["sessions"][0]["service"], "zumi01/jupyter");
    assert!(data["password-set-at"].is_string() && data["app-set-up-at"].is_null());
    let lines = data["audit"].as_array().unwrap();
    let deeds: Vec<_> = lines.iter().map(|line| line["deed"].as_str().unwrap()).collect();
    for deed in ["person-added", "welcome-used", "group-changed", "session-opened", "session-ended", "login-begun"] {
        assert!(deeds.contains(&deed), "{deed}: {deeds:?}");
    }
    assert_eq!(deeds.last(), Some(&"person-exported"));
    let of_others = |line: &&Value| line.to_string().contains("johanna") || line.to_string().contains("anna-2");
    assert_eq!(lines.iter().find(of_others), None);
    let text = data.to_string();
    for (secret, what) in [(PASSWORD, "a password"), ("$argon2", "a hash"), ("token_hash", "a token")] {
        assert!(!text.contains(secret), "{what}");
    }
    // Lines come in pieces.
    let first = lines[2]["id"].as_i64().unwrap();
    let rest = site.control.export_person(anna.id, Some(first), noon()).await.unwrap();
    let rest = serde_json::to_value(rest).unwrap();
    assert_eq!(rest["audit"].as_array().unwrap().as_slice(), &lines[3..], "and that was no line of its own");
}

#[tokio::test]
async fn whoever_is_removed_leaves_lines_of_the_audit_alone_and_the_chain_holds() {
    let site = Site::open().await;
    let anna = with_everything(&site).await;
    site.control.remove_person(anna.id, None, noon()).await.unwrap();
    assert!(site.control.verify_audit().await.unwrap().broken.is_none());
    site.control.close().await;
    // Every table of the store, whatever it is called and whoever adds one later.
    use sqlx::{ConnectOptions, Row};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.data().join("doorward.db"));
    let mut store = options.connect().await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut store).await.unwrap();
    assert!(tables.len() > 30, "{tables:?}");
    for table in tables.iter().filter(|table| !["audit", "_sqlx_migrations"].contains(&table.as_str())) {
        let columns = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")));
        for column in columns.fetch_all(&mut store).await.unwrap() {
            let column: String = column.try_get("name").unwrap();
            let about = match column.as_str() {
                "account" => format!("{column} = {}", anna.id),
                "name" | "person" | "title" => format!("{column} = 'anna'"),
                _ => continue,
            };
            let count = format!("SELECT COUNT(*) FROM \"{table}\" WHERE {about}");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut store).await.unwrap();
            assert_eq!(count, 0, "{table}.{column}");
        }
    }
    let lines: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit WHERE subject = 'anna' OR person = 'anna'")
        .fetch_one(&mut store)
        .await
        .unwrap();
    assert!(lines > 3, "they go when their time is over");
}
