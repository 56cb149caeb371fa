//! The packet: a head that everybody can read, and a body that its key alone opens.

use super::{BODY, HEAD, KeyId, Knock, LENGTH, Nonce, VERSION};
use crate::Secret;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce as Counter, UnboundKey};
use aws_lc_rs::{digest as hashing, hmac};

/// What knocker and gateway share, and nobody else.
pub struct KnockKey(hmac::Key);

/// A packet that looks like a knock. Nothing is known of it yet.
#[derive(Clone, Copy)]
pub struct Sealed<'p>(&'p [u8; LENGTH]);

const PURPOSE: &[u8] = b"doorward knock 1";

impl KnockKey {
    pub fn new(secret: &Secret<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// `nonce`: by chance, and never again.
    pub fn seal(&self, id: KeyId, nonce: Nonce, knock: &Knock) -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        packet[0] = VERSION;
        packet[1..17].copy_from_slice(&id.0);
        packet[17..HEAD].copy_from_slice(&nonce.0);
        packet[HEAD..HEAD + BODY].copy_from_slice(&knock.write());
        let (head, rest) = packet.split_at_mut(HEAD);
        let (body, mark) = rest.split_at_mut(BODY);
        let made = self.of_packet(head).seal_in_place_separate_tag(once(), Aad::from(&*head), body);
        mark.copy_from_slice(made.expect("a knock is far below the limits of the cipher").as_ref());
        packet
    }

    fn of_packet(&self, head: &[u8]) -> LessSafeKey {
        let mut derivation = hmac::Context::with_key(&self.0);
        derivation.update(PURPOSE);
        derivation.update(head);
        let key = UnboundKey::new(&CHACHA20_POLY1305, derivation.sign().as_ref());
        LessSafeKey::new(key.expect("a digest is as long as a key"))
    }
}

/// Each key seals one packet.
fn once() -> Counter {
    Counter::assume_unique_for_key([0; 12])
}

impl<'p> Sealed<'p> {
    /// `None`: it is no knock.
    pub fn read(packet: &'p [u8]) -> Option<Self> {
        let packet: &[u8; LENGTH] = packet.try_into().ok()?;
        (packet[0] == VERSION).then_some(Self(packet))
    }

    pub fn key(self) -> KeyId {
        KeyId(self.0[1..17].try_into().expect("its length is known"))
    }

    pub fn nonce(self) -> Nonce {
        Nonce(self.0[17..HEAD].try_into().expect("its length is known"))
    }

    /// `None`: another key made it, or none. That takes as long whatever is wrong with it.
    pub fn open(self, key: &KnockKey) -> Option<Knock> {
        let (head, sealed) = self.0.split_at(HEAD);
        let mut body = [0; LENGTH - HEAD];
        body.copy_from_slice(sealed);
        let opened = key.of_packet(head).open_in_place(once(), Aad::from(head), &mut body).ok()?;
        Knock::read((&*opened).try_into().ok()?)
    }
}

pub(super) fn digest(text: &str) -> [u8; 32] {
    let digest = hashing::digest(&hashing::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
