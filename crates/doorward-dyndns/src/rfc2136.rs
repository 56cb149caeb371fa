//! Dynamic updates (RFC 2136) of the zone's primary server, signed with a shared key (TSIG, RFC 8945), over TCP.

use crate::address::Addresses;
use crate::answer::{Answer, HALF_HOUR, MINUTE, later, stopped};
use crate::settings::Rfc2136Settings;
use doorward_core::names::HostName;
use hickory_proto::op::update_message::{append, delete_rrset};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordSet, TSigner};
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigHash {
    Sha256,
    Sha384,
    Sha512,
}

const LIMIT: Duration = Duration::from_secs(15);
/// How far clocks may be apart, in seconds.
const FUDGE: u16 = 300;

pub(crate) async fn tell(settings: &Rfc2136Settings, name: &HostName, addresses: Addresses) -> Answer {
    let is_in_zone = matches!(
        (dns_name(name), dns_name(&settings.zone)),
        (Ok(name), Ok(zone)) if zone.zone_of(&name)
    );
    if !is_in_zone {
        return stopped(format!("the name {name} is not in the zone {}", settings.zone));
    }
    let v4 = addresses.v4().map(|address| RData::A(A(address)));
    let v6 = addresses.v6().map(|address| RData::AAAA(AAAA(address)));
    let mut answer = Answer::Taken;
    for data in [v4, v6].into_iter().flatten() {
        answer = match replace(settings, name, data).await {
            Ok(()) => Answer::Taken,
            Err(refused) => return refused,
        };
    }
    answer
}

/// All records of this kind go and this one comes, in one update: nobody finds none in between (RFC 2136, 3.4.2).
async fn replace(settings: &Rfc2136Settings, name: &HostName, data: RData) -> Result<(), Answer> {
    let server = settings.server;
    let record = Record::from_rdata(dns_name(name)?, settings.ttl_seconds, data);
    let mut message = update(&record, &dns_name(&settings.zone)?);
    message.metadata.id = rand::random();
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let unusable = |why: String| stopped(format!("the key for updates cannot be used: {why}"));
    let strange = |why: String| later(format!("the name server {server} answers nonsense: {why}"), HALF_HOUR);
    let verifier = message.finalize(&signer(settings)?, now).map_err(|error| unusable(error.to_string()))?;
    let bytes = message.to_vec().map_err(|error| unusable(error.to_string()))?;
    let bytes = exchange(server, &bytes)
        .await
        .map_err(|error| later(format!("the name server {server} cannot be reached: {error}"), MINUTE))?;
    let answer = Message::from_vec(&bytes).map_err(|error| strange(error.to_string()))?;
    if answer.id != message.id {
        return Err(strange("it is for another question".to_owned()));
    }
    // A refusal for the signature's sake cannot itself be signed (RFC 8945, 5.3.2).
    judge(server, answer.response_code)?;
    let mut verifier = verifier.ok_or_else(|| unusable("it signs nothing".to_owned()))?;
    verifier.verify(&bytes).map(drop).map_err(|error| strange(error.to_string()))
}

/// Deletion and addition, in this order (RFC 2136, 2.5).
fn update(record: &Record, zone: &Name) -> Message {
    let mut message = delete_rrset(record.clone(), zone.clone(), false);
    let addition = append(RecordSet::from(record.clone()), zone.clone(), false, false);
    message.authorities.extend(addition.authorities);
    message
}

fn judge(server: SocketAddr, code: ResponseCode) -> Result<(), Answer> {
    match code {
        ResponseCode::NoError => Ok(()),
        ResponseCode::ServFail => Err(later(format!("the name server {server} has a fault ({code})"), HALF_HOUR)),
        code => Err(stopped(format!("the name server {server} refuses the update: {code}"))),
    }
}

fn dns_name(name: &HostName) -> Result<Name, Answer> {
    Name::from_ascii(format!("{name}.")).map_err(|_| stopped(format!("{name} cannot be written in DNS")))
}

fn signer(settings: &Rfc2136Settings) -> Result<TSigner, Answer> {
    let algorithm = match settings.algorithm {
        TsigHash::Sha256 => TsigAlgorithm::HmacSha256,
        TsigHash::Sha384 => TsigAlgorithm::HmacSha384,
        TsigHash::Sha512 => TsigAlgorithm::HmacSha512,
    };
    let key = settings.key.expose().clone();
    let signer = TSigner::new(key, algorithm, dns_name(&settings.key_name)?, FUDGE);
    signer.map_err(|error| stopped(format!("the key for updates cannot be used: {error}")))
}

/// One message there and one back, each with its length in front (RFC 1035, 4.2.2).
async fn exchange(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let talking = async {
        let mut socket = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        let mut answer = vec![0; socket.read_u16().await?.into()];
        socket.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(LIMIT, talking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
