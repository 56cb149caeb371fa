//! The audit of a gateway that is killed in the middle, and its copy without the gateway.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const PROGRAM: &str = env!("CARGO_BIN_EXE_doorward");

struct Gateway(Child);

impl Gateway {
    fn start(place: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(place.join("log")).unwrap();
        let program = Command::new(PROGRAM)
            .args(["serve", "--config", "gateway.toml", "--data", "data"])
            .current_dir(place)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let gateway = Self(program.unwrap());
        let begun = Instant::now();
        while !doorward(place, &["status"]).status.success() {
            assert!(begun.elapsed() < LIMIT, "{}", fs::read_to_string(place.join("log")).unwrap());
        }
        gateway
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn doorward(place: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).args(["--data", "data"]).current_dir(place).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// With ports of its own; answers with that of its operations.
fn configure(place: &Path) -> u16 {
    let (https, operations) = (free_port(), free_port());
    let settings = format!(
        "[listen]\nhttps = [\"127.0.0.1:{https}\"]\nquic = []\nredirect = []\nssh = []\nports = [\"127.0.0.1\"]\noperations = \"127.0.0.1:{operations}\"\n"
    );
    fs::write(place.join("gateway.toml"), settings).unwrap();
    operations
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_gateway_that_is_killed_while_it_writes_leaves_a_chain_that_verifies_here_and_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let operations = configure(place);
    let mut lines = 0;
    for round in 0..5_usize {
        let gateway = Gateway::start(place);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let place = place.to_owned();
                std::thread::spawn(move || while doorward(&place, &["invite", "--no-qr"]).status.success() {})
            })
            .collect();
        // Until it is in the middle of it.
        let begun = Instant::now();
        let enough = lines + 3 * (round + 1);
        while count(place) < enough {
            assert!(begun.elapsed() < LIMIT);
        }
        gateway.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let gateway = Gateway::start(place);
        let verified = doorward(place, &["audit", "verify"]);
        assert!(verified.status.success(), "{}", said(&verified));
        assert!(count(place) >= enough, "what was answered is there");
        lines = count(place);
        gateway.kill();
    }
    let gateway = Gateway::start(place);
    let starts = doorward(place, &["audit", "--deed", "gateway", "--json"]);
    let starts: Vec<serde_json::Value> = serde_json::from_slice(&starts.stdout).unwrap();
    assert_eq!(starts.len(), 11, "each start, and no end");
    let head =
        serde_json::from_slice::<Vec<serde_json::Value>>(&doorward(place, &["audit", "--json", "--limit", "1"]).stdout);
    let head = head.unwrap()[0]["hash"].as_str().unwrap().to_owned();
    let expected = doorward(place, &["audit", "verify", "--expect", &head]);
    assert!(expected.status.success(), "{}", said(&expected));
    let strange = doorward(place, &["audit", "verify", "--expect", &"0a".repeat(32)]);
    assert!(
        !strange.status.success() && said(&strange).contains("there is no line with the hash"),
        "{}",
        said(&strange)
    );
    let exported = doorward(place, &["audit", "export", "--to", "copy.jsonl"]);
    assert!(exported.status.success(), "{}", said(&exported));
    gateway.kill();
    verify_elsewhere(place);
    assert!(TcpStream::connect(("127.0.0.1", operations)).is_err(), "nothing runs any more");
}

/// Ends with its program.
struct Followed(Child, Receiver<serde_json::Value>);

impl Followed {
    fn start(place: &Path, deed: &str) -> Self {
        let follow = ["audit", "--follow", "--json", "--deed", deed, "--data", "data"];
        let mut command = Command::new(PROGRAM);
        let mut program = command.args(follow).current_dir(place).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let said = BufReader::new(program.stdout.take().unwrap());
        std::thread::spawn(move || {
            let lines = said.lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str(&line).unwrap()).try_for_each(|line| sender.send(line))
        });
        Self(program, lines)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_follows_the_audit_sees_what_is_written_from_then_on_and_nothing_but_what_they_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    configure(place);
    let _gateway = Gateway::start(place);
    let invite = || assert!(doorward(place, &["invite", "--no-qr"]).status.success());
    invite();
    let (invites, starts) = (Followed::start(place, "invite"), Followed::start(place, "gateway"));
    // It may have begun to look only after some of them.
    let begun = Instant::now();
    let first = loop {
        invite();
        match invites.1.recv_timeout(Duration::from_secs(2)) {
            Ok(line) => break line,
            Err(_) => assert!(begun.elapsed() < LIMIT),
        }
    };
    let id = |line: &serde_json::Value| line["id"].as_u64().unwrap();
    assert!(id(&first) > 2 && first["hash"].is_string(), "{first}");
    invite();
    let newest = doorward(place, &["audit", "--deed", "invite", "--json", "--limit", "1"]);
    let newest = id(&serde_json::from_slice::<Vec<serde_json::Value>>(&newest.stdout).unwrap()[0]);
    let mut last = id(&first);
    while last < newest {
        let next = invites.1.recv_timeout(LIMIT).unwrap();
        assert!(id(&next) > last && next["deed"] == "invite-created", "{next}");
        last = id(&next);
    }
    assert!(starts.1.try_recv().is_err(), "the gateway started before");
}

fn count(place: &Path) -> usize {
    let listed = doorward(place, &["audit", "--json", "--limit", "10000"]);
    serde_json::from_slice::<Vec<serde_json::Value>>(&listed.stdout).map_or(0, |lines| lines.len())
}

/// With this program, and with the one that the manual shows.
fn verify_elsewhere(place: &Path) {
    let mut copy = String::new();
    fs::File::open(place.join("copy.jsonl")).unwrap().read_to_string(&mut copy).unwrap();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit-and-alerts.md");
    let manual = fs::read_to_string(manual).unwrap();
    let script = manual.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let lines: Vec<&str> = copy.lines().collect();
    let middle = lines.len() / 2;
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().join("\n");
    let cases = [
        ("as it is", copy.clone(), true),
        ("one word changed", copy.replacen("invite-created", "invite-revoked", 1), false),
        ("a line left out", without(middle), false),
        ("the first line left out", without(1), false),
        ("the last line left out", without(lines.len() - 2), false),
        ("cut off", lines[..middle].join("\n"), false),
    ];
    for (what, text, is_sound) in cases {
        let path = place.join("tested.jsonl");
        fs::write(&path, text).unwrap();
        let ours = doorward(place, &["audit", "verify", "--file", "tested.jsonl"]);
        assert_eq!(ours.status.success(), is_sound, "{what}: {}", said(&ours));
        let python = Command::new("/usr/bin/python3").args(["-c", script]).arg(&path).output().unwrap();
        assert_eq!(python.status.success(), is_sound, "{what}, by Python: {}", said(&python));
    }
}
