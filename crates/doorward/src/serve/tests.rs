use super::*;
use crate::testbed::{TestAgent, join_agent, until_online};
use doorward_core::names::HostName;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

/// A gateway whose settings are a file that is followed.
struct Bench {
    directory: TempDir,
    config: PathBuf,
    /// Two public ports, in order, and the one of the gateway itself.
    ports: [u16; 2],
    own: u16,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut ports = [free(), free(), free()].map(|listener| listener.local_addr().unwrap().port());
        ports.sort_unstable();
        let [first, own, last] = ports;
        Self { config: directory.path().join("gateway.toml"), directory, ports: [first, last], own }
    }

    fn write(&self, more: &str) {
        let own = self.own;
        let usual = format!(
            "addresses = [\"127.0.0.1:{own}\"]\ndrain-seconds = 0\n\
             listen = {{ https = [\"127.0.0.1:{own}\"], quic = [\"127.0.0.1:{own}\"], ssh = [], ports = [\"127.0.0.1\"], \
             operations = \"127.0.0.1:0\" }}\n"
        );
        fs::write(&self.config, format!("{usual}{more}")).unwrap();
    }

    fn source(&self) -> Source {
        Source::new(Some(&self.config), self.directory.path().join("gateway"))
    }

    async fn start(&self) -> Running {
        start(self.source().settings().unwrap()).await.unwrap()
    }

    fn range(&self, first: usize, last: usize) -> String {
        format!("ports.tcp = \"{}-{}\"\n", self.ports[first], self.ports[last])
    }

    /// A device with an echo on each of the two ports.
    async fn device(&self, gateway: &Running) -> TestAgent {
        let echo = echo().await;
        let service = |name: &str, port: u16| {
            format!(
                "[[service]]\nname = \"{name}\"\ntarget = \"tcp://{echo}\"\nentrances = [{{ tcp-port = {port} }}]\n\
                 [service.access]\nwho = \"public\"\n"
            )
        };
        let services = service("one", self.ports[0]) + &service("two", self.ports[1]);
        let invite = gateway.invite(InviteRequest::default()).await.unwrap();
        let agent = join_agent(self.directory.path(), &invite, "pi", &services).await;
        until_online(gateway, "pi").await;
        agent.until_offered(2).await;
        agent
    }

    async fn visit(&self, port: usize) -> TcpStream {
        let visiting = async {
            loop {
                let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[port])).await;
                if let Ok(mut socket) = socket
                    && is_echoed(&mut socket).await
                {
                    return socket;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, visiting).await.expect("the port is served in time")
    }
}

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn is_echoed(socket: &mut TcpStream) -> bool {
    let mut heard = [0; 3];
    let echoing = async {
        socket.write_all(b"yes").await?;
        socket.read_exact(&mut heard).await
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(_)))
}

async fn is_cut(socket: &mut TcpStream) -> bool {
    matches!(timeout(Duration::from_secs(1), socket.read(&mut [0; 8])).await, Ok(Ok(0) | Err(_)))
}

fn domain(gateway: &Control) -> Option<HostName> {
    gateway.site().domain.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_the_settings_grant_no_more_is_cut_and_nothing_else() {
    let bench = Bench::new();
    bench.write(&bench.range(0, 1));
    let mut gateway = bench.start().await;
    let _device = bench.device(&gateway).await;
    let (mut stays, mut goes) = (bench.visit(0).await, bench.visit(1).await);

    bench.write(&bench.range(0, 0));
    gateway.read_again(&bench.source()).await.unwrap();
    assert!(is_cut(&mut goes).await, "within a second");
    assert!(is_echoed(&mut stays).await);
    let mut again = bench.visit(0).await;
    assert!(is_echoed(&mut again).await);

    bench.write(&bench.range(0, 1));
    gateway.read_again(&bench.source()).await.unwrap();
    bench.visit(1).await;
    assert!(is_echoed(&mut stays).await, "not disturbed by any of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_taken_over_by_itself() {
    let bench = Bench::new();
    bench.write("domain = \"one.test\"\n");
    let mut gateway = bench.start().await;
    let (control, source) = (gateway.control.clone(), bench.source());
    let watch = source.watch().unwrap();
    let following = async { gateway.follow(&source, watch).await };
    let until = async |wanted: &str| {
        let wanted = HostName::parse(wanted).unwrap();
        let waiting = async {
            while domain(&control).as_ref() != Some(&wanted) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, waiting).await.expect("the file is taken over in time");
    };
    let changing = async {
        bench.write("domain = \"two.test\"\n");
        until("two.test").await;
        bench.write("domain = \"three.test\"\n");
        until("three.test").await;
    };
    tokio::select! {
        () = following => unreachable!("it follows for as long as it is polled"),
        () = changing => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_changes_nothing_and_is_told_with_file_line_and_key() {
    let bench = Bench::new();
    bench.write("domain = \"one.test\"\n");
    let mut gateway = bench.start().await;
    let before = gateway.control.snapshot().generation();
    let file = bench.config.display().to_string();
    for (mistake, expected) in [
        ("domain = \"two.test\"\nports.tcp = \"5-1\"\n", format!("{file}:5: ports.tcp: ")),
        ("domain = \"two.test\"\nproxies = [\n  \"nonsense\",\n]\n", format!("{file}:5: proxies: ")),
        ("domain = \"two.test\"\nprots = 1\n", format!("{file}:5: unknown field `prots`")),
        (
            "domain = \"two.test\"\ncertificate = { chain = \"/none.pem\", key = \"/none.pem\" }\n",
            "/none.pem: ".to_owned(),
        ),
    ] {
        bench.write(mistake);
        let error = format!("{:#}", gateway.read_again(&bench.source()).await.unwrap_err());
        assert!(error.starts_with(&expected), "{error}");
        assert_eq!(domain(&gateway.control), Some(HostName::parse("one.test").unwrap()));
    }
    assert_eq!(gateway.control.snapshot().generation(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_listens_stays_until_it_starts_again_and_the_rest_is_taken_over() {
    let bench = Bench::new();
    bench.write("domain = \"one.test\"\n");
    let mut gateway = bench.start().await;
    let bound = gateway.gateway.bound().https.clone();
    let text = fs::read_to_string(&bench.config).unwrap().replace("quic = [", "quic = [\"127.0.0.1:1\", ");
    fs::write(&bench.config, text.replace("one.test", "two.test")).unwrap();
    let (file, _) = settings::Place::find(Some(&bench.config)).read().unwrap();
    let (kept, keys) = gateway.fixed.keep(file);
    assert_eq!((keys, kept.listen.quic.map(|quic| quic.len())), (vec!["listen.quic"], Some(1)));
    gateway.read_again(&bench.source()).await.unwrap();
    assert_eq!(domain(&gateway.control), Some(HostName::parse("two.test").unwrap()));
    assert_eq!(gateway.gateway.bound().https, bound);
    assert_eq!(gateway.gateway.bound().quic.len(), 1);
}
