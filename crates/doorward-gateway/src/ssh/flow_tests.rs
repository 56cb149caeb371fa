//! What docs/decisions/0041-ssh.md promises of channels, with the clients of others.

use super::pipe::{ChannelPipe, Channels};
use super::queue::Queues;
use super::wire::{Shared, Wire};
use crate::listen::socket::VisitorSocket;
use crate::tasks::Tasks;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, Config, Handle, Handler, Session};
use russh::{ChannelId, MethodKind, MethodSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// Lets everybody in and forwards everything.
struct Open {
    shared: Arc<Shared>,
    channels: Channels,
    forwards: mpsc::UnboundedSender<(String, u32, Handle)>,
}

impl Handler for Open {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, session: &mut Session) -> Result<bool, russh::Error> {
        self.forwards.send((host.to_owned(), *port, session.handle())).unwrap();
        Ok(true)
    }

    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.queues.open(id);
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.put(id, data);
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.finish(id);
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.queues.close(id);
        Ok(())
    }

    fn adjust_window(&mut self, id: ChannelId, _: u32) -> u32 {
        self.shared.refilled(id)
    }
}

struct Connection {
    handle: Handle,
    channels: Channels,
    forwards: Vec<(String, u32)>,
    client: Child,
}

impl Connection {
    async fn open(&self, forward: usize) -> ChannelPipe {
        let (host, port) = self.forwards[forward].clone();
        let opening = self.handle.channel_open_forwarded_tcpip(host, port, "192.0.2.1", 1);
        self.channels.take(timeout(LIMIT, opening).await.expect("an answer in time").unwrap(), None)
    }
}

/// A service that sends without end, and one that says back what it hears.
async fn services() -> (SocketAddr, SocketAddr) {
    let flood = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addresses = (flood.local_addr().unwrap(), echo.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = flood.accept().await {
            tokio::spawn(async move {
                let chunk: Vec<u8> = (0..65536_u32).map(|n| n as u8).collect();
                while socket.write_all(&chunk).await.is_ok() {}
            });
        }
    });
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addresses
}

async fn connect(command: impl FnOnce(u16, SocketAddr, SocketAddr) -> Command) -> Connection {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (flood, echo) = services().await;
    let mut command = command(listener.local_addr().unwrap().port(), flood, echo);
    let client = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let (socket, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    let (wire, shared) = Wire::new(VisitorSocket::new(socket));
    let channels =
        Channels { queues: Queues::new(shared.clone()), tasks: Tasks::default(), closed_here: Arc::default() };
    let (sender, mut news) = mpsc::unbounded_channel();
    let handler = Open { shared, channels: channels.clone(), forwards: sender };
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let config = Config {
        methods: MethodSet::from(&[MethodKind::None][..]),
        keys: vec![key],
        window_size: super::window::WIDE,
        nodelay: true,
        keepalive_interval: Some(Duration::from_secs(1)),
        keepalive_max: 3,
        inactivity_timeout: None,
        ..Config::default()
    };
    let session = timeout(LIMIT, russh::server::run_stream(Arc::new(config), wire, handler)).await.unwrap().unwrap();
    let handle = session.handle();
    tokio::spawn(session);
    let mut forwards = Vec::new();
    while forwards.len() < 3 {
        let (host, port, _) = timeout(LIMIT, news.recv()).await.expect("three forwards").unwrap();
        forwards.push((host, port));
    }
    forwards.sort_by_key(|(_, port)| *port);
    Connection { handle, channels, forwards, client }
}

fn openssh(port: u16, flood: SocketAddr, echo: SocketAddr) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-N", "-T", "-p", &port.to_string()]);
    command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    // It gives the connection up if its keep-alives are not answered.
    command.args(["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"]);
    command.args(["-R", &format!("1001:{flood}"), "-R", &format!("1002:{echo}"), "-R", &format!("1003:{flood}")]);
    command.arg("somebody@127.0.0.1");
    command
}

fn dropbear(port: u16, flood: SocketAddr, echo: SocketAddr) -> Command {
    let mut command = Command::new("dbclient");
    command.args(["-y", "-y", "-N", "-T", "-K", "1", "-p", &port.to_string()]);
    command.args(["-R", &format!("1001:{flood}"), "-R", &format!("1002:{echo}"), "-R", &format!("1003:{flood}")]);
    command.arg("somebody@127.0.0.1");
    command
}

async fn says_back(pipe: &mut ChannelPipe, text: &[u8]) -> Duration {
    let began = Instant::now();
    pipe.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    timeout(LIMIT, pipe.read_exact(&mut back)).await.expect("an echo in time").unwrap();
    assert_eq!(back, text);
    began.elapsed()
}

async fn read_for(pipe: &mut ChannelPipe, time: Duration) -> usize {
    let (mut buffer, mut got, until) = (vec![0; 65536], 0, tokio::time::Instant::now() + time);
    while let Ok(read) = tokio::time::timeout_at(until, pipe.read(&mut buffer)).await {
        let read = read.unwrap();
        assert!(read > 0, "the flood has no end");
        for (at, byte) in buffer[..read].iter().enumerate().step_by(4099) {
            assert_eq!(*byte, ((got + at) % 65536) as u8, "at byte {}", got + at);
        }
        got += read;
    }
    got
}

async fn one_stalls(connection: Connection) {
    let mut stalled = connection.open(0).await;
    let mut echo = connection.open(1).await;
    let mut reading = connection.open(2).await;
    let mut worst = Duration::ZERO;
    for _ in 0..100 {
        worst = worst.max(says_back(&mut echo, b"hello").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let large: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let (mut from, mut to) = tokio::io::split(&mut echo);
    let mut back = vec![0; large.len()];
    let both = async { tokio::join!(to.write_all(&large), from.read_exact(&mut back)) };
    let (wrote, read) = timeout(LIMIT, both).await.expect("a large echo in time");
    wrote.and(read.map(|_| ())).unwrap();
    assert_eq!(back, large);
    let beside = read_for(&mut reading, Duration::from_secs(2)).await;
    let began = Instant::now();
    let mut new = connection.open(1).await;
    says_back(&mut new, b"new").await;
    let opening = began.elapsed();
    println!(
        "echo beside a stalled visitor: worst {worst:?}; a new channel: {opening:?}; bulk beside it: {beside} in 2 s"
    );
    assert!(beside > 4 * 1024 * 1024, "{beside} bytes passed beside a stalled visitor");
    // A second visitor stalls, and the first reads again: nothing was lost.
    drop(reading);
    let second = connection.open(2).await;
    let late = read_for(&mut stalled, Duration::from_secs(2)).await;
    println!("and whoever reads again: {late} in 2 s");
    assert!(late > 4 * 1024 * 1024, "{late} bytes came to who read again");
    says_back(&mut echo, b"still there").await;
    drop((second, stalled, new));
    let mut connection = connection;
    assert!(connection.client.try_wait().unwrap().is_none(), "the client is still there");
    says_back(&mut echo, b"to the end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_who_stops_reading_stalls_nobody_with_openssh() {
    one_stalls(connect(openssh).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_who_stops_reading_stalls_nobody_with_dropbear() {
    one_stalls(connect(dropbear).await).await;
}
