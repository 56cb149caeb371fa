//! A certificate authority and name servers of others' making, as child processes on loopback: pebble with its
//! challtestsrv, and BIND.

use crate::{LOOPBACK, until};
use doorward_control::{CertificateReport, Control};
use doorward_core::Secret;
use doorward_core::certificates::{AuthorityTerms, Tempo};
use doorward_core::names::HostName;
use doorward_gateway::{AuthoritySettings, IssuingSettings, TsigHash, UpdateSettings, Way};
use jiff::SignedDuration;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A name server that says 127.0.0.1 about every name, and what it is told about others.
pub struct Names {
    pub dns: SocketAddr,
    pub management: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

/// An ACME server. Started anew it has forgotten everything, its own root included.
pub struct Pebble {
    address: SocketAddr,
    /// While it does not run: whoever connects is refused, and nobody else gets its place.
    place: Option<Socket>,
    folder: TempDir,
    child: Option<Child>,
}

/// Where pebble looks for proofs, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    pub http: u16,
    pub https: u16,
    pub dns: SocketAddr,
    /// Of a hundred nonces, this many are refused.
    pub bad_nonces: u8,
    /// How many seconds its certificates are good for.
    pub life: u32,
}

impl Names {
    pub async fn start() -> Self {
        let (folder, dns, management) = (tempfile::tempdir().unwrap(), free(), free());
        let child = spawn(
            folder.path(),
            Command::new("pebble-challtestsrv")
                .args([
                    "-defaultIPv4",
                    "127.0.0.1",
                    "-defaultIPv6",
                    "",
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                ])
                .args(["-dns01", &dns.to_string(), "-management", &management.to_string()]),
        );
        answering("challtestsrv", management).await;
        Self { dns, management, _child: child, _folder: folder }
    }

    /// Has it say something else about a name; `None` for the usual.
    pub async fn lead(&self, name: &str, ip: Option<&str>) {
        let (path, body) = match ip {
            Some(ip) => ("/add-a", serde_json::json!({ "host": format!("{name}."), "addresses": [ip] })),
            None => ("/clear-a", serde_json::json!({ "host": format!("{name}.") })),
        };
        let request = crate::visitor::request("localhost", path).method("POST");
        let request = request.body(crate::visitor::full(body.to_string())).unwrap();
        assert_eq!(crate::visitor::send(self.management, request).await.status, 200);
    }
}

impl Pebble {
    /// A place for one; it does not run yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("root.pem"), root.self_signed(&root_key).unwrap().pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        std::fs::write(folder.path().join("own.pem"), own.pem()).unwrap();
        std::fs::write(folder.path().join("own.key"), key.serialize_pem()).unwrap();
        let place = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        place.bind(&SocketAddr::from((LOOPBACK, 0)).into()).unwrap();
        let address = place.local_addr().unwrap().as_socket().expect("an address of IPv4");
        Self { address, place: Some(place), folder, child: None }
    }

    pub async fn start(&mut self, manners: Manners) {
        let folder = self.folder.path();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": self.address.to_string(),
            "managementListenAddress": free().to_string(),
            "certificate": path("own.pem"),
            "privateKey": path("own.key"),
            "httpPort": manners.http,
            "tlsPort": manners.https,
            "certificateValidityPeriod": manners.life,
        }});
        std::fs::write(folder.join("pebble.json"), settings.to_string()).unwrap();
        let mut pebble = Command::new("pebble");
        pebble.args(["-strict", "-config", &path("pebble.json"), "-dnsserver", &manners.dns.to_string()]);
        pebble.env("PEBBLE_WFE_NONCEREJECT", manners.bad_nonces.to_string()).env("PEBBLE_AUTHZREUSE", "0");
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        self.place = None;
        self.child = Some(spawn(folder, &mut pebble));
        answering("pebble", self.address).await;
    }

    pub async fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn settings(&self) -> AuthoritySettings {
        let directory = format!("https://{}/dir", self.address);
        let terms = AuthorityTerms { directory, weekly: 50, weekly_same: 50 };
        AuthoritySettings { terms, root: Some(self.folder.path().join("root.pem")), profile: None, binding: None }
    }
}

impl Default for Pebble {
    fn default() -> Self {
        Self::new()
    }
}

