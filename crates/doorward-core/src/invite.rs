//! An invite: one string that lets a device join. It carries where the gateway is, which site key to trust, and a
//! secret that the gateway keeps only as a hash.
//!
//! Text form: `DW1` and base32 (RFC 4648, no padding) of `fingerprint[32] secret[16] addresses crc32[4]`, where the
//! addresses are UTF-8 joined by commas. Upper case fits the alphanumeric mode of QR codes; reading ignores case,
//! blanks and dashes, since people copy these by hand.

use crate::Secret;
use crate::site::{Address, Fingerprint};
use thiserror::Error;

#[derive(Clone, Debug)]
pub struct Invite {
    pub addresses: Vec<Address>,
    pub site: Fingerprint,
    pub secret: Secret<[u8; SECRET_LENGTH]>,
}

pub const SECRET_LENGTH: usize = 16;
const PREFIX: &str = "DW1";
const MAX_TEXT: usize = 2000;
/// More would not fit a QR code that a phone can read.
pub const MAX_ADDRESSES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InviteError {
    #[error("this is not an invite: it should start with DW1 (make one on the gateway with `doorward invite`)")]
    NotAnInvite,
    #[error("the invite is damaged: a character is missing or wrong; copy it again, whole")]
    Damaged,
    #[error("the invite was made by a newer Doorward; update this one")]
    Newer,
}

impl Invite {
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .take(MAX_TEXT + 1)
            .collect();
        let body = match text.strip_prefix(PREFIX) {
            Some(body) if text.len() <= MAX_TEXT => body,
            Some(_) => return Err(InviteError::Damaged),
            None if text.starts_with("DW") => return Err(InviteError::Newer),
            None => return Err(InviteError::NotAnInvite),
        };
        let bytes = data_encoding::BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| InviteError::Damaged)?;
        let (payload, sum) = bytes.split_last_chunk::<4>().ok_or(InviteError::Damaged)?;
        if crc32fast::hash(payload).to_be_bytes() != *sum {
            return Err(InviteError::Damaged);
        }
        Self::from_payload(payload).ok_or(InviteError::Damaged)
    }

    fn from_payload(payload: &[u8]) -> Option<Self> {
        let (site, rest) = payload.split_first_chunk::<32>()?;
        let (secret, addresses) = rest.split_first_chunk::<SECRET_LENGTH>()?;
        let addresses: Vec<_> =
            std::str::from_utf8(addresses).ok()?.split(',').map(Address::parse).collect::<Result<_, _>>().ok()?;
        (addresses.len() <= MAX_ADDRESSES).then(|| Self {
            addresses,
            site: Fingerprint(*site),
            secret: Secret::new(*secret),
        })
    }

    /// The string to hand over. It is a secret.
    pub fn to_text(&self) -> Secret<String> {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let mut payload = [&self.site.0[..], &self.secret.expose()[..], addresses.join(",").as_bytes()].concat();
        payload.extend(crc32fast::hash(&payload).to_be_bytes());
        Secret::new(format!("{PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite {
            addresses: vec![Address::parse("gw.example.org").unwrap(), Address::parse("tls://192.0.2.1:8443").unwrap()],
            site: Fingerprint([7; 32]),
            secret: Secret::new([9; 16]),
        }
    }

    #[test]
    fn an_invite_survives_copying_by_hand() {
        let text = invite().to_text();
        let mangled: String = text.expose().to_lowercase().chars().flat_map(|c| [c, '-', '\n']).collect();
        let read = Invite::parse(&mangled).unwrap();
        assert_eq!(read.addresses, invite().addresses);
        assert_eq!(read.site, invite().site);
        assert!(read.secret == invite().secret);
    }

    #[test]
    fn the_text_form_is_pinned() {
        let pinned = "DW1A4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQOBYHA4DQSCIJBEEQSCIJBEEQSCIJBEEQSZ3XFZSXQYLNOBWGKLTPOJ\
                      TTUNBUGMWHI3DTHIXS6MJZGIXDALRSFYYTUOBUGQZVZA2QOA";
        assert_eq!(invite().to_text().expose(), pinned);
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let text = invite().to_text().expose().clone();
        for at in 3..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(Invite::parse(std::str::from_utf8(&wrong).unwrap()).is_err(), "character {at}");
        }
        assert_eq!(Invite::parse(&text[..text.len() - 1]).unwrap_err(), InviteError::Damaged);
        assert_eq!(Invite::parse("hello").unwrap_err(), InviteError::NotAnInvite);
        assert_eq!(Invite::parse("DW2ABC").unwrap_err(), InviteError::Newer);
    }
}
