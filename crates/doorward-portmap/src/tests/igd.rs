//! A router that speaks UPnP, in several bad manners.

use super::{EXTERNAL, HERE};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Error 725 to every lease.
    PermanentOnly,
    /// Takes leases and makes mappings without an end.
    ForgetsLeases,
    /// Takes a port from whoever has it.
    Overwrites,
    /// Its search answer leads to another port than its own, of another host.
    LeadsAstray,
    /// Its description is at another place.
    Redirects,
    /// Its description names a control URL of another host.
    ControlsElsewhere,
    /// A description of many megabytes.
    Giant,
    /// A byte now and then.
    Drips,
    /// Entities that grow when they are expanded.
    Laughs,
    /// Headers without end.
    Headers,
    /// Something that is no HTTP.
    Garbage,
}

impl Manner {
    pub(super) const HOSTILE: [Self; 8] = [
        Self::LeadsAstray,
        Self::Redirects,
        Self::ControlsElsewhere,
        Self::Giant,
        Self::Drips,
        Self::Laughs,
        Self::Headers,
        Self::Garbage,
    ];
}

#[derive(Default)]
struct Memory {
    /// By protocol, port and source: where to, description, lease.
    mappings: BTreeMap<(String, u16, String), (String, String, u32)>,
    leases_asked: Vec<u32>,
    was_unwritten: bool,
    strangers_asked: usize,
}

#[derive(Clone)]
struct Here {
    manner: Manner,
    http: u16,
    stranger: u16,
    ledger: PathBuf,
    memory: Arc<Mutex<Memory>>,
}

pub(super) struct Igd {
    here: Here,
    search: u16,
    _tasks: JoinSet<()>,
}

impl Igd {
    pub(super) async fn start(manner: Manner, ledger: &Path) -> Self {
        let search = UdpSocket::bind((HERE, 0)).await.unwrap();
        let http = TcpListener::bind((HERE, 0)).await.unwrap();
        // Another host.
        let stranger = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let here = Here {
            manner,
            http: port(&http),
            stranger: port(&stranger),
            ledger: ledger.to_owned(),
            memory: Arc::default(),
        };
        let search_port = search.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_searches(search, here.clone()));
        tasks.spawn(serve(http, here.clone()));
        tasks.spawn(count(stranger, here.clone()));
        Self { here, search: search_port, _tasks: tasks }
    }

    pub(super) fn search_port(&self) -> u16 {
        self.search
    }

    pub(super) fn mapped(&self) -> Vec<String> {
        let memory = self.here.memory.lock().unwrap();
        let text = memory
            .mappings
            .iter()
            .map(|((protocol, port, source), (to, ..))| format!("{protocol} {port} {source} → {to}"));
        text.collect()
    }

    pub(super) fn leases_asked(&self) -> Vec<u32> {
        self.here.memory.lock().unwrap().leases_asked.clone()
    }

    /// Whenever a mapping was asked for, its port was in the ledger already.
    pub(super) fn was_written_before(&self) -> bool {
        !self.here.memory.lock().unwrap().was_unwritten
    }

    pub(super) fn strangers_asked(&self) -> usize {
        self.here.memory.lock().unwrap().strangers_asked
    }

    pub(super) fn belongs_to_another(&self, port: u16) {
        let to = ("192.168.77.99:9000".to_owned(), "theirs".to_owned(), 0);
        self.here.memory.lock().unwrap().mappings.insert(("TCP".to_owned(), port, String::new()), to);
    }
}

async fn answer_searches(socket: UdpSocket, here: Here) {
    let mut buffer = [0; 1024];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let target = request.lines().find_map(|line| line.strip_prefix("ST: ")).unwrap_or_default();
        let place = match here.manner {
            Manner::LeadsAstray => format!("127.0.0.2:{}", here.stranger),
            _ => format!("127.0.0.1:{}", here.http),
        };
        let answer = format!("HTTP/1.1 200 OK\r\nST: {target}\r\nLOCATION: http://{place}/desc.xml\r\n\r\n");
        // Whoever searched may be satisfied already.
        let _sent = socket.send_to(answer.as_bytes(), from).await;
    }
}

async fn count(listener: TcpListener, here: Here) {
    while listener.accept().await.is_ok() {
        here.memory.lock().unwrap().strangers_asked += 1;
    }
}

async fn serve(listener: TcpListener, here: Here) {
    let mut tasks = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // Whoever asked may hang up at any moment.
        tasks.spawn(talk(socket, here.clone()));
    }
}