/// Orders from these, impatiently.
pub fn issuing(authorities: &[&Pebble], ways: &[Way], dns: SocketAddr) -> IssuingSettings {
    IssuingSettings {
        authorities: authorities.iter().map(|pebble| pebble.settings()).collect(),
        contact: vec!["mailto:owner@gw.test".to_owned()],
        addresses: Vec::new(),
        public: Vec::new(),
        ways: ways.to_vec(),
        dns: None,
        resolvers: vec![dns],
        reserved_names: true,
        tempo: Tempo { first: SignedDuration::from_millis(200), longest: SignedDuration::from_secs(1) },
        look_again: Duration::from_millis(200),
    }
}

/// The key (PKCS#8) and the chain (PEM) held for exactly these names.
pub fn held(control: &Control, names: &str) -> Option<(Secret<Vec<u8>>, String)> {
    let shelf = control.certificates();
    let shelf = shelf.borrow();
    let found = shelf.iter().find(|certificate| certificate.held.names.to_string() == names)?;
    Some((found.key.clone(), found.chain.clone()))
}

pub async fn until_held(control: &Control, names: &str) {
    let report = || format!("{:#?}", control.certificate_reports().newest());
    let waiting = async {
        while held(control, names).is_none() {
            control.certificates().changed().await.unwrap()
        }
    };
    tokio::time::timeout(crate::LIMIT * 3, waiting)
        .await
        .unwrap_or_else(|_| panic!("{names} is missing: {}", report()));
}

pub async fn until_reported(control: &Control, what: &str, is_it: impl Fn(&CertificateReport) -> bool) {
    let mut reports = control.certificate_reports().follow();
    let waited = tokio::time::timeout(crate::LIMIT, reports.wait_for(|report| is_it(report))).await;
    assert!(waited.is_ok(), "{what}: {:#?}", control.certificate_reports().newest());
}

/// BIND as the primary server of `gw.test`, in which every name leads to 127.0.0.1, and as everybody's resolver.
pub struct Bind {
    pub dns: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

const TSIG_KEY: &[u8; 32] = b"a key that is only for this test";

impl Bind {
    /// `further`: lines of the zone. `forward`: a zone that somebody else answers for.
    pub async fn start(further: &str, forward: Option<(&str, SocketAddr)>) -> Self {
        let (folder, dns) = (tempfile::tempdir().unwrap(), free());
        let zone = format!(
            "$TTL 60\n@ SOA ns.gw.test. owner.gw.test. 1 3600 600 86400 1\n@ NS ns.gw.test.\nns A 127.0.0.1\n\
             @ A 127.0.0.1\n* A 127.0.0.1\n{further}\n"
        );
        std::fs::write(folder.path().join("zone"), zone).unwrap();
        let forward = forward.map(|(zone, to)| {
            let (ip, port) = (to.ip(), to.port());
            format!("zone \"{zone}\" {{ type forward; forward only; forwarders {{ {ip} port {port}; }}; }};")
        });
        let settings = format!(
            "options {{ directory \"{folder}\"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; recursion yes; allow-recursion {{ any; }}; dnssec-validation no; \
             session-keyfile none; lock-file none; }};\ncontrols {{ }};\n\
             key \"doorward\" {{ algorithm hmac-sha256; secret \"{key}\"; }};\n\
             zone \"gw.test\" {{ type primary; file \"zone\"; update-policy {{ grant doorward zonesub TXT; }}; }};\n{forward}\n",
            folder = folder.path().display(),
            port = dns.port(),
            key = data_encoding::BASE64.encode(TSIG_KEY),
            forward = forward.unwrap_or_default(),
        );
        std::fs::write(folder.path().join("named.conf"), settings).unwrap();
        let path = folder.path().join("named.conf");
        let child = spawn(folder.path(), Command::new("named").args(["-g", "-c", path.to_str().unwrap()]));
        answering("named", dns).await;
        Self { dns, _child: child, _folder: folder }
    }

    pub fn updates(&self, key: &[u8]) -> UpdateSettings {
        UpdateSettings {
            server: self.dns,
            zone: None,
            key_name: HostName::parse("doorward").unwrap(),
            algorithm: TsigHash::Sha256,
            key: Secret::new(key.to_vec()),
        }
    }

    pub fn key() -> &'static [u8] {
        TSIG_KEY
    }
}

/// Its output goes into the file `log` of the folder. It ends with its owner.
fn spawn(folder: &Path, command: &mut Command) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    let name = command.as_std().get_program().to_owned();
    command.spawn().unwrap_or_else(|error| panic!("{} cannot be started: {error}", name.display()))
}

/// A port that is free for TCP and UDP.
pub fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

async fn answering(what: &str, address: SocketAddr) {
    until(&format!("{what} listens"), async || TcpStream::connect(address).await.is_ok()).await;
}
