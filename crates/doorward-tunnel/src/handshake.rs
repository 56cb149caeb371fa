//! The proof of the device, over any carrier.
//!
//! The carrier's TLS has authenticated the gateway. The agent's first message carries its key and a signature by that
//! key over this very TLS session (the exporter, RFC 5705 and RFC 9266), both roles and its instance and epoch; so a
//! proof cannot be replayed on another connection, nor be used by a gateway towards another one.

use crate::identity::{DeviceKey, is_signed_by};
use crate::messages::{CAPABILITY, Hello, Join, LaneHello, Message, Refusal, Refused, Welcome};
use crate::pipe::Pipe;
use crate::wire::{CONTROL_LIMIT, STRANGER_LIMIT, WireError, read_frame};
use aws_lc_rs::hmac;
use doorward_core::Secret;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Label of the TLS exporter that both proofs are bound to.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-doorward-1";

/// How long each end waits for the other's one message.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// A carried connection with its exporter, before anybody proved anything.
pub struct Channel {
    pub(crate) pipe: Pipe,
    pub(crate) exporter: [u8; 32],
}

/// What an agent says of itself.
#[derive(Debug, Clone)]
pub struct Introduction {
    pub instance: [u8; 16],
    pub epoch: u64,
    pub join: Option<Join>,
    pub software: String,
    pub metered: bool,
}

/// What the gateway knows after the proof was checked.
#[derive(Debug)]
pub struct Claims {
    pub device_key: [u8; 32],
    pub capability: u32,
    pub introduction: Introduction,
}

