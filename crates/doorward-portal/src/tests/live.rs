//! What the pages tell of devices, services and sessions, and to whom.

use super::samples::add;
use super::signing_in::{Browser, PASSWORD, with_password};
use super::site::{browse, form_token, sign_in};
use super::support::*;
use doorward_control::accounts::OWNER;
use doorward_control::{Arrival, Errand, ErrandError, LinkId, LinkReport, NewLogin, SessionRequest, Visits};
use doorward_core::notice::Notice;
use doorward_core::person::{Person, Role};
use doorward_core::site::Carrier;
use doorward_core::{DeviceId, ServiceId, SessionId};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const ROBOT: &str = r#"{"name": "robot", "title": "Robot", "kind": "http",
    "access": {"who": "people", "people": ["anna", "ben"], "how": "on-request", "max-duration": "4h"}}"#;
const SHELL: &str = r#"{"name": "shell", "kind": "tcp", "virtual-port": 22, "entrances": [{"tcp-port": 20001}],
    "access": {"who": "people", "people": ["ben"]}}"#;
const HIDDEN: &str = r#"{"name": "hidden", "kind": "http", "access": {"who": "people", "people": ["anna"]}}"#;

/// Anna's device, which Ben visits and where Olga owns the gateway.
struct School {
    portal: Portal,
    device: DeviceId,
    anna: Arc<Person>,
    ben: Arc<Person>,
    logins: [NewLogin; 3],
}

impl School {
    async fn open() -> Self {
        Self::of(false).await
    }

    /// Only the first account's services are given names.
    async fn with_names() -> Self {
        Self::of(true).await
    }

    async fn of(has_names: bool) -> Self {
        let portal = Portal::open().await;
        let (anna, ben) = (add(&portal, "anna", Role::Member).await, add(&portal, "ben", Role::Guest).await);
        let olga = add(&portal, "olga", Role::Owner).await;
        let device = portal.join_for(if has_names { OWNER } else { anna.id }, 1, "zumi01").await;
        portal.state.control.register(device.id, offers(&[ROBOT, SHELL, HIDDEN]), noon()).await.unwrap();
        let logins = [sign_in(&portal, &anna).await, sign_in(&portal, &ben).await, sign_in(&portal, &olga).await];
        Self { portal, device: device.id, anna, ben, logins }
    }

    fn arrive(&self) {
        let (device, link, source) = (self.device, LinkId(1), "192.0.2.7".parse().unwrap());
        let agent_version = "doorward 9.8.7".to_owned();
        let presence = self.portal.state.control.presence();
        presence.arrived(Arrival { device, link, carrier: Carrier::Quic, source, agent_version }, noon());
        let rtt = Some(Duration::from_micros(23_400));
        presence.report(device, link, LinkReport { rtt, ..LinkReport::default() });
    }

    async fn page(&self, whose: usize, path: &str) -> Answer {
        browse(&self.portal, Some(&self.logins[whose]), "GET", path, "").await
    }

    async fn press(&self, whose: usize, path: &str, more: &str) -> Answer {
        let token = form_token(&self.page(whose, "/").await);
        let form = format!("form-token={token}&{more}");
        browse(&self.portal, Some(&self.logins[whose]), "POST", path, &form).await
    }

    fn service(&self, name: &str) -> ServiceId {
        let snapshot = self.portal.state.control.snapshot();
        snapshot.service_of(self.device, &name.to_owned().try_into().unwrap()).unwrap().id
    }

    async fn session(&self, person: &Person) -> SessionId {
        let (account, service) = (person.id, self.service("robot"));
        let length = SignedDuration::from_mins(30);
        let request = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
        self.portal.state.control.open_session(request, noon()).await.unwrap().id
    }

    /// An agent that answers one errand.
    fn answers(&self, answer: Result<Vec<String>, ErrandError>) -> JoinHandle<Errand> {
        let mut errands = self.portal.state.control.take_errands(self.device, LinkId(1));
        tokio::spawn(async move {
            let asked = errands.next().await.unwrap();
            let errand = asked.errand;
            asked.answer(answer);
            errand
        })
    }

    async fn deeds(&self, word: &str) -> Vec<(String, String)> {
        let audit = self.portal.ask("GET", "/api/v1/audit", "").await.json();
        let lines = audit.as_array().unwrap().iter().filter(|line| line["deed"] == word);
        lines.map(|line| (line["person"].to_string(), line["subject"].to_string())).collect()
    }
}

const ANNA: usize = 0;
const BEN: usize = 1;
const OLGA: usize = 2;

