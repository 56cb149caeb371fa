//! `systemctl reload`: SIGHUP to the running program, which tells systemd how far it is (sd_notify(3)).

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const PROGRAM: &str = env!("CARGO_BIN_EXE_doorward");

struct Gateway(Child);

impl Gateway {
    fn start(directory: &Path, log: fs::File) -> Self {
        let program = Command::new(PROGRAM)
            .args(["serve", "--config", "gateway.toml", "--data", "data"])
            .current_dir(directory)
            .env("NOTIFY_SOCKET", directory.join("notify"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(program.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_hang_up_reloads_and_tells_systemd_and_a_mistake_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let systemd = UnixDatagram::bind(place.join("notify")).unwrap();
    systemd.set_read_timeout(Some(LIMIT)).unwrap();
    let hear = || {
        let mut heard = [0; 512];
        let length = systemd.recv(&mut heard).expect("the program tells systemd in time");
        String::from_utf8_lossy(&heard[..length]).into_owned()
    };
    let hear_reload = || {
        let heard = hear();
        let mut lines = heard.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"));
        let since = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(since.is_some_and(|since| since.parse::<u64>().is_ok_and(|since| since > 0)), "{heard}");
        assert_eq!(hear().trim_end(), "READY=1");
    };
    let (own, operations) = (free_port(), free_port());
    let listen =
        format!("listen = {{ https = [\"127.0.0.1:{own}\"], quic = [], operations = \"127.0.0.1:{operations}\" }}\n");
    let write = |more: &str| fs::write(place.join("gateway.toml"), format!("{listen}{more}")).unwrap();
    write("domain = \"one.test\"\n");
    let mut gateway = Gateway::start(place, fs::File::create(place.join("log")).unwrap());
    assert_eq!(hear().trim_end(), "READY=1");

    write("domain = \"two.test\"\nports.tcp = \"5-1\"\n");
    gateway.signal(Signal::HUP);
    hear_reload();
    let log = || fs::read_to_string(place.join("log")).unwrap();
    let told = "stay as they were: gateway.toml:3: ports.tcp: \"5-1\" is not a range";
    let started = Instant::now();
    while !log().contains(told) {
        assert!(started.elapsed() < LIMIT, "{}", log());
        std::thread::sleep(Duration::from_millis(10));
    }

    write("domain = \"three.test\"\ndrain-seconds = 0\n");
    gateway.signal(Signal::HUP);
    hear_reload();
    let status = Command::new(PROGRAM).args(["status", "--json", "--data", "data"]).current_dir(place).output();
    let status = String::from_utf8(status.unwrap().stdout).unwrap();
    assert!(status.contains("three.test"), "{status}\n{}", log());

    gateway.signal(Signal::TERM);
    assert_eq!(hear().trim_end(), "STOPPING=1");
    assert!(gateway.0.wait().unwrap().success(), "{}", log());
}
