//! Services wished for at the portal, and requests that their owner looks at.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_agent::Settings;
use doorward_control::{
    Device, Ending as Ended, InspectionWish, InviteRequest, LinkId, ReplayError, ScanState, Seen, Told, accounts,
};
use doorward_core::ServiceId;
use doorward_core::access::PolicyDocument;
use doorward_core::addition::Addition;
use doorward_core::names::Label;
use doorward_core::service::{Offer, Standing};
use doorward_lab::ssh::{Key, gateway};
use doorward_lab::visitor::{self, Ending, ending, full, get, request, send};
use doorward_lab::web::{Answer, ENDLESS, WebTarget, ok, web};
use doorward_lab::{LIMIT, LOOPBACK, Lab, LabDevice, until};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "page-zumi01.gw.test";
const ALLOWED: &str = "[portal]\nmay-offer = [\"127.0.0.1:*\"]\n";

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn settings(text: &str) -> Settings {
    Settings::parse(text, Path::new("/etc/doorward/agent.toml")).unwrap()
}

/// A lab with one device that lets its own machine be offered.
async fn allowing() -> (Lab, LabDevice, Arc<Device>) {
    let lab = Lab::start().await;
    let device = lab.device("zumi01", Vec::new()).await;
    device.settle(settings(ALLOWED));
    let registered = lab.control().snapshot().device_by_name(&label("zumi01")).unwrap();
    let id = registered.id;
    let allows = async || lab.control().told_of_additions(id).is_some_and(|told| told.may_offer == ["127.0.0.1:*"]);
    until("the device says what may be offered", allows).await;
    (lab, device, registered)
}

async fn wish(lab: &Lab, device: &Device, name: &str, target: &str) {
    let wish = Addition { name: label(name), title: None, target: target.to_owned(), preset: None };
    lab.control().add_service(device.id, wish, Timestamp::now()).await.unwrap();
}

async fn until_offered(lab: &Lab, device: &Device, name: &str) {
    let name = label(name);
    until("it is offered", async || {
        let record = lab.control().snapshot().record_of(device.id, &name);
        record.is_some_and(|record| record.service.standing == Standing::Offered)
    })
    .await;
}

async fn offered_to_all(lab: &Lab, device: &Device, page: &WebTarget) {
    wish(lab, device, "page", &page.url()).await;
    until_offered(lab, device, "page").await;
    assert_eq!(get(lab.http(), HOST, "/").await.status, StatusCode::NOT_FOUND, "nobody may use it yet");
    lab.set_access("zumi01", "page", PolicyDocument::public()).await;
}

