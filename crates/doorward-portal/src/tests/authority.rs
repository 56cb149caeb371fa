//! The committed table (core/tests/authority.golden.txt) beside what the running router answers: every route, every role, every
//! way in which an object can stand to somebody.

use super::samples::*;
use super::support::*;
use crate::caller::Caller;
use axum::body::Body;
use doorward_control::Preparation;
use doorward_core::LoginId;
use doorward_core::authority::{Action, Reach, Relation, Scope, TokenLimits, may, reach};
use doorward_core::names::Label;
use doorward_core::person::Role;
use doorward_core::prepare::Phase;
use http::{Method, Request};
use serde_json::Value;
use std::collections::BTreeSet;

impl Scene {
    fn caller(&self) -> Caller {
        Caller::Person { account: self.who.id, role: self.who.role, login: LoginId(99) }
    }

    async fn ask_with(&self, limits: TokenLimits, request: http::request::Builder, body: Body) -> Answer {
        self.portal.ask_as(Some(self.caller()), request.extension(limits).body(body).unwrap()).await
    }

    async fn ask(&self, method: &Method, path: &str, body: &Value) -> Answer {
        let body = if *method == Method::GET { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(format!("/api/v1{path}")).body(Body::from(body)).unwrap();
        self.portal.ask_as(Some(self.caller()), request).await
    }
}

/// How each action is asked for.
fn methods() -> Vec<(Action, Method)> {
    let routes = crate::api::routes();
    routes.operations().iter().map(|operation| (operation.action, operation.method.clone())).collect()
}

#[test]
fn every_action_has_one_route() {
    let mut routed: Vec<_> = methods().into_iter().map(|(action, _)| action).collect();
    routed.sort_unstable();
    assert_eq!(routed, Action::ALL);
}

#[tokio::test]
async fn a_stranger_is_told_to_sign_in_whatever_is_asked_for() {
    let scene = Scene::open(Role::Member).await;
    for (action, method) in methods() {
        let path = match scene.samples(action) {
            Samples::Whole { path, .. } | Samples::List { path, .. } => path.to_owned(),
            Samples::Events(path) => path.to_owned(),
            Samples::Objects(samples) => samples[0].path.clone(),
        };
        let request = Request::builder().method(&method).uri(format!("/api/v1{path}")).body(Body::empty()).unwrap();
        let answer = scene.portal.ask_as(None, request).await;
        assert_eq!(answer.problem(401), "nobody is signed in", "{method} {path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
}

/// One test for each role: they make many gateways.
async fn answers_as_the_table_says(role: Role) {
    let (mut seen, mut scene) = (BTreeSet::new(), Scene::open(role).await);
    for (action, method) in methods() {
        match scene.samples(action) {
            Samples::Whole { path, body } => {
                let answer = scene.ask(&method, path, &body).await;
                seen.insert(judge(role, action, Relation::Others, &answer));
            }
            Samples::Events(path) => {
                let answer = scene.ask(&method, path, &Value::Null).await;
                assert_eq!(answer.header("content-type"), "text/event-stream");
            }
            Samples::List { path, member, items } => {
                let answer = scene.ask(&method, path, &Value::Null).await;
                check_list(role, action, member, &items, &answer);
                seen.insert((action.word(), "list"));
            }
            Samples::Objects(samples) => {
                for sample in samples {
                    let answer = scene.ask(&method, &sample.path, &sample.body).await;
                    seen.insert(judge(role, action, sample.relation, &answer));
                    check_unknown(&scene, role, action, &method, &sample, &answer).await;
                    if method != Method::GET && answer.status.is_success() {
                        scene = Scene::open(role).await;
                    }
                }
            }
        }
    }
    assert!(seen.len() > 65, "all of it was looked at: {}", seen.len());
}

#[tokio::test]
async fn the_router_answers_owners_as_the_table_says() {
    answers_as_the_table_says(Role::Owner).await;
}

#[tokio::test]
async fn the_router_answers_members_as_the_table_says() {
    answers_as_the_table_says(Role::Member).await;
}

#[tokio::test]
async fn the_router_answers_guests_as_the_table_says() {
    answers_as_the_table_says(Role::Guest).await;
}

fn judge(role: Role, action: Action, relation: Relation, answer: &Answer) -> (&'static str, &'static str) {
    let status = answer.status.as_u16();
    let what = format!("{} may {} ({relation:?}): {status} {}", role.word(), action.word(), answer.text);
    match (reach(role, action), may(role, relation, action)) {
        (Reach::Nothing, _) => assert_eq!(status, 403, "{what}"),
        (Reach::Some, false) => assert_eq!(status, 404, "{what}"),
        (Reach::Everything, false) => panic!("everything, but not this: {what}"),
        // It was tried, and may be refused for what it asks.
        (_, true) => assert!(!matches!(status, 401 | 403 | 500..) && !is_unknown(action, answer), "{what}"),
    }
    let relation = match relation {
        Relation::Own => "own",
        Relation::OnOwnDevice => "on-own-device",
        Relation::Usable => "usable",
        Relation::Others => "others",
    };
    (action.word(), relation)
}

/// What is not there in the scene anyway does not count.
fn is_unknown(action: Action, answer: &Answer) -> bool {
    let is_nowhere = matches!(action, Action::ShowAuthority | Action::AnswerByLink);
    answer.status.as_u16() == 404 && !is_nowhere
}

fn check_list(role: Role, action: Action, member: &str, items: &[(Relation, Value)], answer: &Answer) {
    if reach(role, action) == Reach::Nothing {
        answer.problem(403);
        return;
    }
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let listed: Vec<Value> =
        answer.json().as_array().unwrap().iter().map(|item| item.pointer(member).unwrap().clone()).collect();
    for (relation, item) in items {
        let is_listed = listed.contains(item);
        assert_eq!(is_listed, may(role, *relation, action), "{}: {} {relation:?} {item}", role.word(), action.word());
    }
    let expected = items.iter().filter(|(relation, _)| may(role, *relation, action)).map(|(_, item)| item);
    if reach(role, action) == Reach::Some {
        let expected: Vec<_> = expected.collect();
        assert!(listed.iter().all(|item| expected.contains(&item)), "{} {}: {listed:?}", role.word(), action.word());
    }
}

/// What somebody may not know looks like what is not there.
async fn check_unknown(scene: &Scene, role: Role, action: Action, method: &Method, sample: &Sample, answer: &Answer) {
    let (Some(name), false, Reach::Some) = (&sample.name, may(role, sample.relation, action), reach(role, action))
    else {
        return;
    };
    let nobody = if name.parse::<u16>().is_ok() { "20009" } else { "nobody-here" };
    let body = serde_json::from_str(&sample.body.to_string().replace(name, nobody)).unwrap();
    let unknown = scene.ask(method, &sample.path.replace(name, nobody), &body).await;
    assert_eq!(unknown.text.replace(nobody, name), answer.text, "{} {}", role.word(), action.word());
    let headers = |answer: &Answer| {
        let mut headers = answer.response.headers().clone();
        headers.remove("content-length");
        headers
    };
    assert_eq!(headers(&unknown), headers(answer));
}

#[tokio::test]
async fn a_token_does_what_its_scope_says_and_no_more() {
    let scene = Scene::open(Role::Owner).await;
    for (action, method) in methods() {
        let Samples::List { path, .. } = scene.samples(action) else { continue };
        for services in [None, Some(Vec::new())] {
            let limits = TokenLimits { scope: Scope::Read, services };
            let allowed = limits.allow(action);
            let request = Request::builder().method(&method).uri(format!("/api/v1{path}"));
            let answer = scene.ask_with(limits.clone(), request, Body::empty()).await;
            assert_eq!(answer.status.as_u16(), if allowed { 200 } else { 403 }, "{path}");
            if allowed && limits.services.is_some() {
                assert_eq!(answer.text, "[]", "{path}: a token for no service sees none");
            }
        }
    }
    for scope in [Scope::Read, Scope::Sessions] {
        let limits = TokenLimits { scope, services: None };
        let body = Body::from(r#"{"name": "newcomer"}"#);
        let request = Request::builder().method("POST").uri("/api/v1/people");
        let answer = scene.ask_with(limits, request, body).await;
        assert_eq!(answer.problem(403), "this token is not for that");
    }
}

#[tokio::test]
async fn whoever_only_uses_a_service_does_not_learn_who_else_does() {
    let scene = Scene::open(Role::Guest).await;
    let shown = scene.ask(&Method::GET, "/services/their-pi/web", &Value::Null).await;
    assert_eq!(shown.json()["access"], serde_json::json!({"who": "people", "how": "on-request"}));
    let member = Scene::open(Role::Member).await;
    let own = member.ask(&Method::GET, "/services/own-pi/web", &Value::Null).await;
    assert_eq!(own.json()["access"]["people"], serde_json::json!(["other"]));
    let people = member.ask(&Method::GET, "/services/own-pi/web/people", &Value::Null).await.json();
    let names: Vec<_> = people.as_array().unwrap().iter().map(|person| person["person"].clone()).collect();
    assert_eq!(names, ["other"], "who else is known to the gateway is not told");
}

#[tokio::test]
async fn whoever_only_uses_a_service_hears_which_step_of_its_preparation_failed_but_not_why() {
    for (role, path, told) in [
        (Role::Member, "/services/own-pi/web", Value::from("192.168.7.3 refused it")),
        (Role::Guest, "/services/their-pi/web", Value::Null),
    ] {
        let scene = Scene::open(role).await;
        let snapshot = scene.portal.state.control.snapshot();
        for device in snapshot.devices() {
            let access = r#""access": {"who": "people", "people": ["who", "other"], "how": "on-request"}"#;
            let web = format!(r#"{{"name": "web", "kind": "http", "prepare": {{"limit": 60}}, {access}}}"#);
            scene.portal.offer(device, &[&web]).await;
            let web = snapshot.service_of(device.id, &Label::parse("web").unwrap()).unwrap();
            let failed = Preparation {
                phase: Phase::Failed,
                step: 1,
                steps: 2,
                what: "switch it on".to_owned(),
                since: noon(),
                error: Some("192.168.7.3 refused it".to_owned()),
                retry_at: None,
            };
            scene.portal.state.control.presence().prepares(web.id, failed);
        }
        let shown = scene.ask(&Method::GET, path, &Value::Null).await.json()["preparation"].clone();
        assert_eq!((&shown["phase"], &shown["what"]), (&"failed".into(), &"switch it on".into()), "{path}");
        assert_eq!(shown["error"], told, "{path}");
    }
}