#[tokio::test]
async fn whoever_uses_a_service_sees_nothing_of_its_device_and_whoever_has_it_sees_all() {
    let school = School::open().await;
    school.arrive();
    let visits = Visits { count: 3, people: [school.ben.id].into() };
    school.portal.state.control.presence().visited(HashMap::from([(school.service("shell"), visits)]));
    let guests = school.page(BEN, "/").await.text;
    let (service, device) = (school.service("shell"), "/devices/zumi01");
    assert!(guests.contains("zumi01/robot") && guests.contains("ssh -J example.org:2222 zumi01"), "{guests}");
    let guests = [guests, school.page(BEN, &format!("/services/{service}")).await.text].concat();
    for internal in ["QUIC", "23 ms", "9.8.7", "192.0.2.7", "today", "there now", "zumi01/hidden", device] {
        assert!(!guests.contains(internal), "{internal} in {guests}");
    }
    for whose in [ANNA, OLGA] {
        let home = school.page(whose, "/").await.text;
        let page = school.page(whose, device).await.text;
        for shown in ["QUIC", "23 ms", "9.8.7", "today", "there now: ben"] {
            assert!(home.contains(shown) && page.contains(shown), "{shown} in {home}\n{page}");
        }
        assert!(page.contains("192.0.2.7") && page.contains("hidden"), "{page}");
    }
    let nothing = school.page(BEN, "/devices/nothing").await;
    assert_eq!(nothing.status.as_u16(), 404);
    for path in [device, "/devices/zumi01/log"] {
        let theirs = school.page(BEN, path).await;
        assert_eq!((theirs.status.as_u16(), theirs.text), (404, nothing.text.clone()), "{path}");
    }
    let refused = school.press(BEN, "/devices/zumi01/restart", "").await;
    assert_eq!((refused.status.as_u16(), refused.text), (404, nothing.text));
    assert!(school.deeds("device-log-shown").await.is_empty() && school.deeds("device-restarted").await.is_empty());
}

#[tokio::test]
async fn the_log_is_asked_of_the_device_and_written_down_and_so_is_a_restart() {
    let school = School::open().await;
    let offline = school.page(ANNA, "/devices/zumi01/log").await;
    assert_eq!(offline.status.as_u16(), 409);
    assert!(offline.text.contains("The device is offline."), "{}", offline.text);
    assert!(school.deeds("device-log-shown").await.is_empty(), "nothing was shown");
    let agent = school.answers(Ok(vec!["connected <b>".into(), "an end".into()]));
    let log = school.page(ANNA, "/devices/zumi01/log").await;
    assert_eq!((log.status.as_u16(), agent.await.unwrap()), (200, Errand::Log));
    assert!(log.text.contains("connected &#60;b&#62;\nan end"), "{}", log.text);
    assert_eq!(school.deeds("device-log-shown").await, [("\"anna\"".to_owned(), "\"zumi01\"".to_owned())]);
    let agent = school.answers(Err(ErrandError::Refused("not from here".into())));
    let refused = school.page(OLGA, "/devices/zumi01/log").await;
    assert!(refused.text.contains("The device says: not from here"), "{}", refused.text);
    agent.await.unwrap();
    let agent = school.answers(Ok(Vec::new()));
    let pressed = school.press(ANNA, "/devices/zumi01/restart", "").await;
    assert_eq!((pressed.status.as_u16(), pressed.header("location")), (303, "/devices/zumi01"));
    assert_eq!(agent.await.unwrap(), Errand::Restart);
    assert_eq!(school.deeds("device-restarted").await.len(), 1);
    let agent = school.answers(Ok(vec!["a line".into()]));
    let answer = school.portal.ask("GET", "/api/v1/devices/zumi01/log", "").await;
    assert_eq!(answer.json()["lines"][0], "a line");
    agent.await.unwrap();
    let looked = browse(&school.portal, Some(&school.logins[ANNA]), "GET", "/devices/zumi01/restart", "").await;
    assert_eq!(looked.status.as_u16(), 405, "looking restarts nothing");
}

