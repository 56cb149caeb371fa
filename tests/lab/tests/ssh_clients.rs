//! Programs of others, used as their users use them: links that stay, and files through `ssh -J`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{LinkState, NewHolder, Protocol};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_core::service::Standing;
use doorward_lab::ssh::{Client, Key, gateway, run, start};
use doorward_lab::{LIMIT, Lab, LabDevice, carries_much, says_back, service, target, until, visitor, web};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// How many services a device offers now.
fn offered(lab: &Lab, device: &str) -> usize {
    let snapshot = lab.control().snapshot();
    let Some(device) = snapshot.device_by_name(&Label::parse(device).unwrap()) else { return 0 };
    let is_online = matches!(lab.control().presence().device(device.id).link, LinkState::Online { .. });
    let services = snapshot.services_of(device.id).filter(|r| r.service.standing == Standing::Offered).count();
    if is_online { services } else { 0 }
}

async fn until_offered(lab: &Lab, device: &str, services: usize) {
    until("the device offers what it should", async || offered(lab, device) == services).await;
}

async fn page(lab: &Lab, host: &str) -> String {
    visitor::get(lab.http(), host, "/").await.text()
}

/// `ssh` with a device's key, these words and the gateway.
fn openssh(lab: &Lab, key: &Key, words: &[&str]) -> Command {
    let mut command = lab.openssh(&key.path());
    command.args(words).arg(gateway());
    command
}

/// Ports are opened by devices only when somebody has allowed them.
async fn allow(lab: &Lab, key: &Key, forward: &str, name: &str) {
    let refused = run(openssh(lab, key, &["-N", "-o", "ExitOnForwardFailure=yes", "-R", forward])).await;
    assert!(!refused.is_success, "{refused:?}");
    lab.set_access("zumi01", name, PolicyDocument::public()).await;
}

const ASYNCSSH_DEVICE: &str = r#"
import asyncio, sys, asyncssh
port, key, host, remote, echo_host, echo_port = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], int(sys.argv[6])
async def main():
    async with asyncssh.connect("127.0.0.1", port, username="zumi01", client_keys=[key], known_hosts=None, config=None) as link:
        page = await link.forward_remote_port("cam", 80, host, echo_port)
        listener = await link.forward_remote_port("", remote, echo_host, echo_port)
        print("offered", listener.get_port(), flush=True)
        await listener.wait_closed()
asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn asyncssh_forwards() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    allow(&lab, &key, &format!("0:{}", echo.address), "tcp").await;
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-W", "ignore", "-c", ASYNCSSH_DEVICE, &lab.ssh_port()]).arg(key.path()).args(["127.0.0.1", "0"]);
    command.args([echo.address.ip().to_string(), echo.address.port().to_string()]);
    let client = start(command);
    let at = lab.port("zumi01", "tcp", Protocol::Tcp);
    client.until_said(&format!("offered {}", at.port())).await;
    until_offered(&lab, "zumi01", 2).await;
    let mut visitor = TcpStream::connect(at).await.unwrap();
    says_back(&mut visitor, b"hello").await;
    carries_much(&mut visitor).await;
}

const ASYNCSSH_PERSON: &str = r#"
import asyncio, sys, asyncssh
port, key = int(sys.argv[1]), sys.argv[2]
async def main():
    async with asyncssh.connect("127.0.0.1", port, username="anna", client_keys=[key], known_hosts=None, config=None) as way:
        reader, writer = await way.open_connection("pi", 22)
        writer.write(b"x" * 1000000)
        writer.write_eof()
        back = await reader.read()
        print("came back", len(back), flush=True)
        try:
            await way.open_connection("pi", 23)
        except asyncssh.ChannelOpenError as error:
            print("refused", error.code, flush=True)
asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn asyncssh_gets_to_a_device_and_is_refused_what_is_not_there() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _device = device_with_shell(&lab, echo.address).await;
    let anna = lab.ssh_person("anna").await;
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-W", "ignore", "-c", ASYNCSSH_PERSON, &lab.ssh_port()]).arg(anna.path());
    let ended = run(command).await;
    assert!(ended.is_success && ended.said == "came back 1000000\nrefused 1\n", "{ended:?}");
}

