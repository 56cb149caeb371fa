//! Who is shown which cameras; the pictures themselves are the gateway's.

use super::site::{add, browse, sign_in};
use super::support::*;
use doorward_control::{CameraPlace, CameraSeen};

const DOOR: &str =
    r#"{"name": "door", "title": "Front <door>", "kind": "camera", "access": {"who": "people", "people": ["anna"]}}"#;
const PRINTER: &str = r#"{"name": "printer", "title": "Printer", "kind": "http", "web": {"mounts": [{"path": "/webcam/", "camera": true},
    {"path": "/files/"}]}, "access": {"who": "people", "people": ["anna"]}}"#;
const ROBOT: &str = r#"{"name": "robot", "title": "Robot", "kind": "camera",
    "access": {"who": "people", "people": ["anna"], "how": "on-request", "max-duration": "1h"}}"#;
const OTHER: &str = r#"{"name": "other", "kind": "camera", "access": {"who": "people", "people": ["ben"]}}"#;

#[tokio::test]
async fn the_wall_shows_what_its_reader_may_look_at_now_and_nothing_else() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[DOOR, PRINTER, ROBOT, OTHER]).await;
    let login = sign_in(&portal, &anna).await;
    let wall = browse(&portal, Some(&login), "GET", "/cameras", "").await;
    for part in [
        "Front &#60;door&#62;",
        "data-service=\"zumi01/door\" data-mount=\"\"",
        "data-service=\"zumi01/printer\" data-mount=\"/webcam/\"",
        "src=\"/frames/zumi01/door/snapshot\"",
        "src=\"/frames/zumi01/printer/webcam/snapshot\"",
    ] {
        assert!(wall.text.contains(part), "{part} is missing in {}", wall.text);
    }
    for part in ["zumi01/robot", "zumi01/other", "/files/", "style="] {
        assert!(!wall.text.contains(part), "{part} stands in {}", wall.text);
    }
    let home = browse(&portal, Some(&login), "GET", "/", "").await;
    assert!(home.text.contains("href=\"/cameras\""));
    assert!(!home.text.contains("https://door-zumi01"), "a camera is looked at on its page");
    assert_eq!(browse(&portal, None, "GET", "/cameras", "").await.status.as_u16(), 303);
}

#[tokio::test]
async fn one_camera_has_a_page_for_whoever_may_look_at_it() {
    let portal = Portal::open().await;
    let anna = add(&portal, "anna").await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[DOOR, PRINTER, ROBOT, OTHER]).await;
    let login = sign_in(&portal, &anna).await;
    let snapshot = portal.state.control.snapshot();
    let id = |name: &str| snapshot.services().find(|r| r.service.name.as_str() == name).unwrap().service.id;
    let ask = async |path: String| browse(&portal, Some(&login), "GET", &path, "").await;
    let page = ask(format!("/cameras/{}", id("door"))).await;
    assert!(page.status.as_u16() == 200 && page.text.contains("src=\"/frames/zumi01/door/stream\""), "{}", page.text);
    let page = ask(format!("/cameras/{}?mount=/webcam/", id("printer"))).await;
    assert!(page.text.contains("src=\"/frames/zumi01/printer/webcam/stream\""), "{}", page.text);
    let shut = ask(format!("/cameras/{}", id("robot"))).await;
    assert_eq!(shut.header("location"), format!("/services/{}", id("robot")), "it is opened first");
    let nothing = ask("/cameras/99999".to_owned()).await;
    for other in [
        format!("/cameras/{}", id("other")),
        format!("/cameras/{}", id("printer")),
        format!("/cameras/{}?mount=/files/", id("printer")),
    ] {
        let answer = ask(other.clone()).await;
        assert_eq!((answer.status, answer.text), (nothing.status, nothing.text.clone()), "{other}");
    }
}

#[tokio::test]
async fn the_api_says_how_a_camera_does_that_somebody_looks_at() {
    let portal = Portal::open().await;
    let device = portal.join(1, "zumi01").await;
    portal.offer(&device, &[DOOR, PRINTER]).await;
    let ask = async |name: &str| {
        portal.ask("GET", &format!("/api/v1/services/zumi01/{name}"), "").await.json()["cameras"].clone()
    };
    let nobody = serde_json::json!([{ "mount": "/webcam/", "viewers": 0, "frames-per-second": 0.0,
        "kilobytes-per-second": 0.0, "age": null, "width": null, "height": null, "live": false, "words": "" }]);
    assert_eq!(ask("printer").await, nobody);
    let snapshot = portal.state.control.snapshot();
    let door = snapshot.services().find(|record| record.service.name.as_str() == "door").unwrap().service.id;
    let seen = CameraSeen {
        viewers: 3,
        frames_per_second: 14.96,
        bytes_per_second: 748_123,
        age: Some(std::time::Duration::from_millis(243)),
        size: Some((1280, 720)),
        is_live: true,
        words: String::new(),
        faults: "padding 2".to_owned(),
    };
    portal.state.control.presence().camera_seen(CameraPlace { service: door, mount: None }, seen);
    let shown = serde_json::json!([{ "mount": null, "viewers": 3, "frames-per-second": 15.0,
        "kilobytes-per-second": 748.1, "age": 0.2, "width": 1280, "height": 720, "live": true, "words": "", "faults": "padding 2" }]);
    assert_eq!(ask("door").await, shown);
}
