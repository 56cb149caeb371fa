//! OpenSSH's own regression scripts, with every connection from ssh to sshd through a TCP service.

use crate::{Chapter, Site, setting};
use anyhow::{Context, Result, ensure};
use doorward_control::Protocol;
use doorward_lab::{LOOPBACK, service};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

/// Those that send bytes between ssh and sshd. Not among them are those that look at the address the other end has,
/// which a tunnel changes, and those that never connect.
const SCRIPTS: [&str; 30] = [
    "connect",
    "connect-uri",
    "proto-version",
    "exit-status",
    "exit-status-signal",
    "envpass",
    "transfer",
    "banner",
    "rekey",
    "dhgex",
    "try-ciphers",
    "stderr-data",
    "stderr-after-eof",
    "broken-pipe",
    "yes-head",
    "login-timeout",
    "keyscan",
    "brokenkeys",
    "keytype",
    "kextype",
    "multipubkey",
    "sftp-uri",
    "scp-uri",
    "dynamic-forward",
    "forwarding",
    "forward-control",
    "multiplex",
    "channel-timeout",
    "connection-timeout",
    "allow-deny-users",
];
/// The longest takes some minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// Between the scripts and sshd. A server for one connection they would start at the other end of a pipe: that one is
/// started behind the tunnel, with the words that are left for it, and the pipe goes through the tunnel.
const IN_PLACE_OF_SSHD: &str = r#"#!/bin/sh
for word; do
	if [ "$word" = -i ]; then
		printf '%s\n' "$@" >"$DOORWARD_WORDS.new" && mv "$DOORWARD_WORDS.new" "$DOORWARD_WORDS"
		exec socat STDIO "TCP:$DOORWARD_EACH"
	fi
done
exec /usr/sbin/sshd "$@" -o "Port=$DOORWARD_PORT"
"#;

pub(crate) async fn run() -> Result<Chapter> {
    let (listening, each) = (free()?, TcpListener::bind((LOOPBACK, 0)).await?);
    // The scripts take the port behind that of sshd for themselves: its service comes last.
    let services =
        vec![service("each", &format!("tcp://{}", each.local_addr()?)), service("ssh", &format!("tcp://{listening}"))];
    let site = Site::with(services).await;
    let folder = site.lab.directory.path().join("regress");
    copy(Path::new(&setting("DOORWARD_OPENSSH_REGRESS")?), &folder).await?;
    let sshd = folder.join("in-place-of-sshd");
    std::fs::write(&sshd, IN_PLACE_OF_SSHD)?;
    run_quietly(Command::new("chmod").arg("755").arg(&sshd)).await?;
    let words = folder.join("words");
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serve_each(each, words.clone())));

    let port = |name| site.lab.port("pi", name, Protocol::Tcp);
    let environment = [
        ("TEST_SSH_PORT", port("ssh").port().to_string()),
        ("DOORWARD_EACH", port("each").to_string()),
        ("DOORWARD_PORT", listening.port().to_string()),
        ("DOORWARD_WORDS", words.display().to_string()),
        ("TEST_SSH_SSHD", sshd.display().to_string()),
        ("OBJ", folder.display().to_string()),
        ("BUILDDIR", folder.display().to_string()),
    ];
    let mut text = format!(
        "The scripts of Debian's openssh-tests ({}) that send bytes between ssh and sshd, through a TCP service.\n\n\
         | script | result | took |\n|---|---|---|\n",
        version().await?
    );
    let mut failures = Vec::new();
    for script in SCRIPTS {
        let begun = Instant::now();
        let result = run_script(&folder, script, &environment).await?;
        let took = begun.elapsed();
        println!("{script}: {} after {took:.0?}", result.as_deref().map_or("ok", |_| "failed"));
        let word = if result.is_none() { "ok" } else { "failed" };
        text.push_str(&format!("| {script} | {word} | {:.0} s |\n", took.as_secs_f32()));
        failures.extend(result.map(|why| format!("OpenSSH's {script}: {why}")));
    }
    Ok(Chapter { title: "OpenSSH through a TCP service", text, failures })
}

/// What went wrong, if anything did.
async fn run_script(folder: &Path, name: &str, environment: &[(&str, String)]) -> Result<Option<String>> {
    let mut command = Command::new("sh");
    command.arg(folder.join("test-exec.sh")).arg(folder).arg(folder.join(format!("{name}.sh"))).current_dir(folder);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    for (name, value) in [
        ("SUDO", ""),
        ("TEST_SHELL", "sh"),
        ("TEST_SSH_SSH", "ssh"),
        ("TEST_SSH_SFTPSERVER", "/usr/lib/openssh/sftp-server"),
        ("TEST_SSH_UNSAFE_PERMISSIONS", "1"),
        ("TEST_SSH_ECC", "yes"),
    ] {
        command.env(name, value);
    }
    // One of them reads its input.
    let zeros = std::fs::File::open("/dev/zero")?;
    let log = folder.join(format!("{name}.output"));
    let output = std::fs::File::create(&log)?;
    command.stdin(zeros).stderr(output.try_clone()?).stdout(output).process_group(0);
    let mut running = command.spawn().context("sh")?;
    let group = format!("-{}", running.id().context("sh has no process")?);
    let Ok(ended) = timeout(LIMIT, running.wait()).await else {
        // What it has started, too.
        run_quietly(Command::new("kill").args(["--", &group])).await?;
        return Ok(Some(format!("not done after {LIMIT:?}: {}", last_of(&log))));
    };
    Ok((!ended?.success()).then(|| last_of(&log)))
}

fn last_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.reverse();
    lines.join(" / ")
}

/// Starts sshd for each connection, as inetd does.
async fn serve_each(listener: TcpListener, words: PathBuf) {
    while let Ok((socket, _)) = listener.accept().await {
        // The agent tries its ports before any script has left a word.
        if !words.exists() {
            continue;
        }
        if let Err(error) = serve_one(socket, &words) {
            eprintln!("sshd for one connection: {error:#}");
        }
    }
}

fn serve_one(socket: TcpStream, words: &Path) -> Result<()> {
    let words = std::fs::read_to_string(words)?;
    let socket = socket.into_std()?;
    socket.set_nonblocking(false)?;
    let (read, write) = (OwnedFd::from(socket.try_clone()?), OwnedFd::from(socket));
    let mut sshd = Command::new("/usr/sbin/sshd");
    sshd.args(words.lines()).stdin(Stdio::from(read)).stdout(Stdio::from(write)).stderr(Stdio::null());
    // tokio waits for children that nobody holds any more.
    drop(sshd.spawn()?);
    Ok(())
}

fn free() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((LOOPBACK, 0))?.local_addr()?)
}

async fn copy(from: &Path, to: &Path) -> Result<()> {
    run_quietly(Command::new("cp").arg("-a").arg(from).arg(to)).await?;
    // sshd will not start without it; Debian's unit makes it.
    if !Path::new("/run/sshd").exists() {
        let _ = std::fs::create_dir("/run/sshd");
    }
    Ok(())
}

async fn run_quietly(command: &mut Command) -> Result<()> {
    let status = command.status().await?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

async fn version() -> Result<String> {
    let output = Command::new("ssh").arg("-V").output().await?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(text.split([' ', ',']).next().unwrap_or_default().to_owned())
}
