//! `ssh gw` as somebody at a terminal meets it.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::PolicyDocument;
use doorward_lab::ssh::{gateway, run};
use doorward_lab::{LIMIT, Lab, people, service, visitor, web};
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// An ssh that has a terminal at the other end, and what is typed into it.
struct Terminal {
    ssh: Child,
    keys: ChildStdin,
    screen: BufReader<ChildStdout>,
}

impl Terminal {
    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut ssh = command.spawn().unwrap();
        let (keys, screen) = (ssh.stdin.take().unwrap(), BufReader::new(ssh.stdout.take().unwrap()));
        Self { ssh, keys, screen }
    }

    /// All up to the line with this in it.
    async fn until(&mut self, what: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(what) {
            let read = timeout(LIMIT, self.screen.read_line(&mut seen)).await;
            assert!(read.is_ok_and(|read| read.unwrap() > 0), "{what}: {seen}");
        }
        seen
    }

    /// Whether ssh ended well.
    async fn press_control_c(mut self) -> bool {
        self.keys.write_all(&[3]).await.unwrap();
        let mut rest = String::new();
        timeout(LIMIT, self.screen.read_to_string(&mut rest)).await.expect("it ends").unwrap();
        self.ssh.wait().await.unwrap().success()
    }
}

async fn get(at: SocketAddr) -> String {
    visitor::get(at, &format!("localhost:{}", at.port()), "/").await.text()
}

async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_a_person_is_shown_work_as_they_are_and_forwards_stand_while_the_terminal_does() {
    let lab = Lab::start().await.restart_gateway().await;
    let page = web::web(|_| web::ok("the printer")).await;
    let mut services = vec![service("page", &page.url()), service("cam", &page.url())];
    services.iter_mut().for_each(|service| service.offer.access = people(&["anna"]));
    let _pi = lab.device("pi", services).await;
    let anna = lab.ssh_person("anna").await;
    let here = free().await;
    let mut ssh = lab.openssh(&anna.path());
    ssh.args(["-tt", "-L", &format!("{here}:page.pi:80"), &gateway()]);
    let mut terminal = Terminal::of(ssh);
    let shown = terminal.until("Ctrl-C ends it").await;
    println!("{shown}");
    assert!(shown.contains("You are anna.\r\n"), "{shown}");
    assert_eq!(get(here).await, "the printer", "-L without -N");

    let line = shown.lines().find(|line| line.contains("pi/page")).unwrap();
    let (command, then) = line.split_once("ssh ").unwrap().1.split_once("     then ").unwrap();
    let (other, told) = (free().await, then.trim().trim_start_matches("http://localhost:").trim_end_matches('/'));
    // The port may be somebody else's on this machine.
    let command = command.replacen(&format!("-L {told}:"), &format!("-L {}:", other.port()), 1);
    let mut copied = Command::new("ssh");
    copied.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    copied.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(anna.path()).args(command.split_whitespace());
    let _copied = copied.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let open = async || tokio::net::TcpStream::connect(other).await.is_ok();
    doorward_lab::until("the line that was copied listens", open).await;
    assert_eq!(get(other).await, "the printer", "{command}");
    assert!(shown.contains(" -L 8080:") && shown.contains(" -L 8081:"), "{shown}");
    assert!(terminal.press_control_c().await);

    // Without a terminal it is said and done.
    let mut ssh = lab.openssh(&anna.path());
    ssh.arg(gateway());
    let said = run(ssh).await;
    assert!(said.is_success && said.said.contains("pi/page") && !said.said.contains("Ctrl-C"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_of_a_device_shows_addresses_and_visits() {
    let lab = Lab::start().await;
    let (page, key) = (web::web(|_| web::ok("the printer")).await, lab.ssh_device("zumi01").await);
    let mut ssh = lab.openssh(&key.path());
    ssh.args(["-tt", "-R", &format!("printer1:80:{}", page.address), &gateway()]);
    let mut terminal = Terminal::of(ssh);
    let shown = terminal.until("Ctrl-C ends it").await;
    println!("{shown}");
    assert!(shown.contains("https://printer1.gw.test"), "{shown}");
    lab.set_access("zumi01", "printer1", PolicyDocument::public()).await;
    assert_eq!(visitor::get(lab.http(), "printer1.gw.test", "/").await.text(), "the printer");
    let visit = terminal.until("a visit from").await;
    assert!(visit.contains("  printer1: a visit from 127.0.0.1\r\n"), "{visit}");
    assert!(terminal.press_control_c().await);
}