async fn talk(mut socket: TcpStream, here: Here) -> io::Result<()> {
    let request = read_request(&mut socket).await?;
    if request.starts_with("GET") {
        return describe(&mut socket, &here).await;
    }
    let (status, body) = match act(&request, &here) {
        Ok(body) => ("200 OK", body),
        Err(code) => (
            "500 Internal Server Error",
            format!("<s:Fault><detail><UPnPError><errorCode>{code}</errorCode></UPnPError></detail></s:Fault>"),
        ),
    };
    let envelope = format!("<s:Envelope xmlns:s=\"urn:s\" xmlns:u=\"urn:u\"><s:Body>{body}</s:Body></s:Envelope>");
    respond(&mut socket, status, &envelope).await
}

async fn respond(socket: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).await
}

async fn read_request(socket: &mut TcpStream) -> io::Result<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let length = socket.read(&mut buffer).await?;
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let wanted = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length == 0 || body.len() >= wanted.unwrap_or(0) {
            return Ok(text);
        }
    }
}

async fn describe(socket: &mut TcpStream, here: &Here) -> io::Result<()> {
    let control = match here.manner {
        Manner::ControlsElsewhere => format!("http://127.0.0.2:{}/ctl", here.stranger),
        _ => "/ctl".to_owned(),
    };
    let description = format!(
        "<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><UDN>uuid:test</UDN><serviceList><service>\
         <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>{control}</controlURL>\
         </service></serviceList></device></root>"
    );
    match here.manner {
        Manner::Redirects => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{}/\r\n\r\n", here.stranger);
            socket.write_all(head.as_bytes()).await
        }
        Manner::Giant => respond(socket, "200 OK", &format!("{description}{}", " ".repeat(8 << 20))).await,
        Manner::Laughs => {
            let entities = "<!DOCTYPE root [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
            respond(socket, "200 OK", &format!("{entities}{description}")).await
        }
        Manner::Garbage => socket.write_all(&[0xff; 4096]).await,
        Manner::Headers => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                socket.write_all(b"X-More: and more\r\n").await?;
            }
        }
        Manner::Drips => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n").await?;
            let mut drops = tokio::time::interval(std::time::Duration::from_millis(200));
            loop {
                drops.tick().await;
                socket.write_all(b" ").await?;
            }
        }
        _ => respond(socket, "200 OK", &description).await,
    }
}

/// The answer, or an error's code.
fn act(request: &str, here: &Here) -> Result<String, u16> {
    let field = |name: &str| {
        let (_, rest) = request.split_once(&format!("<{name}>")).unwrap_or_default();
        rest.split_once('<').map(|(value, _)| value.to_owned()).unwrap_or_default()
    };
    let key = (field("NewProtocol"), field("NewExternalPort").parse().unwrap_or(0), field("NewRemoteHost"));
    let mut memory = here.memory.lock().unwrap();
    let action = request.lines().find_map(|line| line.split_once('#').map(|(_, action)| action.trim_end_matches('"')));
    match action.unwrap_or_default() {
        "GetExternalIPAddress" => Ok(format!(
            "<u:GetExternalIPAddressResponse><NewExternalIPAddress>{EXTERNAL}</NewExternalIPAddress>\
             </u:GetExternalIPAddressResponse>"
        )),
        "GetSpecificPortMappingEntry" => {
            let (to, description, lease) = memory.mappings.get(&key).ok_or(714_u16)?;
            let (client, port) = to.split_once(':').unwrap();
            Ok(format!(
                "<u:GetSpecificPortMappingEntryResponse><NewInternalPort>{port}</NewInternalPort><NewInternalClient>\
                 {client}</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>{description}\
                 </NewPortMappingDescription><NewLeaseDuration>{lease}</NewLeaseDuration>\
                 </u:GetSpecificPortMappingEntryResponse>"
            ))
        }
        "AddPortMapping" => {
            let lease = field("NewLeaseDuration").parse().unwrap();
            memory.leases_asked.push(lease);
            let written = fs::read_to_string(&here.ledger).unwrap_or_default();
            let is_marked = lease != 0 || written.contains("\"permanent\": true");
            memory.was_unwritten |= !written.contains(&key.1.to_string()) || !is_marked;
            if here.manner == Manner::PermanentOnly && lease != 0 {
                return Err(725);
            }
            let lease = if here.manner == Manner::ForgetsLeases { 0 } else { lease };
            let to = format!("{}:{}", field("NewInternalClient"), field("NewInternalPort"));
            memory.mappings.insert(key, (to, field("NewPortMappingDescription"), lease));
            Ok("<u:AddPortMappingResponse/>".to_owned())
        }
        "DeletePortMapping" => {
            memory.mappings.remove(&key).ok_or(714_u16)?;
            Ok("<u:DeletePortMappingResponse/>".to_owned())
        }
        _ => Err(401),
    }
}
