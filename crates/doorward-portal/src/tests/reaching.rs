//! A port for each session, as its person and its owner see it.

use super::samples::{add, token};
use super::site::{form_token, sign_in};
use super::support::*;
use axum::body::Body;
use doorward_control::{Arrival, LinkId, NewLogin, PinholeStanding, StraightWay};
use doorward_core::SessionId;
use doorward_core::access::Visitor;
use doorward_core::authority::Scope;
use doorward_core::person::{Person, Role};
use doorward_core::service::Entrance;
use doorward_core::site::Carrier;
use http::Request;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const SHELL: &str = r#"{"name": "shell", "title": "Shell", "kind": "tcp", "virtual-port": 22, "entrances": ["session-port"],
    "access": {"who": "people", "people": ["anna", "ben"], "how": "on-request", "max-duration": "4h"}}"#;
const GAME: &str = r#"{"name": "game", "title": "Game", "kind": "udp", "entrances": ["session-port"],
    "access": {"who": "people", "people": ["anna", "ben"], "how": "on-request", "max-duration": "4h"}}"#;

struct House {
    portal: Portal,
    anna: Arc<Person>,
    annas: NewLogin,
    bens: NewLogin,
}

impl House {
    async fn build() -> Self {
        let portal = Portal::open().await;
        let (anna, ben) = (add(&portal, "anna", Role::Member).await, add(&portal, "ben", Role::Guest).await);
        let device = portal.join(1, "pi").await;
        portal.offer(&device, &[SHELL, GAME]).await;
        let (annas, bens) = (sign_in(&portal, &anna).await, sign_in(&portal, &ben).await);
        Self { portal, anna, annas, bens }
    }

