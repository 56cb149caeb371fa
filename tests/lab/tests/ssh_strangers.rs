//! What an SSH client may take before it says who it is, and what one identity may hold.

use doorward::serve::settings::LimitsFile;
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_lab::ssh::{Key, gateway, run, start};
use doorward_lab::{Lab, Shape, service, target, until};
use std::time::Duration;
use tokio::process::Command;

/// Asks in each way that there is, and says what came of it.
fn python(lab: &Lab, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", &format!("{BEGIN}{script}"), &lab.ssh_port()]).args(arguments);
    command
}

const BEGIN: &str = r#"
import functools, logging, sys, time, paramiko
logging.disable()
print = functools.partial(print, flush=True)
def connect():
    transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
    transport.start_client(timeout=20)
    return transport
def until_ended(transport):
    began = time.monotonic()
    while transport.is_active():
        time.sleep(0.05)
    return time.monotonic() - began
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_tells_whether_there_is_such_a_user() {
    const SCRIPT: &str = r#"
key = paramiko.Ed25519Key.from_private_key_file(sys.argv[2])
for user in ["zumi01", "anna", "nobody", "root", "", "x" * 1000]:
    said = []
    # Each on a connection of its own: paramiko asks for the service again, which russh does not hear.
    for attempt in [
        lambda transport: transport.auth_none(user),
        lambda transport: transport.auth_publickey(user, key),
        lambda transport: transport.auth_password(user, "a guess", fallback=False),
        lambda transport: transport.auth_interactive(user, lambda *asked: [""] * len(asked[2])),
    ]:
        transport = connect()
        try:
            said.append(str(attempt(transport)))
        except paramiko.BadAuthenticationType as error:
            said.append("try " + ",".join(error.allowed_types))
        except paramiko.AuthenticationException as error:
            said.append("no")
    channel = transport.open_session()
    channel.exec_command("hello")
    said.append(channel.makefile().read().decode().strip())
    print(user[:10].ljust(10), "; ".join(said))
    transport.close()
"#;
    let lab = Lab::start().await;
    let (_zumi, _anna, stranger) = (lab.ssh_device("zumi01").await, lab.ssh_person("anna").await, Key::make());
    let asked = run(python(&lab, SCRIPT, &[stranger.path().to_str().unwrap()])).await;
    let answers: Vec<_> =
        asked.said.lines().filter_map(|line| line.get(10..)).filter(|line| line.contains(';')).collect();
    println!("{}", asked.said);
    assert!(asked.is_success && answers.len() == 6, "{asked:?}");
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:#?}");
    assert!(answers[0].contains("no; "), "{answers:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_attempts_are_all_that_a_connection_has() {
    let lab = Lab::start().await;
    let (keys, known) = ((0..25).map(|_| Key::make()).collect::<Vec<_>>(), lab.ssh_person("anna").await);
    let mut command = lab.openssh(&keys[0].path());
    for key in keys[1..].iter().chain([&known]) {
        command.arg("-i").arg(key.path());
    }
    command.args(["-v", &gateway()]);
    let refused = run(command).await;
    let offered = refused.said.matches("Offering public key").count();
    println!("{offered} keys were offered");
    assert!(!refused.is_success && refused.said.contains("Too many authentication attempts"), "{refused:?}");
    assert!((19..=21).contains(&offered), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_who_they_are_in_20_seconds_is_sent_away_however_they_pass_the_time() {
    const SCRIPT: &str = r#"
import threading
def silent(): return connect()
def refused():
    transport = connect()
    try: transport.auth_none("zumi01")
    except paramiko.SSHException: pass
    return transport
def guest():
    transport = connect()
    transport.auth_interactive("zumi01", lambda *asked: [""] * len(asked[2]))
    return transport
def talking_guest():
    transport = guest()
    def talk():
        while transport.is_active():
            transport.send_ignore(100)
            time.sleep(0.5)
    threading.Thread(target=talk, daemon=True).start()
    return transport
def pestering():
    transport = connect()
    def ask():
        while transport.is_active():
            transport.send_ignore(100)
            time.sleep(0.5)
    threading.Thread(target=ask, daemon=True).start()
    return transport
began = time.monotonic()
all = [way() for way in (silent, refused, guest, talking_guest, pestering)]
for transport in all:
    until_ended(transport)
print("the last after", round(time.monotonic() - began), "seconds")
"#;
    let lab = Lab::start().await;
    let mut asked = start(python(&lab, SCRIPT, &[]));
    let ended = tokio::time::timeout(Duration::from_secs(30), asked.child.wait()).await;
    assert!(ended.is_ok_and(|status| status.unwrap().success()), "{}", asked.said());
    println!("{}", asked.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_has_so_many_connections_and_channels_and_is_told_so() {
    let limits = LimitsFile {
        ssh_connections_per_identity: Some(2),
        ssh_channels_per_identity: Some(3),
        ..LimitsFile::default()
    };
    let lab = Lab::of(Shape { limits, ..Shape::default() }).await;
    let echo = target::echo().await;
    let mut ssh = service("shell", &format!("tcp://{}", echo.address));
    let people = vec!["anna".to_owned(), "ben".to_owned()];
    ssh.offer.virtual_port = Some(22);
    ssh.offer.access = PolicyDocument { who: WhoDocument::People, people, ..PolicyDocument::default() };
    let _pi = lab.device("pi", vec![ssh]).await;
    let (first, second, ben) =
        (lab.ssh_person("anna").await, lab.ssh_person("anna").await, lab.ssh_person("ben").await);
    const SCRIPT: &str = r#"
def come(path):
    transport = connect()
    transport.auth_publickey("x", paramiko.Ed25519Key.from_private_key_file(path))
    return transport
def channels(transport, wanted):
    opened = []
    for _ in range(wanted):
        try: opened.append(transport.open_channel("direct-tcpip", ("pi", 22), ("127.0.0.1", 1), timeout=20))
        except paramiko.ChannelException as error: print("channel:", error)
    return opened
first, second = come(sys.argv[2]), come(sys.argv[3])
try: come(sys.argv[2])
except paramiko.AuthenticationException: print("no third connection")
held = channels(first, 2) + channels(second, 2)
print("channels of the first:", len(held))
ben = come(sys.argv[4])
others = channels(ben, 3)
print("channels of ben:", len(others))
held.pop().close()
deadline = time.monotonic() + 10
while not channels(second, 1) and time.monotonic() < deadline:
    time.sleep(0.05)
print("again:", time.monotonic() < deadline)
first.close()
until_ended(first)
deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    try:
        come(sys.argv[2])
        print("one more connection")
        break
    except paramiko.AuthenticationException:
        time.sleep(0.05)
"#;
    let paths = [first.path(), second.path(), ben.path()];
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let asked = run(python(&lab, SCRIPT, &paths)).await;
    let says = |what: &str| assert!(asked.said.contains(what), "{what}: {}", asked.said);
    assert!(asked.is_success, "{}", asked.said);
    says("no third connection\n");
    says("channel: ChannelException(4, 'Resource shortage')");
    says("channels of the first: 3\n");
    says("channels of ben: 3\n");
    says("again: True\n");
    says("one more connection\n");

    // OpenSSH's user learns what the matter is.
    let held: Vec<_> = (0..2).map(|_| forwarding(&lab, &ben)).collect();
    until("both stand", async || held.iter().all(|client| client.said().contains("Entering interactive session")))
        .await;
    let mut third = lab.openssh(&ben.path());
    third.arg(gateway());
    let third = run(third).await;
    assert!(!third.is_success && third.said.contains("as many SSH connections stand"), "{third:?}");
}

/// A client that stays, and says when it is in.
fn forwarding(lab: &Lab, key: &Key) -> doorward_lab::ssh::Client {
    let mut command = lab.openssh(&key.path());
    command.args(["-v", "-N", &gateway()]);
    start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_channels_and_requests_are_refused_and_others_do_not_notice() {
    const SCRIPT: &str = r#"
import struct
transport = connect()
transport.auth_publickey("x", paramiko.Ed25519Key.from_private_key_file(sys.argv[2]))
class Everything:
    def __contains__(self, _): return True
transport.channels_seen = Everything()
string = lambda text: struct.pack(">I", len(text)) + text
def send(kind, body):
    message = paramiko.Message()
    message.add_byte(bytes([kind]))
    message.packet.write(body)
    transport._send_user_message(message)
# Nothing of this waits for an answer.
for n in range(2000):
    here = struct.pack(">III", 100000 + n, 65536, 32768)
    send(90, string(b"session") + here)
    send(90, string(b"direct-tcpip") + here + string(b"pi") + struct.pack(">I", 22) + string(b"127.0.0.1") + struct.pack(">I", 1))
    send(80, string(b"nothing@example.org") + b"\x01")
    send(80, string(b"tcpip-forward") + b"\x00" + string(b"x" * 1000) + struct.pack(">I", 80))
    send(98, struct.pack(">I", n) + string(b"exec") + b"\x01" + string(b"x" * 1000))
    if not transport.is_active():
        break
print("sent", n + 1)
"#;
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let mut ssh = service("shell", &format!("tcp://{}", echo.address));
    ssh.offer.virtual_port = Some(22);
    let _pi = lab.device("pi", vec![ssh]).await;
    let (key, other) = (lab.ssh_device("zumi01").await, lab.ssh_person("anna").await);
    let flood = start(python(&lab, SCRIPT, &[key.path().to_str().unwrap()]));
    let mut slowest = Duration::ZERO;
    while !flood.said().contains("sent ") {
        let mut ask = lab.openssh(&other.path());
        ask.arg(gateway());
        let begun = std::time::Instant::now();
        let asked = run(ask).await;
        assert!(asked.is_success && asked.said.contains("You are anna."), "{asked:?}");
        slowest = slowest.max(begun.elapsed());
        assert!(!flood.said().contains("Traceback"), "{}", flood.said());
    }
    println!("{}, and another client was served in {slowest:?} at most", flood.said().trim());
}
