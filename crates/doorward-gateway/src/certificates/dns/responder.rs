//! A name server for one zone, in which nothing is but the TXT records of proofs under way (and SOA and NS, without
//! which other servers would not believe it). To it `_acme-challenge` names are delegated once, by hand; then no
//! program here needs to hold a key to anybody's whole DNS. It answers from one table, hardly more bytes than it was
//! asked, recurses for nobody and takes no updates.

use crate::certificates::settings::ResponderSettings;
use crate::listen::{accept, listen_tcp};
use doorward_core::names::HostName;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{NS, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

/// The proofs under way, by name.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<BTreeMap<HostName, BTreeSet<String>>>);

impl Records {
    pub(super) fn add(&self, name: &HostName, value: &str) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(name.clone()).or_default().insert(value.to_owned());
    }

    pub(super) fn remove(&self, name: &HostName, value: &str) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = records.get_mut(name) {
            values.remove(value);
            if values.is_empty() {
                records.remove(name);
            }
        }
    }

    fn at(&self, name: &HostName) -> Vec<String> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(name).map(|values| values.iter().cloned().collect()).unwrap_or_default()
    }
}

pub(crate) struct Responder {
    zone: HostName,
    server: HostName,
    records: Arc<Records>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

/// Of the zone's own records.
const TTL: u32 = 3600;
/// Short, for a name is looked up before it has its record as well as after.
const PROOF_TTL: u32 = 5;
/// Answers over UDP per second, in all; a proof takes a few dozen.
const MAX_RATE: u32 = 500;
const MAX_TCP: usize = 64;
const TCP_LIMIT: Duration = Duration::from_secs(5);
const MAX_QUERIES: usize = 16;

impl Responder {
    pub(crate) const MAX_UDP: usize = 1232;

    pub(crate) fn open(settings: &ResponderSettings, records: Arc<Records>) -> Result<Self, (SocketAddr, io::Error)> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in &settings.listen {
            let socket = open_udp(*address).map_err(|error| (*address, error))?;
            // Port 0, in tests: the same one for both.
            let address = socket.local_addr().map_err(|error| (*address, error))?;
            tcp.push(listen_tcp(address).map_err(|error| (address, error))?);
            udp.push(socket);
        }
        Ok(Self { zone: settings.zone.clone(), server: settings.server.clone(), records, udp, tcp })
    }

    /// One that listens nowhere, with two proofs under way for this name.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn proving(zone: HostName, server: HostName, name: &HostName) -> Self {
        let records = Arc::<Records>::default();
        records.add(name, "one");
        records.add(name, "two");
        Self { zone, server, records, udp: Vec::new(), tcp: Vec::new() }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    pub(crate) async fn serve(mut self) {
        let mut listeners = JoinSet::new();
        let (udp, tcp) = (std::mem::take(&mut self.udp), std::mem::take(&mut self.tcp));
        let responder = Arc::new(self);
        for socket in udp {
            listeners.spawn(responder.clone().serve_udp(socket));
        }
        let places = Arc::new(Semaphore::new(MAX_TCP));
        for listener in tcp {
            listeners.spawn(responder.clone().serve_tcp(listener, places.clone()));
        }
        listeners.join_all().await;
    }

