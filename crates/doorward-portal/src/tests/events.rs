//! What somebody sees who looks on.

use super::samples::{Scene, token};
use super::support::*;
use axum::body::{Body, BodyDataStream};
use doorward_control::{Arrival, LinkId, NewLogin, PersonEdit};
use doorward_core::authority::Scope;
use doorward_core::person::Role;
use doorward_core::site::Carrier;
use futures_util::StreamExt;
use http::Request;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;

struct Watch(BodyDataStream, String);

impl Watch {
    async fn begin(scene: &Scene, login: &NewLogin, last: Option<&str>) -> Self {
        let mut request = Request::builder().uri("/api/v1/events").header("host", "portal.example.org");
        request = request.header("authorization", format!("Bearer dw_{}", login.token.expose()));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let site = crate::site(scene.portal.state.clone());
        let response = site.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        Self(response.into_body().into_data_stream(), String::new())
    }

    /// Word, id and data of the next event; `None`: there are no more.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.1 = rest;
                let of = |key: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
                    line.trim().to_owned()
                };
                return Some((of("event:"), of("id:"), serde_json::from_str(&of("data:")).unwrap()));
            }
            let piece = timeout(Duration::from_secs(10), self.0.next()).await.expect("nothing is told");
            self.1 += std::str::from_utf8(&piece?.unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn whoever_looks_on_hears_of_what_they_get_at_and_of_nothing_else() {
    let scene = Scene::open(Role::Member).await;
    let login = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let mut watch = Watch::begin(&scene, &login, None).await;
    assert_eq!(watch.next().await.unwrap().0, "hello");
    for (service, heard) in [("far-pi", false), ("their-pi", true), ("own-pi", true)] {
        let path = format!("/api/v1/services/{service}/web/access");
        let policy = r#"{"who": "people", "people": ["other"], "how": "on-request"}"#;
        assert_eq!(scene.portal.ask("PUT", &path, policy).await.status.as_u16(), 200);
        if heard {
            let (word, _, data) = watch.next().await.unwrap();
            // The one that they may use no more, they hear of a last time.
            assert_eq!((word.as_str(), &data["services"]), ("change", &json!([format!("{service}/web")])), "{data}");
        }
    }
    assert_eq!(scene.portal.ask("DELETE", "/api/v1/sessions/1", "").await.status.as_u16(), 204);
    assert_eq!(watch.next().await.unwrap().2, json!({"sessions": [1]}));
    assert_eq!(scene.portal.ask("DELETE", "/api/v1/sessions/3", "").await.status.as_u16(), 204);
    let snapshot = scene.portal.state.control.snapshot();
    for name in ["their-pi", "own-pi"] {
        let device = snapshot.device_by_name(&name.to_owned().try_into().unwrap()).unwrap().id;
        let (source, link) = ("192.0.2.7".parse().unwrap(), LinkId(1));
        let arrival = Arrival { device, link, carrier: Carrier::Quic, source, agent_version: "0.1".into() };
        scene.portal.state.control.presence().arrived(arrival, noon());
    }
    let (word, _, data) = watch.next().await.unwrap();
    let told = json!({"online": ["own-pi"], "offline": [], "services": ["own-pi/lab", "own-pi/web", "their-pi/lab"]});
    assert_eq!((word.as_str(), data), ("presence", told), "of another's device there is the lab alone");
}

#[tokio::test]
async fn whoever_missed_something_is_told_to_reload() {
    let scene = Scene::open(Role::Owner).await;
    let login = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let (_, id, _) = Watch::begin(&scene, &login, None).await.next().await.unwrap();
    assert_eq!(Watch::begin(&scene, &login, Some(&id)).await.next().await.unwrap().0, "hello");
    scene.portal.ask("POST", "/api/v1/people", r#"{"name": "newcomer"}"#).await;
    assert_eq!(Watch::begin(&scene, &login, Some(&id)).await.next().await.unwrap().0, "reload");
    let mut watch = Watch::begin(&scene, &login, None).await;
    watch.next().await.unwrap();
    for number in 0..300 {
        scene.portal.ask("POST", "/api/v1/groups", &format!(r#"{{"name": "g{number}"}}"#)).await;
    }
    assert_eq!(watch.next().await.unwrap().0, "reload", "what waits is bounded");
}

#[tokio::test]
async fn looking_on_ends_with_the_login_and_with_the_person() {
    for by_revoking in [true, false] {
        let scene = Scene::open(Role::Member).await;
        let login = token(&scene.portal, &scene.who, Scope::Read, None).await;
        let mut watch = Watch::begin(&scene, &login, None).await;
        watch.next().await.unwrap();
        let control = &scene.portal.state.control;
        if by_revoking {
            control.end_login(None, login.id, noon()).await.unwrap();
        } else {
            let edit = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
            control.edit_person(scene.who.id, edit, None, noon()).await.unwrap();
        }
        assert!(watch.next().await.is_none());
    }
}

#[tokio::test]
async fn one_person_looks_on_eight_times_at_once_and_again_when_one_is_closed() {
    let scene = Scene::open(Role::Member).await;
    let router = crate::api::router(&scene.portal.state).with_state(scene.portal.state.clone());
    let ask = async || {
        let caller = crate::Caller::Owner;
        let request = Request::builder().uri("/events").extension(caller).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(ask().await);
    }
    assert!(open.iter().all(|response| response.status().as_u16() == 200));
    assert_eq!(ask().await.status().as_u16(), 429);
    open.pop();
    assert_eq!(ask().await.status().as_u16(), 200);
}

#[tokio::test]
async fn whoever_may_use_a_service_hears_of_it_alone_and_its_owner_how_the_device_fares() {
    let scene = Scene::open(Role::Guest).await;
    let login = token(&scene.portal, &scene.who, Scope::Read, None).await;
    let mut watch = Watch::begin(&scene, &login, None).await;
    watch.next().await.unwrap();
    let control = &scene.portal.state.control;
    let device = control.snapshot().device_by_name(&"their-pi".to_owned().try_into().unwrap()).unwrap().id;
    let (source, link) = ("192.0.2.7".parse().unwrap(), LinkId(1));
    let arrival = Arrival { device, link, carrier: Carrier::Quic, source, agent_version: "0.1".into() };
    control.presence().arrived(arrival, noon());
    let told = json!({"online": [], "offline": [], "services": ["their-pi/lab", "their-pi/web"]});
    assert_eq!(watch.next().await.unwrap().2, told, "not even what the device is called");
    control.presence().left(device, link, noon());
    assert_eq!(watch.next().await.unwrap().2, told);
}
