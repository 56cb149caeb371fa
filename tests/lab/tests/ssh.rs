//! Devices that have nothing but an SSH client, and visitors that have nothing but one.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{InviteRequest, LinkState, NewHolder, Protocol};
use doorward_core::access::PolicyDocument;
use doorward_core::names::Label;
use doorward_lab::ssh::{Client, Key, gateway, run, start};
use doorward_lab::visitor::{self, Ending, ending};
use doorward_lab::{LIMIT, Lab, carries_much, is_echoed, says_back, service, target, until, web};
use http::StatusCode;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

fn is_online(lab: &Lab, device: &str) -> bool {
    let Some(device) = lab.control().snapshot().device_by_name(&Label::parse(device).unwrap()) else { return false };
    matches!(lab.control().presence().device(device.id).link, LinkState::Online { .. })
}

async fn until_online(lab: &Lab, device: &str) {
    until("the device is online", async || is_online(lab, device)).await;
}

/// `ssh -N -R …` with a device's key.
fn forwarding(lab: &Lab, key: &Key, forwards: &[String]) -> Client {
    let mut command = lab.openssh(&key.path());
    command.args(["-N", "-T", "-o", "ExitOnForwardFailure=yes"]);
    for forward in forwards {
        command.args(["-R", forward]);
    }
    command.arg(gateway());
    start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_nothing_but_ssh_joins_and_shows_its_page_to_whom_its_owner_lets_in() {
    let lab = Lab::start().await;
    let page = web::web(|_| web::ok("the printer")).await;
    let key = Key::make();
    let invite = lab.invite(InviteRequest { name: Some(Label::parse("zumi01").unwrap()), ..Default::default() }).await;
    let mut join = lab.openssh(&key.path());
    join.arg(gateway()).args(["join", invite.to_text().expose()]);
    let joined = run(join).await;
    assert!(joined.is_success && joined.said.contains("device \"zumi01\""), "{joined:?}");

    let mut offer = lab.openssh(&key.path());
    offer.args(["-R", &format!("printer1:80:{}", page.address), &format!("somebody@{}", gateway())]);
    let client = start(offer);
    client.until_said("printer1.gw.test").await;
    client.until_said("doorward access zumi01/printer1").await;
    assert!(is_online(&lab, "zumi01"));
    let visit = async || visitor::get(lab.http(), "printer1.gw.test", "/").await;
    assert_eq!(visit().await.status, StatusCode::NOT_FOUND, "nobody, unless said");
    lab.set_access("zumi01", "printer1", PolicyDocument::public()).await;
    assert_eq!(visit().await.text(), "the printer");
    client.until_said("printer1: a visit").await;
    client.end().await;
    until("the device is offline", async || !is_online(&lab, "zumi01")).await;
    assert_eq!(visit().await.status, StatusCode::SERVICE_UNAVAILABLE);
    let again = forwarding(&lab, &key, &[format!("printer1:80:{}", page.address)]);
    until_online(&lab, "zumi01").await;
    until("the page is back", async || visit().await.status == StatusCode::OK).await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_knows_gets_words_and_nothing_else() {
    let lab = Lab::start().await;
    let key = Key::make();
    let echo = target::echo().await;
    let shell = {
        let mut command = lab.openssh(&key.path());
        command.arg(gateway());
        run(command).await
    };
    assert!(!shell.is_success && shell.said.contains("does not know your key SHA256:"), "{shell:?}");
    let mut forward = forwarding(&lab, &key, &[format!("printer1:80:{}", echo.address)]);
    forward.until_ended().await;
    assert!(forward.said().contains("does not know your key"), "{}", forward.said());
    let wrong = {
        let mut command = lab.openssh(&key.path());
        command.arg(gateway()).args(["join", "DW1AAAA"]);
        run(command).await
    };
    assert!(!wrong.is_success && wrong.said.contains("the invite is damaged"), "{wrong:?}");
    let mut way = lab.openssh(&key.path());
    way.args(["-W", "pi:22", &gateway()]);
    let way = run(way).await;
    assert!(!way.is_success && way.said.contains("prohibited"), "{way:?}");
    assert_eq!(lab.control().snapshot().devices().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_port_is_refused_with_the_command_that_allows_it_and_then_it_is_the_devices_for_ever() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    let forwards = [format!("{port}:{}", echo.address)];
    let mut refused = forwarding(&lab, &key, &forwards);
    refused.until_ended().await;
    assert!(refused.said().contains("is refused: port"), "{}", refused.said());
    let told = {
        let mut command = lab.openssh(&key.path());
        command.args(["-R", &forwards[0], &gateway()]);
        run(command).await
    };
    let name = format!("port-{port}");
    assert!(told.said.contains(&format!("doorward access zumi01/{name} set --public")), "{told:?}");
    lab.set_access("zumi01", &name, PolicyDocument::public()).await;
    let client = forwarding(&lab, &key, &forwards);
    until_online(&lab, "zumi01").await;
    let at = lab.port("zumi01", &name, Protocol::Tcp);
    assert_eq!(at.port(), port);
    says_back(&mut TcpStream::connect(at).await.unwrap(), b"hello").await;
    client.end().await;

    let outside = forwarding(&lab, &key, &[format!("22:{}", echo.address)]);
    let mut outside = outside;
    outside.until_ended().await;
    assert!(!outside.child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn port_0_is_answered_with_a_port_that_stays() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let forwards = [format!("0:{}", echo.address)];
    forwarding(&lab, &key, &forwards).until_ended().await;
    lab.set_access("zumi01", "tcp", PolicyDocument::public()).await;
    for _ in 0..2 {
        let client = forwarding(&lab, &key, &forwards);
        client.until_said("Allocated port").await;
        let port = lab.port("zumi01", "tcp", Protocol::Tcp);
        client.until_said(&format!("Allocated port {}", port.port())).await;
        says_back(&mut TcpStream::connect(port).await.unwrap(), b"hello").await;
        client.end().await;
        until("the device is offline", async || !is_online(&lab, "zumi01")).await;
    }
}

/// A raw port that is open to everybody, over whichever client.
async fn through(client: impl FnOnce(&Lab, &Key, u16, SocketAddr) -> Command) {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    forwarding(&lab, &key, &[format!("{port}:{}", echo.address)]).until_ended().await;
    lab.set_access("zumi01", &format!("port-{port}"), PolicyDocument::public()).await;
    let client = start(client(&lab, &key, port, echo.address));
    let started = Instant::now();
    while !is_online(&lab, "zumi01") {
        assert!(started.elapsed() < LIMIT, "{}", client.said());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let at = lab.port("zumi01", &format!("port-{port}"), Protocol::Tcp);
    // Some ask for their ports only after they came.
    until("visitors come through", async || is_echoed(&mut TcpStream::connect(at).await.unwrap()).await).await;
    let mut visitor = TcpStream::connect(at).await.unwrap();
    says_back(&mut visitor, b"hello").await;
    carries_much(&mut visitor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropbear_forwards() {
    through(|lab, key, port, echo| {
        let mut command = Command::new("dbclient");
        command.args(["-y", "-y", "-N", "-T", "-p", &lab.ssh_port(), "-i"]).arg(key.for_dropbear());
        command.args(["-R", &format!("{port}:{echo}"), &gateway()]);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plink_forwards() {
    through(|lab, key, port, echo| {
        let host_key = std::thread::scope(|scope| {
            let runtime = tokio::runtime::Handle::current();
            scope.spawn(move || runtime.block_on(lab.control().ssh_host_public_keys())).join().unwrap().unwrap()
        });
        let key_of_host: doorward_core::ssh::PublicKey = host_key[0].parse().unwrap();
        let fingerprint = doorward_control::KeyFingerprint::of(&key_of_host).to_string();
        let mut command = Command::new("plink");
        command.args(["-batch", "-ssh", "-hostkey", &fingerprint, "-P", &lab.ssh_port(), "-i"]).arg(key.for_putty());
        command.args(["-N", "-R", &format!("{port}:{echo}"), &format!("zumi01@{}", gateway())]);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paramiko_forwards() {
    const SCRIPT: &str = r#"
import socket, sys, threading, paramiko
port, key, remote, echo_host, echo_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.WarningPolicy())
client.connect("127.0.0.1", port, username="zumi01", key_filename=key, look_for_keys=False, allow_agent=False)
transport = client.get_transport()
transport.request_port_forward("", remote)
def passing(channel):
    target = socket.create_connection((echo_host, echo_port))
    def up():
        while True:
            data = channel.recv(65536)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    threading.Thread(target=up, daemon=True).start()
    while True:
        data = target.recv(65536)
        if not data:
            break
        channel.sendall(data)
    channel.shutdown_write()
while True:
    channel = transport.accept(1000)
    if channel is not None:
        threading.Thread(target=passing, args=(channel,), daemon=True).start()
"#;
    through(|lab, key, port, echo| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", SCRIPT, &lab.ssh_port()]).arg(key.path());
        command.args([port.to_string(), echo.ip().to_string(), echo.port().to_string()]);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_connection_has_the_name_and_gives_it_back_when_it_ends() {
    let lab = Lab::start().await;
    let (old, new) = (web::web(|_| web::ok("old")).await, web::web(|_| web::ok("new")).await);
    let key = lab.ssh_device("zumi01").await;
    let offer = |at: SocketAddr| forwarding(&lab, &key, &[format!("cam:80:{at}")]);
    let text = async || visitor::get(lab.http(), "cam.gw.test", "/").await.text();
    let first = offer(old.address);
    until_online(&lab, "zumi01").await;
    lab.set_access("zumi01", "cam", PolicyDocument::public()).await;
    assert_eq!(text().await, "old");
    let second = offer(new.address);
    until("the newest has the name", async || text().await == "new").await;
    second.end().await;
    until("the one before has it again", async || text().await == "old").await;
    first.end().await;
    until("the device is offline", async || !is_online(&lab, "zumi01")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_any_more_is_noticed_within_15_seconds() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let client = forwarding(&lab, &key, &[format!("cam:80:{}", echo.address)]);
    until_online(&lab, "zumi01").await;
    let pid = client.child.id().unwrap().to_string();
    let stop = std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap();
    assert!(stop.success());
    let took = until("the device is offline", async || !is_online(&lab, "zumi01")).await;
    println!("a silent client was given up after {took:?}");
    assert!(took < Duration::from_secs(16), "it took {took:?}");
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_their_key_loses_their_connection_within_a_second() {
    let lab = Lab::start().await;
    let (page, key) = (web::web(|_| web::ok("x")).await, lab.ssh_device("zumi01").await);
    let mut client = forwarding(&lab, &key, &[format!("cam:80:{}", page.address)]);
    until_online(&lab, "zumi01").await;
    let fingerprint = doorward_control::KeyFingerprint::of(&key.public());
    let started = Instant::now();
    lab.control().remove_ssh_key(fingerprint, jiff::Timestamp::now()).await.unwrap();
    client.until_ended().await;
    until("the device is offline", async || !is_online(&lab, "zumi01")).await;
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    let mut again = forwarding(&lab, &key, &[format!("cam:80:{}", page.address)]);
    again.until_ended().await;
    assert!(!is_online(&lab, "zumi01"));

    // Nor does it stay theirs if it becomes somebody else's at once.
    let (now, device) = (jiff::Timestamp::now(), |name| NewHolder::Device(Label::parse(name).unwrap()));
    lab.control().add_ssh_keys(device("zumi01"), vec![key.public()], now).await.unwrap();
    let mut client = forwarding(&lab, &key, &[format!("cam:80:{}", page.address)]);
    until_online(&lab, "zumi01").await;
    lab.control().remove_ssh_key(fingerprint, now).await.unwrap();
    lab.control().add_ssh_keys(device("zumi02"), vec![key.public()], now).await.unwrap();
    client.until_ended().await;
    until("the device is offline", async || !is_online(&lab, "zumi01")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_over_a_forward_is_cut_like_any_other_and_the_rest_goes_on() {
    let lab = Lab::start().await;
    let (echo, page) = (target::echo().await, web::web(|_| web::ok("still here")).await);
    let key = lab.ssh_device("zumi01").await;
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    let name = format!("port-{port}");
    let forwards = [format!("{port}:{}", echo.address), format!("cam:80:{}", page.address)];
    forwarding(&lab, &key, &forwards).until_ended().await;
    lab.set_access("zumi01", &name, PolicyDocument::public()).await;
    let _client = forwarding(&lab, &key, &forwards);
    until("both are offered", async || {
        let device = lab.control().snapshot().device_by_name(&Label::parse("zumi01").unwrap()).unwrap();
        lab.control()
            .snapshot()
            .services_of(device.id)
            .filter(|r| r.service.standing == doorward_core::service::Standing::Offered)
            .count()
            == 2
    })
    .await;
    lab.set_access("zumi01", "cam", PolicyDocument::public()).await;
    let mut visitor = TcpStream::connect(lab.port("zumi01", &name, Protocol::Tcp)).await.unwrap();
    says_back(&mut visitor, b"hello").await;
    let started = Instant::now();
    lab.set_access("zumi01", &name, PolicyDocument::default()).await;
    assert_eq!(ending(&mut visitor, Duration::from_secs(5)).await, Ending::Reset);
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    assert_eq!(visitor::get(lab.http(), "cam.gw.test", "/").await.text(), "still here");
}

/// Visitors of a raw port, one of whom reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_stops_reading_stalls_nobody_else_of_the_device() {
    let lab = Lab::start().await;
    let (echo, flood, key) = (target::echo().await, target::flood().await, lab.ssh_device("zumi01").await);
    let ports: Vec<_> = lab.control().site().tcp_ports.clone().take(2).collect();
    let forwards = [format!("{}:{}", ports[0], echo.address), format!("{}:{}", ports[1], flood.address)];
    for (forward, port) in forwards.iter().zip(&ports) {
        forwarding(&lab, &key, std::slice::from_ref(forward)).until_ended().await;
        lab.set_access("zumi01", &format!("port-{port}"), PolicyDocument::public()).await;
    }
    // New keys every few megabytes, while a visitor does not read.
    let mut command = lab.openssh(&key.path());
    command.args(["-N", "-T", "-o", "RekeyLimit=2M", "-R", &forwards[0], "-R", &forwards[1], &gateway()]);
    let mut client = start(command);
    until("both are offered", async || {
        let open = |port: &u16| lab.control().snapshot().tcp(*port).is_some();
        is_online(&lab, "zumi01") && ports.iter().all(open)
    })
    .await;
    lab.until_listening().await;
    let at = |n: usize| lab.port("zumi01", &format!("port-{}", ports[n]), Protocol::Tcp);
    let mut stalled = TcpStream::connect(at(1)).await.unwrap();
    stalled.read_exact(&mut [0; 1000]).await.unwrap();
    let mut talking = TcpStream::connect(at(0)).await.unwrap();
    let mut worst = Duration::ZERO;
    for _ in 0..150 {
        let asked = Instant::now();
        says_back(&mut talking, b"hello").await;
        worst = worst.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    says_back(&mut TcpStream::connect(at(0)).await.unwrap(), b"a new one").await;
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| n as u8).collect();
    let (mut reader, mut writer) = talking.split();
    let mut back = vec![0; large.len()];
    let both = async { tokio::join!(writer.write_all(&large), reader.read_exact(&mut back)) };
    let (wrote, read) = timeout(LIMIT, both).await.expect("20 MB in time");
    assert!(wrote.is_ok() && read.is_ok() && back == large);
    println!("an echo beside a visitor who does not read took {worst:?} at most");
    assert!(worst < Duration::from_secs(2), "an echo took {worst:?}");
    let mut rest = vec![0; 20_000_000];
    timeout(LIMIT, stalled.read_exact(&mut rest)).await.expect("whoever reads again gets the rest").unwrap();
    assert!(client.child.try_wait().unwrap().is_none(), "{}", client.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_several_keys_gets_in_by_the_one_that_is_known() {
    let lab = Lab::start().await;
    let (known, unknown) = (lab.ssh_person("anna").await, Key::make());
    let mut command = lab.openssh(&unknown.path());
    command.arg("-i").arg(known.path()).arg(gateway());
    let shown = run(command).await;
    assert!(shown.is_success && shown.said.contains("You are anna."), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_agent_is_online_offers_nothing_by_ssh() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _device = lab.device("pi", vec![service("echo", &format!("tcp://{}", echo.address))]).await;
    let key = lab.ssh_device("pi").await;
    let mut command = lab.openssh(&key.path());
    command.args(["-R", &format!("cam:80:{}", echo.address), &gateway()]);
    let refused = run(command).await;
    assert!(refused.said.contains("has an agent that is online"), "{refused:?}");
    says_back(&mut TcpStream::connect(lab.port("pi", "echo", Protocol::Tcp)).await.unwrap(), b"as before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autossh_comes_back_to_the_same_host_key_and_address_after_the_gateway_restarted() {
    let lab = Lab::start().await;
    let (page, key) = (web::web(|_| web::ok("the camera")).await, lab.ssh_device("zumi01").await);
    let hosts = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("autossh");
    command.env("AUTOSSH_GATETIME", "0").args(["-M", "0", "-F", "none", "-N", "-T", "-p", &lab.ssh_port(), "-i"]);
    command.arg(key.path()).args(["-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes"]);
    command.args(["-o", "StrictHostKeyChecking=accept-new", "-o"]);
    command.arg(format!("UserKnownHostsFile={}", hosts.path().display()));
    command.args(["-R", &format!("cam:80:{}", page.address), &gateway()]);
    let _client = start(command);
    until_online(&lab, "zumi01").await;
    lab.set_access("zumi01", "cam", PolicyDocument::public()).await;
    assert_eq!(visitor::get(lab.http(), "cam.gw.test", "/").await.text(), "the camera");
    let lab = lab.restart_gateway().await;
    let took =
        until("the page is back", async || visitor::get(lab.http(), "cam.gw.test", "/").await.text() == "the camera")
            .await;
    println!("after a restart of the gateway the page was back in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_floods_and_silence_are_survived_and_given_up_in_time() {
    let lab = Lab::start().await;
    let at = lab.gateway.gateway.bound().ssh[0];
    let hello = b"SSH-2.0-something\r\n".to_vec();
    // A packet's length, and a kind of key exchange that makes no sense.
    let packet = |length: u32, rest: &[u8]| [&hello[..], &length.to_be_bytes(), rest].concat();
    let mut inputs: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![b'x'; 1_000_000],
        vec![0; 1_000_000],
        hello.clone(),
        packet(0, &[]),
        packet(u32::MAX, &[255; 100_000]),
        packet(0x8000_0000, &[0; 1000]),
        packet(12, &[4, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        packet(12, &[200, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    inputs.extend(
        (0..20_u8).map(|seed| packet(300, &(0..300_u16).map(|n| (n as u8).wrapping_mul(seed)).collect::<Vec<_>>())),
    );
    let given_up = inputs.into_iter().map(async |input| {
        let mut socket = TcpStream::connect(at).await.unwrap();
        let started = Instant::now();
        let _ = socket.write_all(&input).await;
        let mut rest = Vec::new();
        let _ = timeout(Duration::from_secs(25), socket.read_to_end(&mut rest)).await.expect("it is given up");
        started.elapsed()
    });
    let took = futures_util::future::join_all(given_up).await;
    println!("the last was given up after {:?}", took.iter().max());
    let known = lab.ssh_person("anna").await;
    let mut command = lab.openssh(&known.path());
    command.arg(gateway());
    assert!(run(command).await.is_success, "others are served");
}