/// The device `pi`, whose port 22 is open to Anna alone.
async fn device_with_shell(lab: &Lab, at: SocketAddr) -> LabDevice {
    let mut shell = service("ssh", &format!("tcp://{at}"));
    let people = vec!["anna".to_owned()];
    shell.offer.virtual_port = Some(22);
    shell.offer.access = PolicyDocument { who: WhoDocument::People, people, ..PolicyDocument::default() };
    lab.device("pi", vec![shell]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_people_copy_from_tutorials_do_no_harm() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    let forward = format!("{port}:{}", echo.address);
    allow(&lab, &key, &forward, &format!("port-{port}")).await;
    for words in [
        "-NT -o ServerAliveInterval=60 -o ServerAliveCountMax=10 -o ExitOnForwardFailure=yes",
        "-nNT4 -o TCPKeepAlive=yes -o ServerAliveInterval=1 -o Compression=yes -g",
        "-qTNCn -o ConnectTimeout=10 -o BatchMode=yes -o IPQoS=throughput -o PasswordAuthentication=no -A -X",
        "-NT -c aes256-ctr -m hmac-sha2-256-etm@openssh.com -o PreferredAuthentications=publickey",
        "-NT -o ControlMaster=no -o GSSAPIAuthentication=no -o ForwardX11=no -o GatewayPorts=yes -o LogLevel=ERROR",
    ] {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend(["-R", &forward]);
        let client = start(openssh(&lab, &key, &words));
        let started = std::time::Instant::now();
        while offered(&lab, "zumi01") != 1 {
            assert!(started.elapsed() < LIMIT, "{words:?}: {}", client.said());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let at = lab.port("zumi01", &format!("port-{port}"), Protocol::Tcp);
        says_back(&mut TcpStream::connect(at).await.unwrap(), b"hello").await;
        client.end().await;
        until_offered(&lab, "zumi01", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_openssh_6_5_speaks_is_enough() {
    let lab = Lab::start().await;
    let (shown, key) = (web::web(|_| web::ok("the robot")).await, lab.ssh_device("zumi01").await);
    let spoken = "-NT -o KexAlgorithms=curve25519-sha256@libssh.org -o HostKeyAlgorithms=ssh-ed25519 \
                  -o PubkeyAcceptedAlgorithms=ssh-ed25519 -c aes128-ctr -m hmac-sha2-256-etm@openssh.com";
    let mut words: Vec<&str> = spoken.split_whitespace().collect();
    let forward = format!("80:{}", shown.address);
    words.extend(["-R", &forward]);
    let _client = start(openssh(&lab, &key, &words));
    until_offered(&lab, "zumi01", 1).await;
    lab.set_access("zumi01", "web", PolicyDocument::public()).await;
    assert_eq!(page(&lab, "zumi01.gw.test").await, "the robot");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_key_gets_in_where_the_client_signs_by_sha_2_and_not_by_sha_1() {
    let lab = Lab::start().await;
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("rsa");
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&key);
    assert!(keygen.status().unwrap().success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap().parse().unwrap();
    let anna = NewHolder::Person(Label::parse("anna").unwrap());
    lab.control().add_ssh_keys(anna, vec![public], jiff::Timestamp::now()).await.unwrap();
    for (algorithm, gets_in) in [("rsa-sha2-512", true), ("rsa-sha2-256", true), ("ssh-rsa", false)] {
        let mut command = lab.openssh(&key);
        command.args(["-o", &format!("PubkeyAcceptedAlgorithms={algorithm}"), &gateway()]);
        let ended = run(command).await;
        assert_eq!(ended.said.contains("You are anna."), gets_in, "{algorithm}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_to_the_background_has_been_told_first_whether_it_may() {
    let lab = Lab::start().await;
    let (page_of, key) = (web::web(|_| web::ok("the camera")).await, lab.ssh_device("zumi01").await);
    let control = TempDir::new().unwrap();
    let socket = control.path().join("socket").display().to_string();
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    let (web_of, raw) = (format!("cam:80:{}", page_of.address), format!("{port}:{}", page_of.address));
    // What runs in the background must not keep our pipes: it has none of them.
    let background = async |forward: &str| {
        let words = ["-f", "-N", "-T", "-M", "-S", &socket, "-o", "ExitOnForwardFailure=yes", "-R", forward];
        let mut command = openssh(&lab, &key, &words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        timeout(LIMIT, command.status()).await.expect("it goes to the background or ends").unwrap()
    };
    assert!(!background(&raw).await.success(), "nobody has allowed that port");
    assert!(background(&web_of).await.success());
    assert_eq!(offered(&lab, "zumi01"), 1, "whoever is told so has it");
    lab.set_access("zumi01", "cam", PolicyDocument::public()).await;
    assert_eq!(page(&lab, "cam.gw.test").await, "the camera");
    let mut leave = openssh(&lab, &key, &["-S", &socket, "-O", "exit"]);
    assert!(leave.stderr(Stdio::null()).status().await.unwrap().success());
    until_offered(&lab, "zumi01", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_offers_pages_fixed_ports_and_ports_of_the_gateways_choice_at_once() {
    let lab = Lab::start().await;
    let (one, two) = (web::web(|_| web::ok("one")).await, web::web(|_| web::ok("two")).await);
    let (echo, other, key) = (target::echo().await, target::says("other\n").await, lab.ssh_device("zumi01").await);
    let port = lab.control().site().tcp_ports.clone().last().unwrap();
    let fixed = format!("{port}:{}", echo.address);
    allow(&lab, &key, &fixed, &format!("port-{port}")).await;
    let forwards = [
        format!("printer1:80:{}", one.address),
        format!("80:{}", two.address),
        fixed,
        format!("0:{}", echo.address),
        format!("0:{}", other.address),
        format!("shell:22:{}", echo.address),
    ];
    let words: Vec<&str> = forwards.iter().flat_map(|forward| ["-R", forward]).chain(["-N", "-T"]).collect();
    // The ports that the gateway chooses are allowed once they have names.
    run(openssh(&lab, &key, &[&words[..], &["-o", "ExitOnForwardFailure=yes"]].concat())).await;
    lab.set_access("zumi01", "tcp", PolicyDocument::public()).await;
    run(openssh(&lab, &key, &[&words[..], &["-o", "ExitOnForwardFailure=yes"]].concat())).await;
    lab.set_access("zumi01", "tcp-2", PolicyDocument::public()).await;
    for _ in 0..2 {
        let client = start(openssh(&lab, &key, &words));
        until_offered(&lab, "zumi01", forwards.len()).await;
        for name in ["printer1", "web"] {
            lab.set_access("zumi01", name, PolicyDocument::public()).await;
        }
        assert_eq!(page(&lab, "printer1.gw.test").await, "one");
        assert_eq!(page(&lab, "zumi01.gw.test").await, "two");
        for name in [format!("port-{port}"), "tcp".to_owned()] {
            let at = lab.port("zumi01", &name, Protocol::Tcp);
            says_back(&mut TcpStream::connect(at).await.unwrap(), b"hello").await;
        }
        let at = lab.port("zumi01", "tcp-2", Protocol::Tcp);
        client.until_said(&format!("Allocated port {}", at.port())).await;
        let mut said = [0; 6];
        let mut visitor = TcpStream::connect(at).await.unwrap();
        timeout(LIMIT, visitor.read_exact(&mut said)).await.unwrap().unwrap();
        assert_eq!(&said, b"other\n");
        client.end().await;
        until_offered(&lab, "zumi01", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_shown_where_its_newest_connection_comes_from() {
    let lab = Lab::start().await;
    let (page_of, key) = (web::web(|_| web::ok("the camera")).await, lab.ssh_device("zumi01").await);
    let forward = format!("cam:80:{}", page_of.address);
    let from = |source| start(openssh(&lab, &key, &["-N", "-T", "-b", source, "-R", &forward]));
    let seen_at = async |wanted: &str| {
        let device = lab.control().snapshot().device_by_name(&Label::parse("zumi01").unwrap()).unwrap().id;
        until("it is seen there", async || match lab.control().presence().device(device).link {
            LinkState::Online { source, .. } => source.to_string() == wanted,
            LinkState::Offline { .. } => false,
        })
        .await;
    };
    let _first = from("127.0.0.2");
    seen_at("127.0.0.2").await;
    let second = from("127.0.0.3");
    seen_at("127.0.0.3").await;
    second.end().await;
    seen_at("127.0.0.2").await;
}

/// A device's own sshd, and what its visitor needs to get there: a file for `ssh -F`.
struct Shell {
    _sshd: Client,
    _device: LabDevice,
    folder: TempDir,
}

impl Shell {
    async fn start(lab: &Lab) -> Self {
        let folder = TempDir::new().unwrap();
        let at = target::nobody();
        let (host, anna) = (Key::make(), lab.ssh_person("anna").await);
        for (key, name) in [(&host, "host"), (&anna, "key")] {
            fs::copy(key.path(), folder.path().join(name)).unwrap();
            fs::copy(key.path().with_extension("pub"), folder.path().join(name).with_extension("pub")).unwrap();
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        // It wants this folder if it is started by root, and does not make it.
        let _not_root = fs::create_dir_all("/run/sshd");
        let settings = format!(
            "ListenAddress {at}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             Subsystem sftp internal-sftp\n",
            path("host"),
            path("key.pub"),
        );
        fs::write(path("sshd_config"), settings).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", &path("sshd_config")]);
        let sshd = start(sshd);
        sshd.until_said("Server listening").await;
        let config = format!(
            "Host *\n IdentityFile {}\n IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n \
             LogLevel ERROR\n BatchMode yes\nHost gw\n HostName {}\n Port {}\n",
            path("key"),
            gateway(),
            lab.ssh_port(),
        );
        fs::write(path("config"), config).unwrap();
        Self { _sshd: sshd, _device: device_with_shell(lab, at).await, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `program -F config -J gw …`
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.path("config")).args(["-J", "gw"]).current_dir(self.folder.path());
        command
    }

    /// The same as one word, for programs that start ssh.
    fn ssh(&self) -> String {
        format!("ssh -F {} -J gw", self.path("config").display())
    }
}

/// As on the machine that runs this test: its account, whatever that is called.
fn me() -> String {
    String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

async fn succeeds(command: Command) -> String {
    let words = format!("{command:?}");
    let ended = run(command).await;
    assert!(ended.is_success, "{words}: {}", ended.said);
    ended.said
}

fn some_bytes(at: &Path) -> Vec<u8> {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(at, &bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_and_its_exit_status_come_through_the_gateway() {
    let lab = Lab::start().await;
    let shell = Shell::start(&lab).await;
    let mut hello = shell.command("ssh");
    hello.args([format!("{}@pi", me()), "echo hello; exit 7".to_owned()]);
    let mut client = start(hello);
    client.until_ended().await;
    assert_eq!((client.said().trim(), client.child.wait().await.unwrap().code()), ("hello", Some(7)));
    // As it is written where ssh has no -J.
    let mut older = Command::new("ssh");
    older.arg("-F").arg(shell.path("config")).arg("-o");
    older.arg(format!("ProxyCommand=ssh -F {} -W %h:%p gw", shell.path("config").display()));
    older.args([format!("{}@pi", me()), "echo hello".to_owned()]);
    assert_eq!(succeeds(older).await.trim(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_and_go_by_scp_and_sftp() {
    let lab = Lab::start().await;
    let shell = Shell::start(&lab).await;
    let bytes = some_bytes(&shell.path("sent"));
    let there = |name: &str| format!("{}@pi:{}", me(), shell.path(name).display());
    for (old, name) in [(false, "by-sftp"), (true, "by-scp")] {
        let mut copy = shell.command("scp");
        if old {
            copy.arg("-O");
        }
        copy.args(["sent", &there(name)]);
        succeeds(copy).await;
        assert!(fs::read(shell.path(name)).unwrap() == bytes);
        let mut back = shell.command("scp");
        back.args([&there(name), "back"]);
        succeeds(back).await;
        assert!(fs::read(shell.path("back")).unwrap() == bytes);
        fs::remove_file(shell.path("back")).unwrap();
    }
    fs::write(shell.path("batch"), format!("cd {}\nput sent uploaded\nls uploaded\n", shell.folder.path().display()))
        .unwrap();
    let mut sftp = shell.command("sftp");
    sftp.args(["-b", "batch", &format!("{}@pi", me())]);
    succeeds(sftp).await;
    assert!(fs::read(shell.path("uploaded")).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn rsync_and_git_work_through_the_gateway() {
    let lab = Lab::start().await;
    let shell = Shell::start(&lab).await;
    let bytes = some_bytes(&shell.path("sent"));
    for _ in 0..2 {
        let mut rsync = Command::new("rsync");
        rsync.args(["-a", "-z", "-e", &shell.ssh()]).arg(shell.path("sent"));
        rsync.arg(format!("{}@pi:{}/synced", me(), shell.folder.path().display()));
        succeeds(rsync).await;
    }
    assert!(fs::read(shell.path("synced")).unwrap() == bytes);

    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]);
        git.env("GIT_SSH_COMMAND", shell.ssh()).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", shell.folder.path());
        git.current_dir(shell.folder.path()).args(words);
        git
    };
    let there = format!("{}@pi:{}/bare.git", me(), shell.folder.path().display());
    succeeds(git(&["init", "-q", "--bare", "bare.git"])).await;
    succeeds(git(&["init", "-q", "work"])).await;
    fs::copy(shell.path("sent"), shell.path("work/file")).unwrap();
    succeeds(git(&["-C", "work", "add", "file"])).await;
    succeeds(git(&["-C", "work", "commit", "-q", "-m", "one"])).await;
    succeeds(git(&["-C", "work", "push", "-q", &there, "main"])).await;
    succeeds(git(&["clone", "-q", "-b", "main", &there, "cloned"])).await;
    assert!(fs::read(shell.path("cloned/file")).unwrap() == bytes);
}
