//! Devices that are known by a password, senders, and how long those wait for whom they send to.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{LinkState, NewPassword, Protocol};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_lab::ssh::{Client, Password, WayIn, gateway, run, start};
use doorward_lab::visitor::{self, Ending, knock};
use doorward_lab::{LIMIT, LOOPBACK, Lab, LabDevice, service, target, until, web};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

/// How long a sender waits for whom it sends to (ssh/parking.rs), and some more.
const PARKED: Duration = Duration::from_secs(35);

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

async fn token(lab: &Lab, device: &str) -> (NewPassword, Password) {
    let made = lab.control().make_device_token(label(device), jiff::Timestamp::now()).await.unwrap();
    let password = Password::new(made.text.expose());
    (made, password)
}

async fn sender(lab: &Lab, device: &str, port: u16) -> (NewPassword, Password) {
    let made = lab.control().make_sender_key(label(device), port, jiff::Timestamp::now()).await.unwrap();
    let password = Password::new(made.text.expose());
    (made, password)
}

fn is_online(lab: &Lab, device: &str) -> bool {
    let Some(device) = lab.control().snapshot().device_by_name(&label(device)) else { return false };
    matches!(lab.control().presence().device(device.id).link, LinkState::Online { .. })
}

/// Where senders send to: a viewer's port 5454, wherever that leads.
fn viewer(at: SocketAddr) -> doorward_agent::Service {
    let mut service = service("netgear", &format!("tcp://{at}"));
    service.offer.virtual_port = Some(5454);
    service.offer.access = PolicyDocument { who: WhoDocument::Senders, ..PolicyDocument::default() };
    service
}

/// An address where nothing listens.
async fn nothing() -> SocketAddr {
    TcpListener::bind((LOOPBACK, 0)).await.unwrap().local_addr().unwrap()
}

fn way_in(lab: &Lab, password: &Password, user: &str, to: &str) -> WayIn {
    WayIn::begin(lab.openssh_by_password(password), to, &format!("{user}@{}", gateway()))
}

