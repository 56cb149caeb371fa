//! A public key as it stands in `id_ed25519.pub` and `authorized_keys` (sshd(8)), and as it travels (RFC 4253, 6.6).

use data_encoding::BASE64;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Of a kind that is taken here. Two are equal if their bytes are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    kind: &'static str,
    blob: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    #[error(
        "this is not an SSH public key: it looks like \"ssh-ed25519 AAAA… comment\" and stands in a file that ends in .pub"
    )]
    NotAKey,
    #[error("keys of the kind {0} are not taken: make one with `ssh-keygen -t ed25519`")]
    Kind(String),
    #[error("an RSA key of {0} bits is too short: make one with `ssh-keygen -t ed25519`")]
    Short(usize),
    #[error(
        "the options before the key would not be kept: take them off; who may do what is said here by `doorward access`"
    )]
    Options,
}

const KINDS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];
/// RSA of 16384 bits, the most that ssh-keygen makes, has about 2 KiB.
const MAX_BLOB: usize = 4096;
const MIN_RSA_BITS: usize = 2048;

impl PublicKey {
    pub fn from_blob(blob: &[u8]) -> Result<Self, PublicKeyError> {
        if blob.len() > MAX_BLOB {
            return Err(PublicKeyError::NotAKey);
        }
        let (name, rest) = field(blob).ok_or(PublicKeyError::NotAKey)?;
        let name = std::str::from_utf8(name).map_err(|_| PublicKeyError::NotAKey)?;
        let kind = KINDS.into_iter().find(|kind| *kind == name);
        let kind = kind.ok_or_else(|| PublicKeyError::Kind(name.chars().take(60).collect()))?;
        if kind == "ssh-rsa" {
            let (modulus, _) = field(rest).and_then(|(_, rest)| field(rest)).ok_or(PublicKeyError::NotAKey)?;
            let bits = bits(modulus);
            if bits < MIN_RSA_BITS {
                return Err(PublicKeyError::Short(bits));
            }
        }
        Ok(Self { kind, blob: blob.to_vec() })
    }

    /// As it travels: what a fingerprint is the hash of.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Every key of a file, without its comments.
    pub fn read_lines(text: &str) -> Result<Vec<Self>, PublicKeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::parse).collect()
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(line: &str) -> Result<Self, PublicKeyError> {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let Some(blob) = words.next().and_then(|text| BASE64.decode(text.as_bytes()).ok()) else {
            let has_options = line.split_whitespace().skip(1).any(|word| KINDS.contains(&word));
            return Err(if has_options { PublicKeyError::Options } else { PublicKeyError::NotAKey });
        };
        let key = Self::from_blob(&blob)?;
        if key.kind == kind { Ok(key) } else { Err(PublicKeyError::NotAKey) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, BASE64.encode(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.kind)
    }
}

/// A string of SSH: its length in four bytes, then itself (RFC 4251, 5).
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn bits(number: &[u8]) -> usize {
    let digits = number.iter().skip_while(|byte| **byte == 0);
    let leading = digits.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
    digits.count() * 8 - leading
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

    fn rsa(bytes: usize) -> Vec<u8> {
        let mut blob = Vec::new();
        for part in [&b"ssh-rsa"[..], &[1, 0, 1], &vec![0x80; bytes]] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        blob
    }

    #[test]
    fn a_key_is_read_from_its_line_and_written_without_the_comment() {
        let key: PublicKey = format!("  {ED25519} pi@zumi01 the second\n").parse().unwrap();
        assert_eq!((key.kind(), key.to_string().as_str()), ("ssh-ed25519", ED25519));
        let file = format!("# robots\n\n{ED25519} a\n{ED25519}\r\n");
        assert_eq!(PublicKey::read_lines(&file).unwrap(), [key.clone(), key]);
    }

    #[test]
    fn what_is_not_a_key_that_is_taken_is_refused_with_the_reason() {
        let dss = format!("ssh-dss {}", BASE64.encode(b"\0\0\0\x07ssh-dss"));
        let short = format!("ssh-rsa {}", BASE64.encode(&rsa(128)));
        let other = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
        let table = [
            ("", PublicKeyError::NotAKey),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", PublicKeyError::NotAKey),
            ("ssh-ed25519", PublicKeyError::NotAKey),
            ("ssh-ed25519 AAAA", PublicKeyError::NotAKey),
            ("ssh-ed25519 AAAA/////w==", PublicKeyError::NotAKey),
            (&other, PublicKeyError::NotAKey),
            (&dss, PublicKeyError::Kind("ssh-dss".into())),
            (&short, PublicKeyError::Short(1024)),
            (&format!("from=\"192.0.2.0/24\",no-pty {ED25519}"), PublicKeyError::Options),
        ];
        for (line, error) in table {
            assert_eq!(line.parse::<PublicKey>().unwrap_err(), error, "{line}");
        }
        assert!(PublicKey::from_blob(&rsa(256)).is_ok());
        assert!(PublicKey::from_blob(&rsa(5000)).is_err());
    }
}