    async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut buffer = [0; Self::MAX_UDP];
        let mut rate = Rate::default();
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            if !rate.admits(Instant::now()) {
                continue;
            }
            if let Some(answer) = self.answer(&buffer[..length], Self::MAX_UDP) {
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener, places: Arc<Semaphore>) {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = accept(&listener).await;
            while connections.try_join_next().is_some() {}
            // Full: dropping the socket closes it.
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let responder = self.clone();
            connections.spawn(async move {
                if timeout(TCP_LIMIT, responder.talk(socket)).await.is_err() {
                    debug!("a DNS query over TCP took too long");
                }
                drop(place);
            });
        }
    }

    async fn talk(&self, mut socket: TcpStream) -> io::Result<()> {
        for _ in 0..MAX_QUERIES {
            let mut query = vec![0; socket.read_u16().await?.into()];
            socket.read_exact(&mut query).await?;
            let Some(answer) = self.answer(&query, u16::MAX.into()) else { return Ok(()) };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            socket.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
        }
        Ok(())
    }

    /// `None` for what is no query: two servers that answer each other's answers would never end.
    pub(crate) fn answer(&self, bytes: &[u8], room: usize) -> Option<Vec<u8>> {
        let query = Message::from_vec(bytes).ok().filter(|query| query.message_type == MessageType::Query)?;
        let mut answer = Message::response(query.id, query.op_code);
        answer.metadata.recursion_desired = query.recursion_desired;
        answer.metadata.response_code = self.fill(&query, &mut answer);
        if query.edns.is_some() {
            answer.set_edns(Edns::new()).edns.as_mut()?.set_max_payload(1232);
        }
        let bytes = answer.to_vec().ok()?;
        if bytes.len() <= room.min(query.max_payload().max(512).into()) || room > Self::MAX_UDP {
            return Some(bytes);
        }
        answer.truncate().to_vec().ok()
    }

    fn fill(&self, query: &Message, answer: &mut Message) -> ResponseCode {
        let [question] = query.queries.as_slice() else { return ResponseCode::FormErr };
        if query.op_code != OpCode::Query {
            return ResponseCode::NotImp;
        }
        answer.add_query(question.clone());
        let name = HostName::parse(&question.name().to_ascii()).ok().filter(|name| name.is_under(&self.zone));
        let Some(name) = name.filter(|_| question.query_class() == DNSClass::IN) else { return ResponseCode::Refused };
        answer.metadata.authoritative = true;
        let is_apex = name == self.zone;
        let texts = self.records.at(&name);
        let mut data: Vec<RData> = Vec::new();
        let any = question.query_type() == RecordType::ANY;
        if any || question.query_type() == RecordType::TXT {
            data.extend(texts.iter().map(|text| RData::TXT(TXT::new(vec![text.clone()]))));
        }
        if is_apex && (any || question.query_type() == RecordType::NS) {
            data.extend(name_of(&self.server).map(|server| RData::NS(NS(server))));
        }
        if is_apex && (any || question.query_type() == RecordType::SOA) {
            data.extend(self.soa());
        }
        // In the spelling of the question: some resolvers compare it.
        let ttl = |data: &RData| if matches!(data, RData::TXT(_)) { PROOF_TTL } else { TTL };
        let record = |data| Record::from_rdata(question.name().clone(), ttl(&data), data);
        let records = data.into_iter().map(record);
        answer.add_answers(records);
        if answer.answers.is_empty()
            && let (Some(zone), Some(soa)) = (name_of(&self.zone), self.soa())
        {
            answer.add_authority(Record::from_rdata(zone, PROOF_TTL, soa));
        }
        // What lies between the zone and a record exists (RFC 8020).
        let exists = is_apex || !texts.is_empty() || self.has_below(&name);
        if exists { ResponseCode::NoError } else { ResponseCode::NXDomain }
    }

    fn has_below(&self, name: &HostName) -> bool {
        self.records.0.lock().unwrap_or_else(PoisonError::into_inner).keys().any(|known| known.is_under(name))
    }

    fn soa(&self) -> Option<RData> {
        let (server, zone) = (name_of(&self.server)?, name_of(&self.zone)?);
        let mailbox = zone.prepend_label("hostmaster").ok()?;
        Some(RData::SOA(SOA::new(server, mailbox, 1, 3600, 600, 86_400, PROOF_TTL)))
    }
}

fn name_of(name: &HostName) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Counts by the second.
#[derive(Default)]
struct Rate {
    since: Option<Instant>,
    count: u32,
}

