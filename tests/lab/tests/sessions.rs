//! Sessions: a service that is opened for one person and a while, by `ssh gateway open …`, and cut at its end.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{GroupEdit, PersonEdit, Protocol, SessionSummary};
use doorward_core::access::{HowDocument, PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_core::session::SessionEnd;
use doorward_lab::ssh::{Client, Ended, Key, WayIn, gateway, run, start};
use doorward_lab::visitor::{self, Ending, ending, knock};
use doorward_lab::{LIMIT, Lab, LabDevice, is_echoed, service, target, until, web};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(1);
/// The gateway counts whole milliseconds for the device.
const EARLY: Duration = Duration::from_millis(20);

fn on_request(people: &[&str], groups: &[&str]) -> PolicyDocument {
    let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    PolicyDocument {
        who: WhoDocument::People,
        people: own(people),
        groups: own(groups),
        how: Some(HowDocument::OnRequest),
        max_duration: Some("1h".to_owned()),
        ..PolicyDocument::default()
    }
}

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

/// A gateway with a device whose echo `shell` must be opened, and whose echo `free` need not.
struct Classroom {
    lab: Lab,
    anna: Key,
    _device: LabDevice,
    _echo: target::Target,
}

impl Classroom {
    async fn of(policy: PolicyDocument) -> Self {
        let lab = Lab::start().await;
        let echo = target::echo().await;
        let anna = lab.ssh_person("anna").await;
        let url = format!("tcp://{}", echo.address);
        let (mut shell, mut free) = (service("shell", &url), service("free", &url));
        (shell.offer.virtual_port, shell.offer.access) = (Some(22), policy);
        let signed_in = PolicyDocument { how: None, max_duration: None, ..on_request(&["anna"], &[]) };
        (free.offer.virtual_port, free.offer.access) = (Some(23), signed_in);
        let device = lab.device("pi", vec![shell, free]).await;
        Self { lab, anna, _device: device, _echo: echo }
    }

    async fn usual() -> Self {
        Self::of(on_request(&["anna"], &[])).await
    }

    async fn says(&self, key: &Key, words: &[&str]) -> Ended {
        let mut command = self.lab.openssh(&key.path());
        command.arg(gateway()).args(words);
        run(command).await
    }

    /// `ssh gateway open pi/shell --for …`, and what became of it.
    async fn open(&self, span: &str) -> SessionSummary {
        let opened = self.says(&self.anna, &["open", "pi/shell", "--for", span]).await;
        assert!(opened.is_success && opened.said.contains("pi/shell is open for you until"), "{opened:?}");
        self.session().await
    }

    /// The newest.
    async fn session(&self) -> SessionSummary {
        self.lab.control().sessions(true, 1, Timestamp::now()).await.unwrap().remove(0)
    }

    async fn visit(&self, key: &Key, to: &str) -> Ended {
        let mut command = self.lab.openssh(&key.path());
        command.args(["-W", to, &gateway()]);
        run(command).await
    }

    /// Whether `ssh -L` leads there.
    async fn lets_in(&self, key: &Key) -> bool {
        let forward = Forward::start(&self.lab, key, "pi:22").await;
        is_echoed(&mut forward.connect().await).await
    }
}

/// `ssh -L`, as long as it lives.
struct Forward {
    client: Client,
    at: SocketAddr,
}

impl Forward {
    async fn start(lab: &Lab, key: &Key, to: &str) -> Self {
        let at = target::nobody();
        let mut command = lab.openssh(&key.path());
        command.args(["-N", "-T", "-L", &format!("{at}:{to}"), &gateway()]);
        let client = start(command);
        until("the client listens", async || TcpStream::connect(at).await.is_ok()).await;
        Self { client, at }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    async fn held(&self) -> TcpStream {
        let mut socket = self.connect().await;
        assert!(is_echoed(&mut socket).await, "{}", self.client.said());
        socket
    }
}

fn way_in(lab: &Lab, key: &Key, to: &str) -> WayIn {
    WayIn::begin(lab.openssh(&key.path()), to, &gateway())
}

fn instant(at: Timestamp) -> Instant {
    let left = at.duration_since(Timestamp::now());
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}

/// Held by `-L` and by what `-J` runs, and beside it what needs no session.
struct Held {
    forward: Forward,
    socket: TcpStream,
    jump: WayIn,
    free: TcpStream,
    _free: Forward,
}

impl Held {
    async fn open(classroom: &Classroom) -> Self {
        let (lab, anna) = (&classroom.lab, &classroom.anna);
        let forward = Forward::start(lab, anna, "pi:22").await;
        let free_forward = Forward::start(lab, anna, "pi:23").await;
        let (socket, free) = (forward.held().await, free_forward.held().await);
        let mut jump = way_in(lab, anna, "pi:22");
        assert!(jump.is_alive().await);
        Self { forward, socket, jump, free, _free: free_forward }
    }

    async fn must_stand(&mut self) {
        assert!(is_echoed(&mut self.socket).await && self.jump.is_alive().await);
    }

    /// Within a second of `since`, and nothing else ends.
    async fn must_be_cut(mut self, what: &str, since: Instant) {
        let how = ending(&mut self.socket, 2 * LIMIT).await;
        let socket_took = since.elapsed();
        self.jump.until_cut().await;
        println!("{what}: -L {how:?} after {socket_took:?}, -W after {:?}", since.elapsed());
        assert_ne!(how, Ending::StillOpen, "{what}");
        assert!(Instant::now() + EARLY > since, "{what}: it ended before its time");
        assert!(since.elapsed() < SOON, "{what}: it took {:?}", since.elapsed());
        assert!(is_echoed(&mut self.free).await, "{what}: what needs no session goes on");
        assert!(!is_echoed(&mut self.forward.connect().await).await, "{what}: nothing new comes in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_request_is_refused_with_the_line_that_opens_it_then_open_and_cut_at_its_end() {
    let classroom = Classroom::usual().await;
    let refused = classroom.visit(&classroom.anna, "pi:22").await;
    assert!(!refused.is_success && refused.said.contains("open it first: ssh -p"), "{refused:?}");
    assert!(refused.said.contains("open pi/shell --for 30m"), "{refused:?}");
    let shown = classroom.says(&classroom.anna, &[]).await;
    assert!(shown.said.contains("You may open for a while:") && shown.said.contains("pi/shell"), "{shown:?}");
    let opened = classroom.says(&classroom.anna, &["open", "pi/shell", "--for", "6s"]).await;
    assert!(opened.said.contains("ssh -J 127.0.0.1:") || opened.said.contains("ssh -J gw.test:"), "{opened:?}");
    let session = classroom.session().await.session;
    assert!(opened.said.contains(&format!(" end {}", session.id)), "{opened:?}");
    let held = Held::open(&classroom).await;
    held.must_be_cut("at its end", instant(session.until)).await;
    until("it is written down", async || classroom.session().await.ended == Some((SessionEnd::Time, session.until)))
        .await;
    let again = classroom.visit(&classroom.anna, "pi:22").await;
    assert!(again.said.contains("open it first"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_keeps_what_is_open_and_ending_by_hand_cuts_it() {
    let classroom = Classroom::usual().await;
    let first = classroom.open("4s").await.session;
    let mut held = Held::open(&classroom).await;
    let longer = classroom.open("60s").await.session;
    assert_eq!(longer.id, first.id);
    tokio::time::sleep_until((instant(first.until) + SOON).into()).await;
    held.must_stand().await;
    let listed = classroom.says(&classroom.anna, &["sessions"]).await;
    assert!(listed.said.contains("pi/shell") && listed.said.contains(&first.id.to_string()), "{listed:?}");
    let stranger = classroom.lab.ssh_person("ben").await;
    let number = first.id.to_string();
    let others = classroom.says(&stranger, &["end", &number]).await;
    assert!(!others.is_success && others.said.contains("you have no session"), "{others:?}");
    held.must_stand().await;
    let control = classroom.lab.control();
    let since = Instant::now();
    control.end_session(first.id, None, Timestamp::now()).await.unwrap();
    held.must_be_cut("by hand", since).await;

    let second = classroom.open("60s").await.session;
    assert_ne!(second.id, first.id);
    assert!(classroom.lets_in(&classroom.anna).await);
    let ended = classroom.says(&classroom.anna, &["end", &second.id.to_string()]).await;
    assert!(ended.is_success, "{ended:?}");
    assert_eq!(classroom.session().await.ended.map(|(how, _)| how), Some(SessionEnd::Hand));
    assert!(!classroom.lets_in(&classroom.anna).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_person_or_group_cuts_what_rested_on_it() {
    let classroom = Classroom::of(on_request(&[], &["robotics"])).await;
    let control = classroom.lab.control();
    let robotics = label("robotics");
    assert!(!classroom.says(&classroom.anna, &["open", "pi/shell"]).await.is_success);
    control.add_group(robotics.clone(), None, vec![label("anna")], Timestamp::now()).await.unwrap();
    let member = |is: bool| {
        let names = vec![label("anna")];
        if is {
            GroupEdit { add: names, ..GroupEdit::default() }
        } else {
            GroupEdit { remove: names, ..GroupEdit::default() }
        }
    };
    classroom.open("60s").await;
    let held = Held::open(&classroom).await;
    let since = Instant::now();
    control.edit_group(robotics.clone(), member(false), None, Timestamp::now()).await.unwrap();
    held.must_be_cut("out of the group", since).await;

    control.edit_group(robotics.clone(), member(true), None, Timestamp::now()).await.unwrap();
    let mut held = Held::open(&classroom).await;
    let anna = control.snapshot().person_by_name(&label("anna")).unwrap().id;
    let other = control.add_group(label("other"), None, vec![label("anna")], Timestamp::now()).await.unwrap();
    held.must_stand().await;
    let end = Timestamp::now() + SignedDuration::from_secs(3);
    let ends = PersonEdit { ends_at: Some(Some(end)), ..PersonEdit::default() };
    control.edit_person(anna, ends, None, Timestamp::now()).await.unwrap();
    let how = ending(&mut held.socket, LIMIT).await;
    let since = instant(end);
    println!("at the account's end: {how:?} after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON && Instant::now() + EARLY > since, "it took {:?}", since.elapsed());
    // What the account held open otherwise goes, too.
    timeout(LIMIT, held.forward.client.child.wait()).await.expect("the connection ends").unwrap();
    drop((held, other));
    let ended = classroom.says(&classroom.anna, &["sessions"]).await;
    assert!(!ended.is_success, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_or_removed_is_out_within_a_second() {
    let classroom = Classroom::usual().await;
    let control = classroom.lab.control();
    let anna = control.snapshot().person_by_name(&label("anna")).unwrap().id;
    for what in ["disabled", "removed"] {
        classroom.open("60s").await;
        let (mut by_session, mut without) =
            (way_in(&classroom.lab, &classroom.anna, "pi:22"), way_in(&classroom.lab, &classroom.anna, "pi:23"));
        assert!(by_session.is_alive().await && without.is_alive().await);
        let since = Instant::now();
        if what == "disabled" {
            let disable = PersonEdit { is_disabled: Some(true), ..PersonEdit::default() };
            control.edit_person(anna, disable, None, Timestamp::now()).await.unwrap();
        } else {
            control.remove_person(anna, None, Timestamp::now()).await.unwrap();
        }
        by_session.until_cut().await;
        without.until_cut().await;
        println!("{what}: out after {:?}", since.elapsed());
        assert!(since.elapsed() < SOON, "{what}: it took {:?}", since.elapsed());
        let all = control.sessions(true, 9, Timestamp::now()).await.unwrap();
        let ended: Vec<_> = all.into_iter().map(|session| session.ended).collect();
        let is_gone = |ended: &Option<(SessionEnd, Timestamp)>| ended.is_some_and(|(how, _)| how == SessionEnd::Gone);
        assert!(ended.iter().all(is_gone), "{what}: {ended:?}");
        assert_eq!(ended.is_empty(), what == "removed", "nothing is kept of whoever is removed");
        let enable = PersonEdit { is_disabled: Some(false), ..PersonEdit::default() };
        let _ = control.edit_person(anna, enable, None, Timestamp::now()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_policy_cuts_a_session_and_other_sessions_stand() {
    let classroom = Classroom::of(on_request(&["anna", "ben"], &[])).await;
    let ben = classroom.lab.ssh_person("ben").await;
    classroom.open("60s").await;
    assert!(!classroom.lets_in(&ben).await, "nobody comes in by somebody else's session");
    let opened = classroom.says(&ben, &["open", "pi/shell"]).await;
    assert!(opened.is_success, "{opened:?}");
    let mut bens = way_in(&classroom.lab, &ben, "pi:22");
    assert!(bens.is_alive().await);
    let held = Held::open(&classroom).await;
    let since = Instant::now();
    classroom.lab.set_access("pi", "shell", on_request(&["ben"], &[])).await;
    held.must_be_cut("a narrower policy", since).await;
    assert!(bens.is_alive().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_session_a_restart_takes_nothing_and_gives_nothing() {
    let classroom = Classroom::usual().await;
    let before = classroom.open("25s").await.session;
    assert!(classroom.lets_in(&classroom.anna).await);
    let Classroom { lab, anna, _device, _echo } = classroom;
    let lab = lab.restart_gateway().await;
    let classroom = Classroom { lab, anna, _device, _echo };
    let after = classroom.session().await;
    assert_eq!((after.session.until, after.session.opened_at, after.ended), (before.until, before.opened_at, None));
    until("the device is back", async || classroom.lets_in(&classroom.anna).await).await;
    let held = Held::open(&classroom).await;
    held.must_be_cut("after a restart", instant(before.until)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_what_passes_and_an_open_connection_that_is_silent_is_none() {
    let classroom = Classroom::usual().await;
    let mut jump = {
        classroom.open("60s").await;
        way_in(&classroom.lab, &classroom.anna, "pi:22")
    };
    assert!(jump.is_alive().await);
    let used = async || classroom.session().await.used_at;
    let opened = classroom.session().await.session.opened_at;
    until("what passed is noticed", async || used().await > opened).await;
    let noticed = used().await;
    // Longer than it takes to notice.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(used().await, noticed, "it is open and silent");
    assert!(jump.is_alive().await);
    until("it is used again", async || used().await > noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_tell_who_comes_nobody_gets_in_on_request() {
    let lab = Lab::start().await;
    let (page, echo, udp) = (web::web(|_| web::ok("x")).await, target::echo().await, target::udp_echo().await);
    let mut services = vec![
        service("page", &page.url()),
        service("raw", &format!("tcp://{}", echo.address)),
        service("game", &format!("udp://{}", udp.address)),
    ];
    services.iter_mut().for_each(|service| service.offer.access = on_request(&["anna"], &[]));
    let _device = lab.device("pi", services).await;
    let anna = lab.ssh_person("anna").await;
    for (name, is_opened) in [("page", true), ("raw", true), ("game", true), ("nothing", false)] {
        let mut open = lab.openssh(&anna.path());
        open.args([gateway().as_str(), "open", &format!("pi/{name}")]);
        assert_eq!(run(open).await.is_success, is_opened, "{name}");
    }
    let answer = visitor::get(lab.http(), "page-pi.gw.test", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(page.accepted(), 0);
    assert_eq!(knock(lab.port("pi", "raw", Protocol::Tcp)).await, Ending::Reset);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"well?", lab.port("pi", "game", Protocol::Udp)).await.unwrap();
    let answer = timeout(SOON, socket.recv(&mut [0; 16])).await;
    assert!(answer.is_err(), "{answer:?}");
    let forward = Forward::start(&lab, &anna, "page.pi:80").await;
    let mut socket = forward.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: page\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    timeout(LIMIT, socket.read_exact(&mut head)).await.expect("an answer").unwrap();
    assert_eq!(&head, b"HTTP/1.1 200", "by SSH she is known");
}
