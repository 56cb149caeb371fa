//! Whether a port of a home's router leads to the agent of that home. The gateway tells the agent by the link what a
//! connection will begin with, comes from outside, and is answered with a digest under a key that only the link carried:
//!
//! ```text
//! gateway ── link ──────→ agent      id, preface, key
//! gateway ── internet ──→ router ──→ agent    preface
//!         ←──────────────────────────         HMAC-SHA256(key, "doorward/1 probe" ‖ 0 ‖ preface)
//! ```
//!
//! The preface is thirty-two random bytes, used once: no visitor's connection begins so. Whoever else listens at that port
//! knows no key, so that another machine's open port is never taken for this one's.

use crate::messages::{Message, PinholeProbe};
use aws_lc_rs::hmac;
use doorward_core::Secret;
use std::fmt;
use std::io;
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

#[derive(Clone)]
pub struct Probe {
    id: String,
    preface: [u8; Self::PREFACE],
    key: Secret<[u8; 32]>,
}

#[derive(Debug, Error)]
pub enum ProbeError {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("somebody else answered")]
    Somebody,
}

const CONTEXT: &[u8] = b"doorward/1 probe\0";

impl Probe {
    /// Bytes of a preface.
    pub const PREFACE: usize = 32;

    /// `id`: as that of the wish.
    pub fn new(id: String) -> Self {
        Self { id, preface: rand::random(), key: Secret::new(rand::random()) }
    }

    /// `None`: it makes no sense.
    pub fn read(told: PinholeProbe) -> Option<Self> {
        let preface = told.preface.as_slice().try_into().ok()?;
        let key = Secret::new(told.key.as_slice().try_into().ok()?);
        Some(Self { id: told.id, preface, key })
    }

    /// For the link, before anybody comes from outside.
    pub fn announce(&self) -> Message {
        let (id, preface, key) = (self.id.clone(), self.preface.to_vec(), self.key.expose().to_vec());
        Message::PinholeProbe(PinholeProbe { id, preface, key })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a connection that begins with these bytes is the one that was announced.
    pub fn is_begun_by(&self, first: &[u8]) -> bool {
        first.ct_eq(&self.preface).into()
    }

    /// The agent's side, after the preface.
    pub async fn answer(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        stream.write_all(self.digest().as_ref()).await?;
        stream.shutdown().await
    }

    /// The gateway's side. The caller limits it.
    pub async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), ProbeError> {
        stream.write_all(&self.preface).await?;
        let mut answer = [0; 32];
        stream.read_exact(&mut answer).await?;
        bool::from(answer.ct_eq(self.digest().as_ref())).then_some(()).ok_or(ProbeError::Somebody)
    }

    fn digest(&self) -> hmac::Tag {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.expose());
        hmac::sign(&key, &[CONTEXT, &self.preface].concat())
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    fn told(probe: &Probe) -> PinholeProbe {
        match probe.announce() {
            Message::PinholeProbe(told) => told,
            other => panic!("{other:?}"),
        }
    }

    /// What the gateway makes of an agent that heard `told`, or of somebody else.
    async fn asked(probe: &Probe, told: PinholeProbe) -> Result<(), ProbeError> {
        let (gateway, mut agent) = duplex(64);
        let heard = Probe::read(told).unwrap();
        let answering = async {
            let mut first = [0; Probe::PREFACE];
            agent.read_exact(&mut first).await.unwrap();
            assert!(probe.is_begun_by(&first));
            heard.answer(agent).await.unwrap();
        };
        tokio::join!(probe.ask(gateway), answering).0
    }

    #[tokio::test]
    async fn only_whoever_was_told_by_the_link_can_answer() {
        let (probe, other) = (Probe::new("s7".to_owned()), Probe::new("s7".to_owned()));
        asked(&probe, told(&probe)).await.unwrap();
        assert!(matches!(asked(&probe, told(&other)).await, Err(ProbeError::Somebody)));
        let keyless = PinholeProbe { key: vec![0; 32], ..told(&probe) };
        assert!(matches!(asked(&probe, keyless).await, Err(ProbeError::Somebody)));
    }

    #[test]
    fn nothing_else_begins_like_it_and_half_a_probe_is_none() {
        let probe = Probe::new("s7".to_owned());
        let preface = told(&probe).preface;
        assert!(probe.is_begun_by(&preface));
        for other in [&preface[..31], &[preface.as_slice(), b"x"].concat(), b"SSH-2.0-OpenSSH_10.0\r\n", b""] {
            assert!(!probe.is_begun_by(other), "{other:?}");
        }
        assert!(Probe::read(PinholeProbe { preface: vec![1; 31], ..told(&probe) }).is_none());
        assert!(Probe::read(PinholeProbe { key: vec![1; 33], ..told(&probe) }).is_none());
    }

    #[test]
    fn its_key_is_told_by_no_debug_output() {
        let probe = Probe::new("s7".to_owned());
        let told = told(&probe);
        let key = format!("{:?}", told.key);
        let (of_message, of_probe) = (format!("{told:?}"), format!("{probe:?}"));
        assert!(of_message.contains("s7") && of_probe.contains("s7"));
        assert!(!of_message.contains(&key) && !of_probe.contains(&key), "{of_message} {of_probe}");
    }
}