impl Rate {
    fn admits(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.count) = (Some(now), 0);
        }
        self.count += 1;
        self.count <= MAX_RATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    fn responder() -> Responder {
        Responder::proving(host("acme.gw.net"), host("ns.gw.net"), &host("gw.net.acme.gw.net"))
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.metadata.id = 7;
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query
    }

    fn ask(responder: &Responder, query: &Message) -> Message {
        let answer = responder.answer(&query.to_vec().unwrap(), Responder::MAX_UDP).expect("an answer");
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!((answer.id, answer.message_type), (7, MessageType::Response));
        answer
    }

    #[test]
    fn it_answers_for_its_zone_and_for_nothing_else() {
        use ResponseCode::{NXDomain, NoError, Refused};
        let responder = responder();
        let table = [
            ("GW.net.acme.gw.net.", RecordType::TXT, NoError, 2),
            ("gw.net.acme.gw.net.", RecordType::A, NoError, 0),
            ("net.acme.gw.net.", RecordType::TXT, NoError, 0),
            ("other.acme.gw.net.", RecordType::TXT, NXDomain, 0),
            ("acme.gw.net.", RecordType::SOA, NoError, 1),
            ("acme.gw.net.", RecordType::NS, NoError, 1),
            ("acme.gw.net.", RecordType::TXT, NoError, 0),
            ("gw.net.", RecordType::SOA, Refused, 0),
            ("xacme.gw.net.", RecordType::TXT, Refused, 0),
        ];
        for (name, kind, code, answers) in table {
            let answer = ask(&responder, &query(name, kind));
            assert_eq!((answer.response_code, answer.answers.len()), (code, answers), "{name} {kind}");
            assert_eq!(answer.authoritative, code != Refused, "{name} {kind}");
            assert!(!answer.recursion_available, "{name} {kind}");
            let negative = answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
            assert_eq!(negative, answers == 0 && code != Refused, "{name} {kind}");
        }
        responder.records.remove(&host("gw.net.acme.gw.net"), "one");
        let answer = ask(&responder, &query("gw.net.acme.gw.net.", RecordType::TXT));
        assert_eq!(answer.answers.len(), 1);
    }

    #[test]
    fn answers_updates_and_noise_get_nothing_worth_having() {
        let responder = responder();
        let mut update = query("acme.gw.net.", RecordType::SOA);
        update.metadata.op_code = OpCode::Update;
        assert_eq!(ask(&responder, &update).response_code, ResponseCode::NotImp);
        let mut answer = query("acme.gw.net.", RecordType::SOA);
        answer.metadata.message_type = MessageType::Response;
        assert!(responder.answer(&answer.to_vec().unwrap(), Responder::MAX_UDP).is_none());
        assert!(responder.answer(b"", Responder::MAX_UDP).is_none());
        assert!(responder.answer(&[0xff; 100], Responder::MAX_UDP).is_none());
    }

    #[test]
    fn what_does_not_fit_is_cut_and_asked_for_again_over_tcp() {
        let responder = responder();
        for number in 0..30 {
            responder.records.add(&host("gw.net.acme.gw.net"), &format!("{number:043}"));
        }
        let query = query("gw.net.acme.gw.net.", RecordType::TXT);
        let over_udp = responder.answer(&query.to_vec().unwrap(), Responder::MAX_UDP).unwrap();
        assert!(over_udp.len() <= 512 && Message::from_vec(&over_udp).unwrap().truncation);
        let over_tcp = responder.answer(&query.to_vec().unwrap(), u16::MAX.into()).unwrap();
        assert_eq!(Message::from_vec(&over_tcp).unwrap().answers.len(), 32);
    }

    #[test]
    fn a_flood_of_questions_is_not_answered_with_a_flood() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let admitted = (0..10_000).filter(|_| rate.admits(now)).count();
        assert_eq!(admitted, MAX_RATE as usize);
        assert!(rate.admits(now + Duration::from_secs(1)));
    }
}