#[tokio::test]
async fn a_service_wished_for_is_reached_kept_over_a_restart_and_cut_when_it_is_not_wished_for_any_more() {
    let (lab, device, registered) = allowing().await;
    let page = web(|asked| match asked.path() {
        "/endless" => Answer::Endless(ENDLESS.to_vec()),
        _ => ok("here"),
    })
    .await;
    offered_to_all(&lab, &registered, &page).await;
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "here");

    // The agent comes back with what it kept: its service was never withdrawn meanwhile.
    let before = lab.record("zumi01", "page").version;
    let device = LabDevice::start_with(device.stop().await, settings(ALLOWED));
    until("it is reached again", async || get(lab.http(), HOST, "/").await.status == StatusCode::OK).await;
    assert_eq!(lab.record("zumi01", "page").version, before);

    let mut visit = TcpStream::connect(lab.http()).await.unwrap();
    visit.write_all(format!("GET /endless HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    visit.read_exact(&mut [0; 4096]).await.unwrap();
    lab.control().remove_addition(registered.id, label("page"), Timestamp::now()).await.unwrap();
    assert_eq!(ending(&mut visit, Duration::from_secs(1)).await, Ending::Reset, "what rests on it is cut");
    assert_eq!(get(lab.http(), HOST, "/").await.status, StatusCode::NOT_FOUND);

    // Nor does the device keep it.
    let _device = LabDevice::start_with(device.stop().await, settings(ALLOWED));
    until("it says what may be offered", async || lab.control().told_of_additions(registered.id).is_some()).await;
    assert_eq!(lab.record("zumi01", "page").service.standing, Standing::Withdrawn);
}

#[tokio::test]
async fn what_lies_outside_its_range_is_refused_by_the_device_even_if_the_gateway_asks() {
    let (lab, device, registered) = allowing().await;
    let page = web(|_| ok("here")).await;
    let far = page.url().replace("127.0.0.1", "127.0.0.2");
    for (name, target) in [("far", far.as_str()), ("named", "http://localhost:80"), ("socket", "unix:/run/docker.sock")]
    {
        wish(&lab, &registered, name, target).await;
    }
    let told = || lab.control().told_of_additions(registered.id).unwrap_or_default();
    until("they are refused", async || told().refusals.len() == 3).await;
    let needs = told().refusals[&label("far")].needs.clone();
    assert_eq!(needs, Some(format!("127.0.0.2:{}", page.address.port())));
    assert!(lab.control().snapshot().record_of(registered.id, &label("far")).is_none());

    // A gateway that lies about what was offered gets no further.
    let offer: Offer = serde_json::from_str(r#"{"name": "far", "kind": "http", "access": {"who": "public"}}"#).unwrap();
    lab.control().register(registered.id, vec![offer], Timestamp::now()).await.unwrap();
    let answer = get(lab.http(), "far-zumi01.gw.test", "/").await;
    assert!(answer.status.is_server_error(), "{answer:?}");
    assert_eq!(page.accepted(), 0);

    // The owner of the device may change their mind, and back.
    device.settle(settings(&ALLOWED.replace("127.0.0.1:*", "127.0.0.2:*")));
    // As the device has it, and no more as the gateway lied.
    let is_theirs = async || {
        let record = lab.control().snapshot().record_of(registered.id, &label("far"));
        !told().refusals.contains_key(&label("far"))
            && record.is_some_and(|record| record.access == PolicyDocument::default())
    };
    until("it is offered", is_theirs).await;
    assert_eq!(get(lab.http(), "far-zumi01.gw.test", "/").await.status, StatusCode::NOT_FOUND);
    lab.set_access("zumi01", "far", PolicyDocument::public()).await;
    device.settle(settings(""));
    until("it is gone", async || lab.record("zumi01", "far").service.standing == Standing::Withdrawn).await;
    assert_eq!(get(lab.http(), "far-zumi01.gw.test", "/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_device_looks_around_for_the_portal_only_where_its_owner_lets_it() {
    let (lab, _device, registered) = allowing().await;
    let ask = async || lab.control().ask_for_scan(registered.id, Timestamp::now()).await;
    let refused = ask().await.unwrap_err().to_string();
    assert!(refused.contains("may-scan"), "{refused}");
    // A gateway that asks nevertheless is told the same by the device itself.
    let lie = Told { may_scan: true, ..Told::default() };
    lab.control().hear_of_additions(registered.id, LinkId(u64::MAX), lie);
    ask().await.unwrap();
    let state = || lab.control().scan_of(registered.id).unwrap().state;
    until("it has answered", async || state() != ScanState::Running).await;
    assert!(matches!(state(), ScanState::Failed(why) if why.contains("may-scan")), "{:?}", state());
}

/// Looks at a service that everybody may use.
async fn looking(with_bodies: bool) -> (Lab, LabDevice, ServiceId, WebTarget) {
    let (lab, device, registered) = allowing().await;
    let page = web(|asked| match asked.path().split('?').next() {
        Some("/posted") => {
            Answer::Whole(b"HTTP/1.1 201 Created\r\nset-cookie: sid=s3cret\r\ncontent-length: 4\r\n\r\nmade".to_vec())
        }
        _ => ok("here"),
    })
    .await;
    offered_to_all(&lab, &registered, &page).await;
    let service = lab.record("zumi01", "page").service.id;
    assert_eq!(get(lab.http(), HOST, "/before").await.status, StatusCode::OK);
    let wish = InspectionWish { length: SignedDuration::from_mins(5), with_bodies };
    lab.control().inspect(service, wish, Timestamp::now()).await.unwrap();
    (lab, device, service, page)
}

fn seen(lab: &Lab, service: ServiceId) -> Vec<Seen> {
    lab.control().inspections().of(service, Timestamp::now()).map(|found| found.seen).unwrap_or_default()
}

async fn post(lab: &Lab) -> visitor::Answer {
    let asked = request(HOST, "/posted?token=s3cret&page=2").method("POST");
    let asked = asked.header("authorization", "Bearer s3cret").header("cookie", "a=s3cret").header("x-kind", "robot");
    send(lab.http(), asked.body(full("{\"a\":1}")).unwrap()).await
}

#[tokio::test]
async fn an_owner_who_looks_sees_requests_without_their_secrets_and_all_is_forgotten_after() {
    let (lab, _device, service, _page) = looking(false).await;
    assert_eq!(seen(&lab, service).len(), 0, "what came before is not there");
    assert_eq!(post(&lab).await.status, StatusCode::CREATED);
    until("it has ended", async || seen(&lab, service)[0].ending == Ended::Finished).await;
    let request = seen(&lab, service).remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/posted?token=(hidden)&page=2"));
    assert_eq!((request.status, request.source), (Some(201), LOOPBACK));
    assert_eq!((request.request.bytes, request.answer.bytes), (7, 4));
    assert_eq!((request.request.body.clone(), request.answer.body.clone()), (None, None));
    assert!(request.waited <= request.took && request.took.is_some());
    let kept = format!("{request:?}");
    assert!(!kept.contains("s3cret") && kept.contains("robot"), "{kept}");

    lab.control().stop_inspecting(service, Timestamp::now()).await.unwrap();
    assert!(lab.control().inspections().of(service, Timestamp::now()).is_none());
    post(&lab).await;
    assert!(lab.control().inspections().of(service, Timestamp::now()).is_none());
    let files = std::fs::read_dir(lab.control().directory()).unwrap();
    let written = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok());
    let is_there = |bytes: &Vec<u8>| bytes.windows(7).any(|part| part == b"/posted");
    assert!(!written.into_iter().any(|bytes| is_there(&bytes)), "nothing of it rests on the disk");
}

#[tokio::test]
async fn a_request_is_sent_again_as_whoever_asks_and_by_their_policy() {
    let (lab, _device, service, page) = looking(true).await;
    let asked = request(HOST, "/posted").method("POST").header("x-kind", "robot").header("cookie", "a=s3cret");
    send(lab.http(), asked.body(full("{\"a\":1}")).unwrap()).await;
    post(&lab).await;
    let by = (accounts::OWNER, "192.0.2.9".parse().unwrap());
    let replay = async |n| lab.control().replay(service, n, by, Timestamp::now()).await.unwrap();
    assert_eq!(replay(1).await, Ok(()));
    let last = page.last();
    assert_eq!(
        (last.path(), last.body.as_slice(), last.header("x-kind")),
        ("/posted", &b"{\"a\":1}"[..], Some("robot"))
    );
    assert_eq!(last.header("x-forwarded-for"), Some("192.0.2.9"), "it comes from whoever sends it");
    assert_eq!(last.header("cookie"), None, "nobody acts in another's name");
    let newest = seen(&lab, service).remove(0);
    assert_eq!((newest.replay_of, newest.status, newest.source), (Some(1), Some(201), by.1));
    assert_eq!(newest.answer.body.unwrap().bytes, b"made");

    assert!(matches!(replay(2).await, Err(ReplayError::Partial(_))), "its address held a secret");
    lab.set_access("zumi01", "page", doorward_lab::people(&["anna"])).await;
    let came = page.requests().len();
    assert!(matches!(replay(1).await, Err(ReplayError::NotLetIn(_))));
    assert_eq!(page.requests().len(), came);
}

#[tokio::test]
async fn an_invite_brings_whoever_asks_for_it_by_name() {
    let lab = Lab::start().await;
    let request = InviteRequest { name: Some(label("kitchen")), ..InviteRequest::default() };
    let (id, secret) = lab.control().create_invite(accounts::OWNER, request, Timestamp::now()).await.unwrap();
    let site = lab.control().site_keys().active.fingerprint;
    let invite = doorward_core::invite::Invite { addresses: lab.gateway.addresses.clone(), site, secret };
    let _device = LabDevice::join(lab.directory.path(), "zumi01", &invite, Vec::new()).await;
    let brought = lab.control().devices_by_invite(id).await.unwrap();
    let names: Vec<_> =
        brought.iter().map(|id| lab.control().snapshot().device(*id).unwrap().name.to_string()).collect();
    assert_eq!(names, ["kitchen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_by_ssh_is_asked_for_the_invite_and_shows_it_to_nobody_else() {
    let lab = Lab::start().await;
    let (key, folder) = (Key::make(), tempfile::tempdir().unwrap());
    let typed = folder.path().join("typed");
    let join = async |text: &str| {
        std::fs::write(&typed, text).unwrap();
        let mut join = lab.openssh(&key.path());
        join.arg(gateway()).arg("join").stdin(std::fs::File::open(&typed).unwrap()).kill_on_drop(true);
        tokio::time::timeout(LIMIT, join.output()).await.unwrap().unwrap()
    };
    let wrong = join("DW1AAAA\n").await;
    assert!(!wrong.status.success(), "{wrong:?}");
    let request = InviteRequest { name: Some(label("zumi01")), ..InviteRequest::default() };
    let invite = lab.invite(request).await.to_text();
    let joined = join(&format!("{}\n", invite.expose())).await;
    let said = String::from_utf8_lossy(&joined.stdout).into_owned();
    assert!(joined.status.success() && said.contains("Paste the invite"), "{joined:?}");
    assert!(said.contains("device \"zumi01\"") && !said.contains(invite.expose()), "{said}");
    assert!(lab.control().snapshot().device_by_name(&label("zumi01")).is_some());
}
