//! Services that are made ready for whoever wants them, and let go: a target that is there only after a command ran.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_agent::{Command, Deed, Plan, Probe, Readiness, Service, Settings, Step};
use doorward_control::{Preparation, Protocol, SessionRequest};
use doorward_core::SessionId;
use doorward_core::access::{HowDocument, PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_core::prepare::Phase;
use doorward_core::site::Host;
use doorward_lab::ssh::{Key, gateway, run, start};
use doorward_lab::visitor::{self, Ending, ending};
use doorward_lab::{LOOPBACK, Lab, LabDevice, service, target, until, web};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

/// A machine that sleeps: its port is open only while it was woken, and each thing done to it is written down.
struct Sleeper {
    folder: TempDir,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Sleeper {
    fn new() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), target::nobody());
        let awake = folder.path().join("awake");
        Self { folder, address, task: tokio::spawn(sleep_and_wake(awake, address)) }
    }

    /// A command that writes itself down, once it may, and then does `what`.
    fn command(&self, name: &str, what: &str) -> Step {
        let (script, folder) = (self.folder.path().join(name), self.folder.path().display());
        let text = format!(
            "#!/bin/sh\necho begun >> {folder}/{name}.begun\nwhile [ -e {folder}/slow ]; do sleep 0.05; done\n\
             {what} {folder}/awake\necho done >> {folder}/{name}.done\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
        let deed = Deed::Command(Command { program: script, arguments: Vec::new() });
        Step { deed, title: None, limit: LIMIT }
    }

    fn plan(&self, on_visit: bool) -> Plan {
        let SocketAddr::V4(address) = self.address else { unreachable!("loopback is IPv4 here") };
        let probe = Probe::Tcp { host: Host::Ip((*address.ip()).into()), port: address.port() };
        Plan {
            prepare: vec![self.command("wake", "touch")],
            release: vec![self.command("rest", "rm -f")],
            ready: Some(Readiness { probe, every: Duration::from_millis(50), limit: LIMIT }),
            on_visit,
            linger: Duration::from_millis(300),
        }
    }

    fn service(&self, name: &str, on_visit: bool) -> Service {
        planned(service(name, &format!("tcp://{}", self.address)), self.plan(on_visit))
    }

    /// How often it was done to the end.
    fn count(&self, what: &str) -> usize {
        let written = std::fs::read_to_string(self.folder.path().join(what)).unwrap_or_default();
        written.lines().count()
    }

    fn slow(&self) -> Slow {
        let path = self.folder.path().join("slow");
        std::fs::write(&path, "").unwrap();
        Slow(path)
    }

    async fn until_done(&self, what: &str, times: usize) {
        until(&format!("{what}, {times} times"), async || self.count(what) >= times).await;
        assert_eq!(self.count(what), times, "{what}");
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As long as it lives, commands take their time.
struct Slow(PathBuf);

impl Drop for Slow {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

async fn sleep_and_wake(awake: PathBuf, address: SocketAddr) {
    let until_it_is = async |is: bool| {
        while awake.exists() != is {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    loop {
        until_it_is(true).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let mut visits = JoinSet::new();
        let serving = async {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                visits.spawn(async move {
                    let (mut reader, mut writer) = socket.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        };
        tokio::select! {
            () = serving => {}
            () = until_it_is(false) => {}
        }
    }
}

fn planned(mut service: Service, plan: Plan) -> Service {
    service.offer.prepare = Some(plan.offer());
    service.plan = Some(plan);
    service
}

fn on_request() -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        people: vec!["anna".to_owned()],
        how: Some(HowDocument::OnRequest),
        max_duration: Some("1h".to_owned()),
        ..PolicyDocument::default()
    }
}

fn seen(lab: &Lab, name: &str) -> Option<Preparation> {
    lab.control().presence().preparation(lab.record("pi", name).service.id)
}

async fn until_phase(lab: &Lab, name: &str, phase: Phase) {
    until(&format!("{name} is {phase}"), async || seen(lab, name).is_some_and(|seen| seen.phase == phase)).await;
}

async fn is_echoed(socket: &mut TcpStream) -> bool {
    let echoing = async {
        socket.write_all(b"well?").await?;
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await?;
        Ok::<_, std::io::Error>(heard == *b"well?")
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(true)))
}

/// A device whose `pc` sleeps, and is anna's on request.
struct Office {
    lab: Lab,
    device: LabDevice,
    sleeper: Sleeper,
    anna: Key,
}

impl Office {
    async fn open() -> Self {
        let (lab, sleeper) = (Lab::start().await, Sleeper::new());
        let anna = lab.ssh_person("anna").await;
        let device = lab.device("pi", vec![Self::service(&sleeper)]).await;
        until_phase(&lab, "pc", Phase::Resting).await;
        Self { lab, device, sleeper, anna }
    }

    fn service(sleeper: &Sleeper) -> Service {
        let mut pc = sleeper.service("pc", false);
        (pc.offer.virtual_port, pc.offer.access) = (Some(22), on_request());
        pc
    }

    async fn open_session(&self, length: SignedDuration) -> SessionId {
        let control = self.lab.control();
        let account = control.snapshot().person_by_name(&label("anna")).unwrap().id;
        let service = self.lab.record("pi", "pc").service.id;
        let request = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
        control.open_session(request, Timestamp::now()).await.unwrap().id
    }

    async fn end_session(&self, id: SessionId) {
        self.lab.control().end_session(id, None, Timestamp::now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_visitors_wake_it_once_and_are_held_until_it_is_ready() {
    let (lab, sleeper) = (Lab::start().await, Sleeper::new());
    let echo = target::echo().await;
    let awake = service("awake", &format!("tcp://{}", echo.address));
    let _device = lab.device("pi", vec![sleeper.service("pc", true), awake]).await;
    until_phase(&lab, "pc", Phase::Resting).await;
    let slow = sleeper.slow();
    let port = lab.port("pi", "pc", Protocol::Tcp);
    // The device was asked to see whether ports are open: this one is left in peace.
    until("the other one was looked at", async || !lab.control().presence().reachability().is_empty()).await;
    until("and whoever looked is gone", async || lab.gateway.gateway.open_streams() == 0).await;
    assert_eq!(sleeper.count("wake.begun"), 0);
    let mut visitors = JoinSet::new();
    for _ in 0..100 {
        visitors.spawn(async move { is_echoed(&mut TcpStream::connect(port).await.unwrap()).await });
    }
    until("it is being woken", async || sleeper.count("wake.begun") > 0).await;
    until("all of them wait", async || lab.gateway.gateway.open_streams() == 100).await;
    assert!(visitors.try_join_next().is_none(), "nobody is served or refused before");
    assert_eq!(sleeper.count("wake.done"), 0);
    drop(slow);
    let served = visitors.join_all().await;
    assert_eq!(served.iter().filter(|is_served| **is_served).count(), 100);
    assert_eq!((sleeper.count("wake.begun"), sleeper.count("wake.done")), (1, 1));
    until_phase(&lab, "pc", Phase::Ready).await;
    assert!(is_echoed(&mut TcpStream::connect(port).await.unwrap()).await, "later ones find it ready");
    assert_eq!(sleeper.count("wake.begun"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_makes_it_ready_step_by_step_and_the_end_of_the_last_one_lets_it_go() {
    let office = Office::open().await;
    let Office { lab, sleeper, anna, .. } = &office;
    let slow = sleeper.slow();
    let mut open = lab.openssh(&anna.path());
    open.args([gateway().as_str(), "open", "pi/pc", "--for", "30m"]);
    let mut opening = start(open);
    opening.until_said("pi/pc is open for you until").await;
    opening.until_said("Making it ready: step 1 of 2, a command").await;
    assert!(!opening.said().contains("It is ready"), "{}", opening.said());
    let mut way_in = lab.openssh(&anna.path());
    way_in.args(["-W", "pi:22", &gateway()]).stdin(std::process::Stdio::null());
    let waiting = start(way_in);
    until("its channel waits", async || lab.gateway.gateway.open_streams() == 1).await;
    drop(slow);
    opening.until_said("It is ready").await;
    opening.until_ended().await;
    let again = {
        let mut open = lab.openssh(&anna.path());
        open.args([gateway().as_str(), "open", "pi/pc", "--for", "30m"]);
        run(open).await
    };
    assert!(again.is_success && again.said.contains("It is ready."), "{again:?}");
    drop(waiting);
    assert_eq!((sleeper.count("wake.done"), sleeper.count("rest.begun")), (1, 0));
    let session = lab.control().sessions(true, 1, Timestamp::now()).await.unwrap().remove(0).session;
    office.end_session(session.id).await;
    sleeper.until_done("rest.done", 1).await;
    until_phase(lab, "pc", Phase::Resting).await;
    assert_eq!(sleeper.count("wake.begun"), 1, "and it stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_comes_back_within_the_linger_finds_it_as_it_was() {
    let (lab, sleeper) = (Lab::start().await, Sleeper::new());
    let anna = lab.ssh_person("anna").await;
    let mut pc = Office::service(&sleeper);
    pc.plan.as_mut().unwrap().linger = Duration::from_secs(5);
    let device = lab.device("pi", vec![pc]).await;
    let office = Office { lab, device, sleeper, anna };
    let first = office.open_session(SignedDuration::from_mins(30)).await;
    until_phase(&office.lab, "pc", Phase::Ready).await;
    office.end_session(first).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = office.open_session(SignedDuration::from_mins(30)).await;
    // Longer than the first one's linger.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((office.sleeper.count("wake.begun"), office.sleeper.count("rest.begun")), (1, 0));
    office.end_session(second).await;
    office.sleeper.until_done("rest.done", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_either_end_in_the_middle_changes_nothing() {
    let office = Office::open().await;
    let slow = office.sleeper.slow();
    let session = office.open_session(SignedDuration::from_mins(30)).await;
    until_phase(&office.lab, "pc", Phase::Preparing).await;
    let Office { lab, device, sleeper, anna } = office;
    let lab = lab.restart_gateway().await;
    until_phase(&lab, "pc", Phase::Preparing).await;
    assert_eq!(sleeper.count("wake.begun"), 1, "the device went on");
    let state = device.kill().await;
    drop(slow);
    let device = LabDevice::start(state, vec![Office::service(&sleeper)]);
    until_phase(&lab, "pc", Phase::Ready).await;
    // What was in the middle begins anew; what is ready stays so.
    assert_eq!((sleeper.count("wake.begun"), sleeper.count("wake.done")), (2, 1));
    let device = LabDevice::start(device.kill().await, vec![Office::service(&sleeper)]);
    device.until_registered().await;
    until_phase(&lab, "pc", Phase::Ready).await;
    assert_eq!((sleeper.count("wake.begun"), sleeper.count("rest.begun")), (2, 0));
    let slow = sleeper.slow();
    let office = Office { lab, device, sleeper, anna };
    office.end_session(session).await;
    until_phase(&office.lab, "pc", Phase::Releasing).await;
    let Office { lab, device, sleeper, .. } = office;
    let state = device.kill().await;
    drop(slow);
    let _device = LabDevice::start(state, vec![Office::service(&sleeper)]);
    until("it is let go after all", async || sleeper.count("rest.done") == 1).await;
    until_phase(&lab, "pc", Phase::Resting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_nobody_could_say_so_is_let_go_when_the_gateway_is_back() {
    let office = Office::open().await;
    let session = office.open_session(SignedDuration::from_mins(30)).await;
    until_phase(&office.lab, "pc", Phase::Ready).await;
    let Office { lab, device, sleeper, anna } = office;
    let state = device.kill().await;
    let office = Office { lab, device: LabDevice::start(nowhere(&state), Vec::new()), sleeper, anna };
    office.end_session(session).await;
    let Office { lab, sleeper, .. } = office;
    // Nobody who could want it has spoken: it is not let go.
    let lab = {
        let port = lab.http().port();
        let away = lab.restart_gateway().await;
        assert_eq!(away.http().port(), port);
        away
    };
    assert_eq!(sleeper.count("rest.begun"), 0);
    let _device = LabDevice::start(state, vec![Office::service(&sleeper)]);
    sleeper.until_done("rest.done", 1).await;
    until_phase(&lab, "pc", Phase::Resting).await;
}

/// A state directory that never joined anything.
fn nowhere(beside: &Path) -> PathBuf {
    beside.with_extension("nowhere")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_time_is_over_needs_no_gateway_to_let_it_go() {
    let office = Office::open().await;
    office.open_session(SignedDuration::from_secs(5)).await;
    until_phase(&office.lab, "pc", Phase::Ready).await;
    let Office { lab, sleeper, device, .. } = office;
    let Lab { gateway, .. } = lab;
    gateway.stop().await;
    assert_eq!(sleeper.count("rest.begun"), 0);
    sleeper.until_done("rest.done", 1).await;
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_see_the_step_and_programs_get_503_until_the_page_is_there() {
    let (lab, sleeper) = (Lab::start().await, Sleeper::new());
    let page = web::web(|_| web::ok("here I am")).await;
    let mut plan = sleeper.plan(true);
    plan.prepare[0].title = Some("Steckdose <an>".to_owned());
    plan.ready = None;
    let mut mine = planned(service("page", &page.url()), plan);
    mine.offer.title = Some("Drucker".to_owned());
    let _device = lab.device("pi", vec![mine]).await;
    until_phase(&lab, "page", Phase::Resting).await;
    let slow = sleeper.slow();
    let ask = async |headers: &[(&str, &str)]| {
        let request = visitor::request("page-pi.gw.test", "/a?b");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        visitor::send(lab.http(), request.body(visitor::nothing()).unwrap()).await
    };
    let first = ask(&[]).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{}", first.text());
    until_phase(&lab, "page", Phase::Preparing).await;
    let german = ask(&[("accept-language", "de")]).await;
    assert_eq!(german.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&german.headers["refresh"], &german.headers["retry-after"]),
        (&"3".parse().unwrap(), &"5".parse().unwrap())
    );
    let text = german.text();
    assert!(
        text.contains("Wird vorbereitet") && text.contains("Drucker: Schritt 1 von 1: Steckdose &lt;an&gt;."),
        "{text}"
    );
    let program = ask(&[("accept", "application/json")]).await;
    assert_eq!(
        (program.status, &program.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    assert!(program.text().contains("Step 1 of 1: Steckdose <an>."), "{}", program.text());
    assert_eq!(page.accepted(), 0);
    drop(slow);
    until("the page is there", async || ask(&[]).await.status == StatusCode::OK).await;
    assert_eq!(ask(&[]).await.text(), "here I am");
    assert_eq!(sleeper.count("wake.begun"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_told_with_its_error_to_the_owner_and_tried_again_after_a_pause() {
    let (lab, sleeper) = (Lab::start().await, Sleeper::new());
    let is_mended = Arc::new(AtomicBool::new(false));
    let plug = web::web({
        let is_mended = is_mended.clone();
        move |_| match is_mended.load(Ordering::Relaxed) {
            true => web::ok("on"),
            false => web::Answer::Whole(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
        }
    })
    .await;
    let written = format!(
        "[[service]]\nname = \"pc\"\ntarget = \"tcp://{}\"\nprepare = [{{ http = \"{}/on?key=s3cret\" }}]\n",
        sleeper.address,
        plug.url()
    );
    let mut plan = sleeper.plan(true);
    let read = Settings::parse(&written, Path::new("agent.toml")).unwrap().services.remove(0).plan.unwrap();
    plan.prepare.push(read.prepare[0].clone());
    let _device = lab.device("pi", vec![planned(service("pc", &format!("tcp://{}", sleeper.address)), plan)]).await;
    until_phase(&lab, "pc", Phase::Resting).await;
    let port = lab.port("pi", "pc", Protocol::Tcp);
    let mut held = TcpStream::connect(port).await.unwrap();
    assert_eq!(ending(&mut held, LIMIT).await, Ending::Reset);
    let told = seen(&lab, "pc").unwrap();
    assert_eq!((told.step, told.steps, told.what.as_str()), (2, 3, "an HTTP request"), "{told:?}");
    let error = told.error.unwrap();
    assert!(error.contains("answers 500 where 2xx is expected") && !error.contains("s3cret"), "{error}");
    let failure = lab.control().presence().service_failure(lab.record("pi", "pc").service.id).unwrap();
    assert_eq!(failure.failure, doorward_core::hop::HopFailure::NotReady);
    let asked = plug.requests().len();
    assert!(asked <= 2, "a hundred tries would come with a hundred visitors: {asked}");
    is_mended.store(true, Ordering::Relaxed);
    until_phase(&lab, "pc", Phase::Ready).await;
    assert!(plug.requests().iter().all(|request| request.head.starts_with("POST /on?key=s3cret HTTP/1.1")));
    assert!(is_echoed(&mut TcpStream::connect(port).await.unwrap()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_neither_woken_nor_put_to_rest() {
    let office = Office::open().await;
    std::fs::write(office.sleeper.folder.path().join("awake"), "").unwrap();
    let address = office.sleeper.address;
    until("somebody else woke it", async || TcpStream::connect(address).await.is_ok()).await;
    let session = office.open_session(SignedDuration::from_mins(30)).await;
    until_phase(&office.lab, "pc", Phase::Ready).await;
    office.end_session(session).await;
    until_phase(&office.lab, "pc", Phase::Resting).await;
    assert_eq!((office.sleeper.count("wake.begun"), office.sleeper.count("rest.begun")), (0, 0));
    assert!(TcpStream::connect((LOOPBACK, address.port())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_cut_with_their_session_and_reaches_nothing_when_it_is_ready() {
    let office = Office::open().await;
    let Office { lab, sleeper, anna, .. } = &office;
    let slow = sleeper.slow();
    let session = office.open_session(SignedDuration::from_mins(30)).await;
    let mut way_in = lab.openssh(&anna.path());
    way_in.args(["-W", "pi:22", &gateway()]);
    let mut waiting = start(way_in);
    until("the channel waits", async || lab.gateway.gateway.open_streams() == 1).await;
    until_phase(lab, "pc", Phase::Preparing).await;
    office.end_session(session).await;
    waiting.until_ended().await;
    assert_eq!(lab.gateway.gateway.open_streams(), 0);
    drop(slow);
    sleeper.until_done("rest.done", 1).await;
    assert!(lab.control().presence().service_failure(lab.record("pi", "pc").service.id).is_none(), "nothing failed");
}
