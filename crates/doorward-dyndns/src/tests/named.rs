//! BIND with one zone that takes updates.

use data_encoding::BASE64;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

pub(super) const KEY: &[u8] = b"thirty-two bytes for TSIG, no less";

const ZONE: &str = "$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 127.0.0.1
home IN A 192.0.2.9
home IN TXT \"stays\"
";

pub(super) struct Named {
    address: SocketAddr,
    _child: Child,
    folder: TempDir,
}

impl Named {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free();
        let settings = format!(
            "options {{ directory \"{place}\"; pid-file none; session-keyfile none; lock-file none; recursion no; \
             dnssec-validation no; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; }};\n\
             controls {{ }};\nkey \"home\" {{ algorithm hmac-sha256; secret \"{key}\"; }};\n\
             zone \"example.org\" {{ type primary; file \"zone\"; update-policy {{ grant home name home.example.org. A AAAA; }}; }};\n",
            place = folder.path().display(),
            port = address.port(),
            key = BASE64.encode(KEY),
        );
        fs::write(folder.path().join("named.conf"), settings).unwrap();
        fs::write(folder.path().join("zone"), ZONE).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("/usr/sbin/named");
        command.args(["-g", "-c"]).arg(folder.path().join("named.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let child = command.spawn().expect("named: apt-get install bind9");
        let named = Self { address, _child: child, folder };
        // It listens before it has read its zone.
        let answers = async {
            while named.try_ask("home.example.org", RecordType::TXT).await.is_none_or(|records| records.is_empty()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(Duration::from_secs(30), answers).await;
        waited.unwrap_or_else(|_| panic!("{}", fs::read_to_string(named.folder.path().join("log")).unwrap()));
        named
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address in IPv4 and in IPv6; the text beside them is still there.
    pub(super) async fn look_up(&self, name: &str) -> String {
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let records = self.ask(name, kind).await;
            found.push(records.iter().map(RData::to_string).collect::<Vec<_>>().join(","));
        }
        assert_eq!(self.ask(name, RecordType::TXT).await.len(), 1, "another kind of record went");
        found.join(" ")
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Vec<RData> {
        self.try_ask(name, kind).await.expect("it answers")
    }

    async fn try_ask(&self, name: &str, kind: RecordType) -> Option<Vec<RData>> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
        let bytes = message.to_vec().unwrap();
        let mut socket = TcpStream::connect(self.address).await.ok()?;
        socket.write_u16(bytes.len().try_into().unwrap()).await.ok()?;
        socket.write_all(&bytes).await.ok()?;
        let mut answer = vec![0; socket.read_u16().await.ok()?.into()];
        socket.read_exact(&mut answer).await.ok()?;
        Some(Message::from_vec(&answer).unwrap().answers.into_iter().map(|record| record.data).collect())
    }
}

/// Free for TCP and UDP.
fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
