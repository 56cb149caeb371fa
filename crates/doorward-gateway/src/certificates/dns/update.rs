//! Dynamic updates (RFC 2136) of the zone's primary server, signed with a shared key (TSIG, RFC 8945). Always over TCP:
//! one way for short and long messages.

use crate::certificates::settings::{TsigHash, UpdateSettings};
use doorward_core::names::HostName;
use hickory_proto::op::update_message::{append, delete_by_rdata};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Debug, Error)]
pub(in crate::certificates) enum UpdateError {
    #[error("the name server {server} cannot be reached: {source}")]
    Reach { server: SocketAddr, source: io::Error },
    #[error("the name server {server} answers something that is no DNS, or is not signed as agreed: {why}")]
    Strange { server: SocketAddr, why: String },
    #[error("the name server {server} refuses {what}: {code}")]
    Refused { server: SocketAddr, what: &'static str, code: ResponseCode },
    #[error("the name server {server} has no zone for {name}")]
    NoZone { server: SocketAddr, name: HostName },
    #[error("the key for updates cannot be used: {0}")]
    Key(String),
    #[error("{0} cannot be written in DNS")]
    Name(HostName),
}

const LIMIT: Duration = Duration::from_secs(15);
const TTL: u32 = 60;
/// How far clocks may be apart, in seconds.
const FUDGE: u16 = 300;

pub(super) async fn add(settings: &UpdateSettings, name: &HostName, value: &str) -> Result<(), UpdateError> {
    let zone = zone_of(settings, name).await?;
    send(settings, append(records(name, value)?, zone, false, false), "a record").await
}

pub(super) async fn remove(settings: &UpdateSettings, name: &HostName, value: &str) -> Result<(), UpdateError> {
    let zone = zone_of(settings, name).await?;
    send(settings, delete_by_rdata(records(name, value)?, zone, false), "to remove a record").await
}

/// Whether the server itself says so.
pub(super) async fn is_there(settings: &UpdateSettings, name: &HostName, value: &str) -> Result<bool, UpdateError> {
    let answer = ask(settings, name, RecordType::TXT).await?;
    let wanted = RData::TXT(TXT::new(vec![value.to_owned()]));
    Ok(answer.answers.iter().any(|record| record.data == wanted))
}

pub(super) async fn alias_of(settings: &UpdateSettings, name: &HostName) -> Result<Option<HostName>, UpdateError> {
    let answer = ask(settings, name, RecordType::CNAME).await?;
    let alias = |record: &Record| match &record.data {
        RData::CNAME(target) => HostName::parse(&target.0.to_ascii()).ok(),
        _ => None,
    };
    Ok(answer.answers.iter().find_map(alias))
}

/// The zone that the settings name, or the closest one above the name for which the server has an SOA.
async fn zone_of(settings: &UpdateSettings, name: &HostName) -> Result<Name, UpdateError> {
    if let Some(zone) = &settings.zone {
        return dns_name(zone);
    }
    let mut above = name.as_str();
    while let Some((_, rest)) = above.split_once('.') {
        above = rest;
        let Ok(candidate) = HostName::parse(above) else { break };
        let answer = ask(settings, &candidate, RecordType::SOA).await?;
        if answer.answers.iter().any(|record| record.record_type() == RecordType::SOA) {
            return dns_name(&candidate);
        }
    }
    Err(UpdateError::NoZone { server: settings.server, name: name.clone() })
}

fn records(name: &HostName, value: &str) -> Result<RecordSet, UpdateError> {
    let data = RData::TXT(TXT::new(vec![value.to_owned()]));
    Ok(RecordSet::from(Record::from_rdata(dns_name(name)?, TTL, data)))
}

fn dns_name(name: &HostName) -> Result<Name, UpdateError> {
    Name::from_ascii(format!("{name}.")).map_err(|_| UpdateError::Name(name.clone()))
}

async fn ask(settings: &UpdateSettings, name: &HostName, kind: RecordType) -> Result<Message, UpdateError> {
    let mut message = Message::query();
    message.metadata.id = rand::random();
    message.add_query(Query::query(dns_name(name)?, kind));
    let bytes = exchange(settings.server, &encoded(&message, settings.server)?).await?;
    decoded(&bytes, &message, settings.server)
}

async fn send(settings: &UpdateSettings, mut message: Message, what: &'static str) -> Result<(), UpdateError> {
    let server = settings.server;
    message.metadata.id = rand::random();
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let unusable = |why: String| UpdateError::Key(why);
    let verifier = message.finalize(&signer(settings)?, now).map_err(|error| unusable(error.to_string()))?;
    let bytes = exchange(server, &encoded(&message, server)?).await?;
    let answer = decoded(&bytes, &message, server)?;
    // A refusal for the signature's sake cannot itself be signed (RFC 8945, 5.3.2).
    if answer.response_code != ResponseCode::NoError {
        return Err(UpdateError::Refused { server, what, code: answer.response_code });
    }
    let mut verifier = verifier.ok_or_else(|| unusable("it signs nothing".to_owned()))?;
    verifier.verify(&bytes).map_err(|error| UpdateError::Strange { server, why: error.to_string() })?;
    Ok(())
}

fn signer(settings: &UpdateSettings) -> Result<TSigner, UpdateError> {
    let algorithm = match settings.algorithm {
        TsigHash::Sha256 => TsigAlgorithm::HmacSha256,
        TsigHash::Sha384 => TsigAlgorithm::HmacSha384,
        TsigHash::Sha512 => TsigAlgorithm::HmacSha512,
    };
    let key = settings.key.expose().clone();
    TSigner::new(key, algorithm, dns_name(&settings.key_name)?, FUDGE).map_err(|e| UpdateError::Key(e.to_string()))
}

fn encoded(message: &Message, server: SocketAddr) -> Result<Vec<u8>, UpdateError> {
    message.to_vec().map_err(|error| UpdateError::Strange { server, why: error.to_string() })
}

fn decoded(bytes: &[u8], asked: &Message, server: SocketAddr) -> Result<Message, UpdateError> {
    let strange = |why: String| UpdateError::Strange { server, why };
    let answer = Message::from_vec(bytes).map_err(|error| strange(error.to_string()))?;
    if answer.id != asked.id { Err(strange("it answers another question".to_owned())) } else { Ok(answer) }
}

/// One message there and one back, each with its length in front (RFC 1035, 4.2.2).
async fn exchange(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, UpdateError> {
    let talking = async {
        let mut socket = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let mut answer = vec![0; socket.read_u16().await?.into()];
        socket.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let answered = timeout(LIMIT, talking).await.unwrap_or_else(|_| Err(late()));
    answered.map_err(|source| UpdateError::Reach { server, source })
}