#[derive(Debug, Error)]
pub enum HandshakeError {
    #[error("the other end said nothing for {} s", HANDSHAKE_LIMIT.as_secs())]
    Silent,
    #[error("the other end closed the connection during the handshake")]
    Closed,
    #[error("the other end broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the key was shown but not proved")]
    NotProved,
    #[error("the gateway refuses: {}", .0.message)]
    Refused(Refused),
    #[error(transparent)]
    Wire(#[from] WireError),
}

fn proof_text(exporter: &[u8; 32], instance: &[u8], epoch: u64) -> Vec<u8> {
    let roles = b"doorward/1 device proves itself: agent to gateway\0";
    [&roles[..], exporter, instance, &epoch.to_be_bytes()].concat()
}

/// The agent's side: says who it is, and waits for the answer.
pub(crate) async fn introduce(
    channel: &mut Channel,
    key: &DeviceKey,
    introduction: &Introduction,
) -> Result<Welcome, HandshakeError> {
    let hello = Hello {
        capability: CAPABILITY,
        instance: introduction.instance.to_vec(),
        epoch: introduction.epoch,
        device_key: key.public().to_vec(),
        proof: key.sign(&proof_text(&channel.exporter, &introduction.instance, introduction.epoch)),
        join: introduction.join.clone(),
        software: introduction.software.clone(),
        metered: introduction.metered,
    };
    send(channel, &Message::Hello(hello)).await?;
    match receive(channel, CONTROL_LIMIT).await? {
        Message::Welcome(welcome) => Ok(welcome),
        Message::Refused(refused) => Err(HandshakeError::Refused(refused)),
        other => Err(unexpected(&other)),
    }
}

/// The first message on a fresh connection, checked.
pub(crate) enum First {
    Device(Claims),
    Lane(LaneHello),
}

/// The gateway's side: hears the first message and checks its proof. Who may come in is not decided here.
pub(crate) async fn hear(channel: &mut Channel) -> Result<First, HandshakeError> {
    let hello = match receive(channel, STRANGER_LIMIT).await? {
        Message::Hello(hello) => hello,
        Message::LaneHello(lane) => return Ok(First::Lane(lane)),
        other => return Err(unexpected(&other)),
    };
    let Ok(device_key) = <[u8; 32]>::try_from(hello.device_key.as_slice()) else {
        return Err(HandshakeError::Protocol("a device key has 32 bytes"));
    };
    let Ok(instance) = <[u8; 16]>::try_from(hello.instance.as_slice()) else {
        return Err(HandshakeError::Protocol("an instance has 16 bytes"));
    };
    if !is_signed_by(&device_key, &proof_text(&channel.exporter, &instance, hello.epoch), &hello.proof) {
        refuse(channel, Refusal::BadProof, "the device key was shown but not proved", 0).await;
        return Err(HandshakeError::NotProved);
    }
    Ok(First::Device(Claims {
        device_key,
        capability: hello.capability,
        introduction: Introduction {
            instance,
            epoch: hello.epoch,
            join: hello.join,
            software: hello.software.chars().take(100).collect(),
            metered: hello.metered,
        },
    }))
}

/// Says no, as far as the other end listens.
pub(crate) async fn refuse(channel: &mut Channel, reason: Refusal, message: &str, retry_after_seconds: u32) {
    let refused = Refused { reason: reason.into(), message: message.to_owned(), retry_after_seconds };
    let _ = send(channel, &Message::Refused(refused)).await;
    let _ = timeout(HANDSHAKE_LIMIT, channel.pipe.shutdown()).await;
    // A QUIC connection that is dropped now would take the answer with it; whoever heard it closes.
    let _ = timeout(HANDSHAKE_LIMIT, channel.pipe.read(&mut [0])).await;
}

pub(crate) async fn send(channel: &mut Channel, message: &Message) -> Result<(), HandshakeError> {
    let bytes = message.encode();
    let sending = async {
        channel.pipe.write_all(&bytes).await?;
        channel.pipe.flush().await
    };
    timeout(HANDSHAKE_LIMIT, sending).await.map_err(|_| HandshakeError::Silent)?.map_err(|e| WireError::from(e).into())
}

async fn receive(channel: &mut Channel, limit: usize) -> Result<Message, HandshakeError> {
    let frame = timeout(HANDSHAKE_LIMIT, read_frame(&mut channel.pipe, limit)).await;
    let frame = frame.map_err(|_| HandshakeError::Silent)??.ok_or(HandshakeError::Closed)?;
    Ok(Message::decode(&frame)?)
}

fn unexpected(message: &Message) -> HandshakeError {
    match message {
        Message::Other(_) => HandshakeError::Protocol("it speaks a newer protocol first"),
        _ => HandshakeError::Protocol("it did not introduce itself first"),
    }
}

/// The secret by which a lane proves that it belongs to a link.
pub(crate) type LaneSecret = Secret<[u8; 32]>;

pub(crate) fn lane_proof(secret: &LaneSecret, exporter: &[u8; 32]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    hmac::sign(&key, &[b"doorward/1 lane\0", &exporter[..]].concat()).as_ref().to_vec()
}

pub(crate) fn is_lane_proof(secret: &LaneSecret, exporter: &[u8; 32], proof: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    hmac::verify(&key, &[b"doorward/1 lane\0", &exporter[..]].concat(), proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(far_exporter: [u8; 32]) -> (Channel, Channel) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        (Channel { pipe: Box::new(near), exporter: [1; 32] }, Channel { pipe: Box::new(far), exporter: far_exporter })
    }

    fn introduction() -> Introduction {
        Introduction { instance: [3; 16], epoch: 5, join: None, software: "test".into(), metered: false }
    }

    #[tokio::test]
    async fn a_device_is_known_by_its_proved_key() {
        let (mut agent, mut gateway) = channels([1; 32]);
        let key = DeviceKey::generate().unwrap().0;
        let greeting = tokio::spawn(async move { (introduce(&mut agent, &key, &introduction()).await, key) });
        let First::Device(claims) = hear(&mut gateway).await.unwrap() else { panic!("a device was to come") };
        refuse(&mut gateway, Refusal::UnknownKey, "join first", 7).await;
        let (answer, key) = greeting.await.unwrap();
        assert_eq!(claims.device_key, key.public());
        assert_eq!(claims.introduction.epoch, 5);
        let Err(HandshakeError::Refused(refused)) = answer else { panic!("{answer:?}") };
        assert_eq!((refused.reason(), refused.retry_after_seconds), (Refusal::UnknownKey, 7));
    }

    #[tokio::test]
    async fn a_proof_made_for_another_connection_is_worth_nothing() {
        let (mut agent, mut gateway) = channels([2; 32]);
        let key = DeviceKey::generate().unwrap().0;
        let greeting = tokio::spawn(async move { introduce(&mut agent, &key, &introduction()).await });
        assert!(matches!(hear(&mut gateway).await, Err(HandshakeError::NotProved)));
        assert!(matches!(greeting.await.unwrap(), Err(HandshakeError::Refused(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up() {
        let (_agent, mut gateway) = channels([1; 32]);
        assert!(matches!(hear(&mut gateway).await, Err(HandshakeError::Silent)));
    }

    #[tokio::test]
    async fn garbage_and_other_messages_are_refused() {
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0, 0, 3, 0xff, 0xff, 0xff], &[1, 0xff, 0xff, 0xff]] {
            let (mut agent, mut gateway) = channels([1; 32]);
            agent.pipe.write_all(bytes).await.unwrap();
            drop(agent);
            assert!(hear(&mut gateway).await.is_err(), "{bytes:?}");
        }
        let (mut agent, mut gateway) = channels([1; 32]);
        send(&mut agent, &Message::Ping).await.unwrap();
        assert!(matches!(hear(&mut gateway).await, Err(HandshakeError::Protocol(_))));
    }

    #[test]
    fn a_lane_proof_holds_for_its_link_and_connection_only() {
        let (ours, theirs) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let proof = lane_proof(&ours, &[9; 32]);
        assert!(is_lane_proof(&ours, &[9; 32], &proof));
        assert!(!is_lane_proof(&theirs, &[9; 32], &proof));
        assert!(!is_lane_proof(&ours, &[8; 32], &proof));
    }
}