fn forwarding(lab: &Lab, password: &Password, user: &str, forward: &str) -> Client {
    let mut command = lab.openssh_by_password(password);
    command.args(["-N", "-T", "-o", "ExitOnForwardFailure=yes", "-R", forward, &format!("{user}@{}", gateway())]);
    start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_token_offers_like_a_key_and_ends_with_its_connection_within_a_second() {
    let lab = Lab::start().await;
    let page = web::web(|_| web::ok("the printer")).await;
    let (made, password) = token(&lab, "printer1").await;
    let forward = format!("printer1:80:{}", page.address);
    let mut client = forwarding(&lab, &password, "printer1", &forward);
    until("the device is online", async || is_online(&lab, "printer1")).await;
    lab.set_access("printer1", "printer1", PolicyDocument::public()).await;
    assert_eq!(visitor::get(lab.http(), "printer1.gw.test", "/").await.text(), "the printer");

    let started = Instant::now();
    lab.control().remove_ssh_password(made.number, jiff::Timestamp::now()).await.unwrap();
    client.until_ended().await;
    until("the device is offline", async || !is_online(&lab, "printer1")).await;
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    let mut again = forwarding(&lab, &password, "printer1", &forward);
    again.until_ended().await;
    assert!(again.said().contains("Permission denied"), "{}", again.said());
}

/// `password` with paramiko, which asks for that method at once and for no other.
async fn paramiko(lab: &Lab, user: &str, password: &str) -> String {
    let script = "import paramiko, sys, time\n\
                  transport = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))\n\
                  transport.start_client(timeout=15)\n\
                  began = time.monotonic()\n\
                  try:\n    transport.auth_password(sys.argv[2], sys.stdin.read())\n    said = 'in'\n\
                  except paramiko.AuthenticationException as error:\n    said = type(error).__name__ + ' ' + str(error)\n\
                  print(said); print(time.monotonic() - began, file=sys.stderr)\n\
                  transport.close()\n";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script, &lab.ssh_port(), user]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).await.unwrap();
    let ended = timeout(LIMIT, child.wait_with_output()).await.expect("an answer in time").unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    println!("\"{user}\" was answered after {} s", stderr.lines().last().unwrap_or_default());
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_names_that_nobody_has_look_the_same_and_are_limited() {
    let lab = Lab::start().await;
    let (made, _) = token(&lab, "printer1").await;
    let right = made.text.expose();
    let wrong = paramiko(&lab, "printer1", "device-token-aaaa").await;
    assert!(wrong.starts_with("AuthenticationException"), "{wrong}");
    for (user, password) in [("nobody", "device-token-aaaa"), ("nobody", right), ("", right), ("printer1", "")] {
        assert_eq!(paramiko(&lab, user, password).await, wrong, "{user}");
    }
    assert!(paramiko(&lab, "printer1", right).await == "in");
    for _ in 0..15 {
        assert_eq!(paramiko(&lab, "nobody", "x").await, wrong);
    }
    // So many were wrong that the right one is not looked at, either.
    assert_eq!(paramiko(&lab, "printer1", right).await, wrong);
    lab.control().flush_audit().await.unwrap();
    let audit = lab.control().audit(100).await.unwrap();
    let refused = audit.iter().filter(|entry| entry.deed == "ssh-password-refused");
    assert!(refused.count() > 0, "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_key_reaches_its_port_and_nothing_else() {
    let lab = Lab::start().await;
    let (echo, other) = (target::echo().await, target::echo().await);
    let mut public = service("public", &format!("tcp://{}", other.address));
    public.offer.virtual_port = Some(22);
    let _device = lab.device("livingroom", vec![viewer(echo.address), public]).await;
    let (made, password) = sender(&lab, "livingroom", 5454).await;
    for to in ["127.0.0.1:5454", "localhost:5454"] {
        way_in(&lab, &password, "livingroom", to).says_back().await;
    }
    let own = lab.ssh_port();
    for to in ["127.0.0.1:22", "livingroom:5454", "livingroom:22", "public.livingroom:22", &format!("127.0.0.1:{own}")]
    {
        way_in(&lab, &password, "livingroom", to).is_refused().await;
    }
    way_in(&lab, &password, "pi", "127.0.0.1:5454").is_refused().await;
    let mut forward = forwarding(&lab, &password, "livingroom", &format!("cam:80:{}", echo.address));
    forward.until_ended().await;
    assert!(forward.said().contains("-R cam:80 is refused: this password is for sending"), "{}", forward.said());
    let mut shell = lab.openssh_by_password(&password);
    shell.arg(format!("livingroom@{}", gateway()));
    let shell = run(shell).await;
    assert!(!shell.is_success && shell.said.contains("port 5454 of livingroom alone"), "{shell:?}");
    assert!(!shell.said.contains("livingroom/public"), "{shell:?}");
    assert_eq!(
        knock(lab.port("livingroom", "netgear", Protocol::Tcp)).await,
        Ending::Reset,
        "nobody is a sender there"
    );

    // A key for another port of the same device is none for this one, and one that was taken back is none at all.
    let (_, elsewhere) = sender(&lab, "livingroom", 5455).await;
    way_in(&lab, &elsewhere, "livingroom", "127.0.0.1:5454").is_refused().await;
    let mut cut = way_in(&lab, &password, "livingroom", "127.0.0.1:5454");
    cut.says_back().await;
    let started = Instant::now();
    lab.control().remove_ssh_password(made.number, jiff::Timestamp::now()).await.unwrap();
    let after = timeout(LIMIT, cut.read_u8()).await.expect("it is cut");
    assert!(after.is_err(), "more came: {after:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn sleep_is_held_for_its_time_and_other_commands_are_refused() {
    let lab = Lab::start().await;
    let _device = lab.device("livingroom", vec![viewer(nothing().await)]).await;
    let (_, password) = sender(&lab, "livingroom", 5454).await;
    let command = |words: &str| {
        let mut command = lab.openssh_by_password(&password);
        command.arg(format!("livingroom@{}", gateway())).args(words.split(' '));
        command
    };
    let started = Instant::now();
    let slept = run(command("sleep 2")).await;
    assert!(slept.is_success && started.elapsed() >= Duration::from_secs(2), "{slept:?} {:?}", started.elapsed());
    let refused = run(command("sleep 2; id")).await;
    assert!(!refused.is_success && refused.said.contains("commands are not run here"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_waits_for_a_viewer_who_comes_later_whatever_was_missing() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let device = lab.device("livingroom", vec![]).await;
    let (_, password) = sender(&lab, "livingroom", 5454).await;
    let waits = async |way: &mut WayIn| {
        assert!(timeout(Duration::from_secs(3), way.read_u8()).await.is_err(), "it was refused");
    };
    let served = async |way: &mut WayIn, what: &str| {
        let started = Instant::now();
        way.says_back().await;
        println!("served {:?} after {what} was there", started.elapsed());
    };
    let mut way = way_in(&lab, &password, "livingroom", "127.0.0.1:5454");
    waits(&mut way).await;
    device.offer(vec![viewer(echo.address)]).await;
    served(&mut way, "the service").await;

    let state = device.stop().await;
    until("the device is offline", async || !is_online(&lab, "livingroom")).await;
    let mut way = way_in(&lab, &password, "livingroom", "127.0.0.1:5454");
    waits(&mut way).await;
    let at = nothing().await;
    let _device = LabDevice::start(state, vec![viewer(at)]);
    until("the device is online", async || is_online(&lab, "livingroom")).await;
    waits(&mut way).await;
    let listener = TcpListener::bind(at).await.unwrap();
    let accepted = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = socket.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    served(&mut way, "the viewer's program").await;
    drop(way);
    timeout(LIMIT, accepted).await.expect("it ends with its sender").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_wait_and_not_for_ever() {
    let lab = Lab::start().await;
    let _device = lab.device("livingroom", vec![viewer(nothing().await)]).await;
    let (made, password) = sender(&lab, "livingroom", 5454).await;
    let here = nothing().await.port();
    let mut command = lab.openssh_by_password(&password);
    command.args(["-N", "-L", &format!("{here}:127.0.0.1:5454"), &format!("livingroom@{}", gateway())]);
    let mut client = start(command);
    until("ssh listens", async || TcpStream::connect((LOOPBACK, here)).await.is_ok()).await;
    let started = Instant::now();
    let closed = async |_| {
        let mut socket = TcpStream::connect((LOOPBACK, here)).await.unwrap();
        let _ = timeout(PARKED, socket.read(&mut [0])).await.expect("it is refused in the end");
        started.elapsed()
    };
    let mut took = futures_util::future::join_all((0..12).map(closed)).await;
    took.sort_unstable();
    println!("refused after {took:?}");
    let at_once = took.iter().filter(|took| **took < Duration::from_secs(5)).count();
    // The first look, that ssh listens, may hold a place, too.
    assert!((4..=5).contains(&at_once), "{at_once} of 12 were refused at once");
    assert!(took[11] > Duration::from_secs(20), "{:?}", took[11]);

    // Who waits while the key is taken away ends at once.
    let waiting = TcpStream::connect((LOOPBACK, here)).await.unwrap();
    let started = Instant::now();
    lab.control().remove_ssh_password(made.number, jiff::Timestamp::now()).await.unwrap();
    client.until_ended().await;
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    drop(waiting);
}