    async fn browse(&self, login: &NewLogin, source: &str, path: &str, form: Option<&str>) -> Answer {
        let method = if form.is_some() { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri(path).header("host", "portal.example.org");
        let request = request.header("accept", "text/html").header("sec-fetch-site", "same-origin");
        let request = request.header("sec-fetch-mode", "navigate").extension(from(source));
        // What a request says of its source is not believed.
        let request = request.header("x-forwarded-for", "203.0.113.66").header("forwarded", "for=203.0.113.66");
        let request = request.header("cookie", format!("__Host-doorward={}", login.token.expose()));
        let body = Body::from(form.unwrap_or_default().to_owned());
        send(crate::site(self.portal.state.clone()), request.body(body).unwrap()).await
    }

    async fn press(&self, login: &NewLogin, source: &str, path: &str, more: &str) -> Answer {
        let token = form_token(&self.browse(login, source, "/", None).await);
        self.browse(login, source, path, Some(&format!("form-token={token}&{more}"))).await
    }

    async fn program(&self, source: &str, path: &str, body: &str) -> Answer {
        let token = token(&self.portal, &self.anna, Scope::Sessions, None).await;
        let request = Request::builder().method("POST").uri(path).header("host", "portal.example.org");
        let request = request.header("authorization", format!("Bearer dw_{}", token.token.expose()));
        let request = request.extension(from(source)).body(Body::from(body.to_owned())).unwrap();
        send(crate::site(self.portal.state.clone()), request).await
    }

    fn service(&self, name: &str) -> i64 {
        let snapshot = self.portal.state.control.snapshot();
        let mut services = snapshot.services().map(|record| &record.service);
        services.find(|service| service.name.as_str() == name).unwrap().id.0
    }

    /// Of the newest session, as the owner sees it.
    async fn reach(&self) -> Value {
        self.portal.ask("GET", "/api/v1/sessions", "").await.json()[0]["reach"].clone()
    }
}

fn from(source: &str) -> Visitor {
    Visitor::new(source.parse().unwrap(), Entrance::Web)
}

#[tokio::test]
async fn whoever_opens_a_service_sees_its_port_and_says_that_they_come_from_elsewhere_too() {
    let house = House::build().await;
    let shell = house.service("shell");
    house.press(&house.annas, "192.0.2.7", &format!("/services/{shell}/open"), "minutes=30").await;
    for path in ["/", "/sessions", &format!("/services/{shell}")] {
        let page = house.browse(&house.annas, "192.0.2.7", path, None).await.text;
        for shown in
            ["data-copy=\"example.org:40000\"", "ssh -p 40000 USER@example.org", "From these addresses: 192.0.2.7"]
        {
            assert!(page.contains(shown), "{shown} in {path}: {page}");
        }
        assert!(!page.contains("Also from here"), "{path}");
    }
    let away = "2001:db8:0:1::9";
    let page = house.browse(&house.annas, away, "/sessions", None).await.text;
    assert!(page.contains("Also from here"), "{page}");
    let id = house.portal.ask("GET", "/api/v1/sessions", "").await.json()[0]["id"].as_i64().unwrap();
    let here = format!("/sessions/{id}/here");
    let others = house.press(&house.bens, "198.51.100.1", &here, "").await;
    assert_eq!(others.status.as_u16(), 404, "where anna is, is hers to say");
    let pressed = house.press(&house.annas, away, &here, "back=/sessions").await;
    assert_eq!((pressed.status.as_u16(), pressed.header("location")), (303, "/sessions"));
    assert_eq!(house.reach().await["from"], json!(["192.0.2.7", "2001:db8:0:1::/64"]));
    let page = house.browse(&house.annas, "2001:db8:0:1::77", "/sessions", None).await.text;
    assert!(!page.contains("Also from here"), "{page}");
    let gone = house.press(&house.annas, away, "/sessions/999/here", "").await;
    assert_eq!(gone.status.as_u16(), 404);
}

#[tokio::test]
async fn programs_and_the_seeds_routes_are_told_the_port_and_their_source_is_noted() {
    let house = House::build().await;
    let opened = house.program("192.0.2.9", "/api/v1/sessions", r#"{"service": "pi/shell"}"#).await;
    assert_eq!(opened.status.as_u16(), 201, "{}", opened.text);
    let expected = json!({"protocol": "tcp", "host": "example.org", "port": 40000,
        "line": "ssh -p 40000 USER@example.org", "straight": null, "from": ["192.0.2.9"]});
    assert_eq!(opened.json()["reach"], expected);
    let seeds = house.program("198.51.100.4", &format!("/conn/req/{}", house.service("game")), "{}").await;
    assert_eq!(
        (&seeds.json()["public"], seeds.status.as_u16()),
        (&json!(["example.org:40000"]), 200),
        "{}",
        seeds.text
    );
    assert_eq!(seeds.json()["reach"]["from"], json!(["198.51.100.4"]));
    assert_eq!(seeds.json()["reach"]["line"], "example.org:40000");

    let sources = format!("/api/v1/sessions/{}/sources", opened.json()["id"]);
    let further = house.program("198.51.100.4", &sources, "{}").await;
    assert_eq!(further.json()["reach"]["from"], json!(["192.0.2.9", "198.51.100.4"]), "{}", further.text);
    for (path, body) in [
        (sources.as_str(), r#"{"from": "203.0.113.1"}"#),
        ("/api/v1/sessions", r#"{"service": "pi/shell", "from": ["203.0.113.1"]}"#),
    ] {
        let refused = house.program("192.0.2.9", path, body).await;
        assert!(refused.problem(400).contains("owners alone"), "{}", refused.text);
    }
    assert!(house.portal.ask("POST", &sources, "{}").await.problem(400).contains("name an address"));
    let named = house.portal.ask("POST", &sources, r#"{"from": "203.0.113.1"}"#).await;
    assert_eq!(named.json()["reach"]["from"].as_array().unwrap().len(), 3, "{}", named.text);
    let body = r#"{"service": "pi/game", "person": "ben", "from": ["203.0.113.5"]}"#;
    let bens = house.portal.ask("POST", "/api/v1/sessions", body).await.json();
    assert_eq!((&bens["reach"]["port"], &bens["reach"]["from"]), (&json!(40001), &json!(["203.0.113.5"])));
    let third =
        house.portal.ask("POST", "/api/v1/sessions", r#"{"service": "pi/shell", "person": "ben"}"#).await.json();
    assert_eq!(third["reach"]["port"], 40001, "of tcp there is one more");
}

#[tokio::test]
async fn a_session_without_a_port_says_so_in_the_readers_words() {
    let house = House::build().await;
    add(&house.portal, "carla", Role::Member).await;
    let policy = r#"{"who": "people", "people": ["anna", "ben", "carla"], "how": "on-request"}"#;
    house.portal.ask("PUT", "/api/v1/services/pi/shell/access", policy).await;
    for name in ["ben", "carla"] {
        let body = format!(r#"{{"service": "pi/shell", "person": "{name}"}}"#);
        assert_eq!(house.portal.ask("POST", "/api/v1/sessions", &body).await.status.as_u16(), 201);
    }
    let shell = house.service("shell");
    house.press(&house.annas, "192.0.2.7", &format!("/services/{shell}/open"), "minutes=30").await;
    let page = house.browse(&house.annas, "192.0.2.7", "/sessions", None).await.text;
    assert!(page.contains("All ports for sessions are taken"), "{page}");
    assert!(!page.contains("Also from here") && !page.contains("USER@"), "{page}");
    let reach = house.reach().await;
    assert_eq!((&reach["port"], reach["why-not"].as_str().unwrap().contains("taken")), (&Value::Null, true));
}

#[tokio::test]
async fn where_the_policy_lets_a_first_comer_in_its_person_may_ask_for_them() {
    let house = House::build().await;
    let shell = house.service("shell");
    let open = format!("/services/{shell}/open");
    house.press(&house.annas, "192.0.2.7", &open, "minutes=30").await;
    let page = house.browse(&house.annas, "192.0.2.7", "/sessions", None).await.text;
    assert!(!page.contains("Let the first to come in"), "the policy says nothing of it: {page}");
    let policy = r#"{"who": "people", "people": ["anna", "ben"], "how": "on-request", "first-comer": true}"#;
    assert_eq!(house.portal.ask("PUT", "/api/v1/services/pi/shell/access", policy).await.status.as_u16(), 200);
    let page = house.browse(&house.annas, "192.0.2.7", "/sessions", None).await.text;
    assert!(page.contains("Let the first to come in"), "{page}");
    let id = house.portal.ask("GET", "/api/v1/sessions", "").await.json()[0]["id"].as_i64().unwrap();
    let ask = format!("/sessions/{id}/first-comer");
    assert_eq!(house.press(&house.bens, "198.51.100.1", &ask, "").await.status.as_u16(), 404);
    assert!(house.reach().await.get("first-comer-until").is_none());
    let pressed = house.press(&house.annas, "192.0.2.7", &ask, "back=/sessions").await;
    assert_eq!((pressed.status.as_u16(), pressed.header("location")), (303, "/sessions"));
    assert!(house.reach().await["first-comer-until"].is_string(), "{}", house.reach().await);
    let page = house.browse(&house.annas, "192.0.2.7", "/sessions", None).await.text;
    assert!(page.contains("Whoever comes first is let in") && !page.contains("Let the first to come in"), "{page}");
    let sources = format!("/api/v1/sessions/{id}/sources");
    let told = house.program("192.0.2.7", &sources, r#"{"first-comer": true}"#).await;
    assert!(told.json()["reach"]["first-comer-until"].is_string(), "{}", told.text);
    let both = house.program("192.0.2.7", &sources, r#"{"first-comer": true, "from": "203.0.113.1"}"#).await;
    assert!(both.problem(400).contains("first-comer"), "{}", both.text);
}

#[tokio::test]
async fn why_a_way_straight_to_the_home_is_closed_stands_beside_the_gateways_port() {
    let house = House::build().await;
    let device = house.portal.join(2, "home").await;
    let nas = SHELL.replace("shell", "nas").replace("session-port", "pinhole");
    house.portal.offer(&device, &[&nas]).await;
    let service = house.service("nas");
    house.press(&house.annas, "192.0.2.7", &format!("/services/{service}/open"), "minutes=30").await;
    let session = SessionId(house.portal.ask("GET", "/api/v1/sessions", "").await.json()[0]["id"].as_i64().unwrap());
    let (link, source) = (LinkId(1), "198.51.100.77".parse().unwrap());
    let arrival = Arrival { device: device.id, link, carrier: Carrier::Quic, source, agent_version: "0.1".into() };
    house.portal.state.control.presence().arrived(arrival, noon());
    let say = |standing: PinholeStanding| {
        let way = StraightWay { standing, host: Some("198.51.100.77".parse().unwrap()), port: 41000 };
        house.portal.state.control.presence().straight_ways(device.id, HashMap::from([(session, way)]));
    };
    say(PinholeStanding::Closed { why: "behind carrier NAT: using the relay instead".to_owned() });
    let page = house.browse(&house.annas, "192.0.2.7", "/", None).await.text;
    for shown in ["example.org:4000", "not straight to the home", "behind carrier NAT: using the relay instead"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("198.51.100.77"), "{page}");
    say(PinholeStanding::Ready);
    let page = house.browse(&house.annas, "192.0.2.7", "/", None).await.text;
    assert!(page.contains("198.51.100.77:41000") && !page.contains("not straight to the home"), "{page}");
    assert!(!page.contains("at the home itself"), "{page}");
    house.press(&house.annas, "198.51.100.77", &format!("/sessions/{session}/here"), "").await;
    let page = house.browse(&house.annas, "198.51.100.77", "/", None).await.text;
    assert!(page.contains("at the home itself"), "{page}");
}