#[tokio::test]
async fn sessions_are_listed_extended_and_ended_by_their_people_and_whoever_has_the_device() {
    let school = School::open().await;
    let (annas, bens) = (school.session(&school.anna).await, school.session(&school.ben).await);
    let until = |id| {
        let snapshot = school.portal.state.control.snapshot();
        let session = doorward_core::access::Facts::session(&*snapshot, id);
        session.map(|session| session.until.duration_since(noon()).as_mins())
    };
    let page = school.page(BEN, "/sessions").await.text;
    assert!(
        page.contains(&format!("/sessions/{bens}/end")) && !page.contains(&format!("/sessions/{annas}/")),
        "{page}"
    );
    let page = school.page(ANNA, "/sessions").await.text;
    for part in [format!("/sessions/{bens}/end"), format!("/sessions/{annas}/extend"), "· ben".to_owned()] {
        assert!(page.contains(&part), "{part} in {page}");
    }
    school.press(BEN, &format!("/sessions/{bens}/extend"), "minutes=120&back=/sessions").await;
    assert_eq!(until(bens), Some(120));
    let at = noon() + SignedDuration::from_mins(150);
    let longer = school.press(ANNA, &format!("/sessions/{bens}/extend"), &format!("until={at}&minutes=")).await;
    assert_eq!((longer.status.as_u16(), longer.header("location"), until(bens)), (303, "/", Some(150)));
    school.press(BEN, &format!("/sessions/{bens}/extend"), "minutes=600").await;
    assert_eq!(until(bens), Some(240), "as long as its policy allows");
    for (path, more) in [("extend", "minutes=120"), ("end", "")] {
        school.press(BEN, &format!("/sessions/{annas}/{path}"), more).await;
        assert_eq!(until(annas), Some(30), "a guest does nothing with another's session");
    }
    let elsewhere = school.press(ANNA, &format!("/sessions/{bens}/end"), "back=https://evil.test/").await;
    assert_eq!((elsewhere.header("location"), until(bens)), ("/", None));
    for path in ["/".to_owned(), format!("/services/{}", school.service("robot"))] {
        let told = school.page(BEN, &path).await.text;
        assert!(told.contains("Your session was ended by anna."), "{path}: {told}");
    }
    assert!(school.page(BEN, "/sessions").await.text.contains("ended by anna."));
    let own = school.press(ANNA, &format!("/sessions/{annas}/end"), "back=/sessions").await;
    assert_eq!(own.header("location"), "/sessions");
    assert!(school.page(ANNA, "/").await.text.contains("You ended your session."));
    let listed = school.portal.ask("GET", "/api/v1/sessions?all=true", "").await.json();
    assert_eq!((&listed[0]["ended-by"], &listed[1]["ended-by"]), (&"anna".into(), &"anna".into()));
}

#[tokio::test]
async fn one_press_opens_a_service_and_leads_on_to_it_and_its_page_has_a_picture_of_each_way() {
    let school = School::with_names().await;
    let (robot, shell) = (school.service("robot"), school.service("shell"));
    let onward = school.press(BEN, &format!("/services/{robot}/open"), "minutes=5&go=1").await;
    assert!(onward.text.contains("0;url=https://robot-zumi01.example.org/\""), "{}", onward.text);
    let stays = school.press(BEN, &format!("/services/{robot}/open"), "minutes=30").await;
    assert!(stays.text.contains("0;url=/\""), "{}", stays.text);
    let page = school.page(BEN, &format!("/services/{robot}")).await.text;
    assert!(page.contains("<svg") && page.contains("data-copy=\"https://robot-zumi01.example.org/\""), "{page}");
    let page = school.page(BEN, &format!("/services/{shell}")).await.text;
    assert_eq!(page.matches("<svg").count(), 2, "by SSH and by `doorward open`: {page}");
    assert!(page.contains("ssh -J example.org:2222 zumi01"), "{page}");
    assert!(!page.contains("example.org:20001"), "nobody who must be known is let in at a raw port: {page}");
    let unknown = school.page(BEN, "/services/999").await;
    let hidden = school.page(BEN, &format!("/services/{}", school.service("hidden"))).await;
    assert_eq!((unknown.status.as_u16(), unknown.text), (404, hidden.text), "not theirs, not there");
}

#[tokio::test]
async fn of_many_tiles_some_are_shown_and_the_others_are_found() {
    let school = School::open().await;
    for n in 2..=130 {
        school.portal.join_for(school.anna.id, n, &format!("pi-{n:03}")).await;
    }
    let shown = async |path: &str| school.page(ANNA, path).await.text.matches("id=\"device-").count();
    assert_eq!((shown("/").await, shown("/?show=200").await, shown("/?show=5").await), (50, 130, 5));
    assert_eq!((shown("/?find=PI-03").await, shown("/?find=nothing").await), (10, 0));
    assert!(school.page(ANNA, "/").await.text.contains("href=\"/?find=&#38;show=100\""));
    assert!(!school.page(BEN, "/").await.text.contains("name=\"find\""), "few need no search");
}

#[tokio::test]
async fn every_new_browser_is_told_and_one_that_signs_in_again_is_not() {
    let portal = Portal::open().await;
    let _person = with_password(&portal, "carla").await;
    let mut alerts = portal.state.control.alerts();
    let fields = [("name", "carla"), ("password", PASSWORD)];
    let mut browser = Browser::open(&portal, "/sign-in").await;
    assert_eq!(browser.send("/sign-in", &[("name", "carla"), ("password", "wrong")]).await, 403);
    assert!(alerts.try_recv().is_err(), "nobody signed in");
    assert_eq!(browser.send("/sign-in", &fields).await, 200);
    let notice = alerts.try_recv().unwrap().notice.clone();
    let title = "a browser".to_owned();
    assert_eq!(notice, Notice::NewLogin { person: "carla".into(), title, source: None });
    browser.get("/account").await;
    assert_eq!(browser.send("/sign-in", &fields).await, 200);
    assert!(alerts.try_recv().is_err(), "it was signed in until now");
    let mut other = Browser::open(&portal, "/sign-in").await;
    assert_eq!(other.send("/sign-in", &fields).await, 200);
    assert!(alerts.try_recv().is_ok());
}
