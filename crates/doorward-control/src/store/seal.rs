//! What is kept encrypted in the store: AES-256-GCM under a key in a file beside it, so that a copy of the store alone
//! (a snapshot of the disk, a stray file) gives no private key away. Each value is bound to its place.

use super::{StoreError, words};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use doorward_core::Secret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(crate) struct Seal {
    bytes: Secret<Vec<u8>>,
    key: RandomizedNonceKey,
}

pub const SEAL_FILE: &str = "doorward.key";
const KEY_LENGTH: usize = 32;

impl Seal {
    pub(crate) fn generate() -> Self {
        let mut bytes = vec![0; KEY_LENGTH];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
        Self::new(Secret::new(bytes)).expect("it has the right length")
    }

    fn new(bytes: Secret<Vec<u8>>) -> Result<Self, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.expose())
            .map_err(|_| StoreError::Strange(format!("a key of another length than {KEY_LENGTH} bytes")))?;
        Ok(Self { bytes, key })
    }

    pub(crate) fn from_hex(text: &str) -> Result<Self, StoreError> {
        Self::new(Secret::new(words::read_hex(text)?))
    }

    pub(crate) fn to_hex(&self) -> Secret<String> {
        Secret::new(words::hex(self.bytes.expose()))
    }

    /// `None`: there is no file.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, io::Error> {
        let mut file = match File::open(directory.join(SEAL_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let text = Secret::new(text);
        Self::from_hex(text.expose().trim()).map(Some).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Never over another key: what that one sealed would be lost.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), io::Error> {
        let part = directory.join("doorward.key.new");
        match std::fs::remove_file(&part) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(self.to_hex().expose().as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&part, directory.join(SEAL_FILE))?;
        std::fs::remove_file(&part)?;
        File::open(directory)?.sync_all()
    }

    /// A key for something else, which tells nothing about this one.
    pub(crate) fn derive(&self, purpose: &str) -> hmac::Key {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.bytes.expose());
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, purpose.as_bytes()).as_ref())
    }

    /// `place`: the table and row that it is for.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> String {
        let mut sealed = secret.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed)
            .expect("what is sealed here is far below the limits of the cipher");
        words::hex(&[nonce.as_ref(), sealed.as_slice()].concat())
    }

    pub(crate) fn open(&self, place: &str, sealed: &str) -> Result<Secret<Vec<u8>>, StoreError> {
        let unfit = || StoreError::Strange(format!("a secret that the key in {SEAL_FILE} does not open ({place})"));
        let bytes = words::read_hex(sealed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(unfit)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unfit())?;
        let mut opened = sealed.to_vec();
        let length =
            self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut opened).map_err(|_| unfit())?.len();
        opened.truncate(length);
        Ok(Secret::new(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_sealed_opens_only_with_its_key_and_in_its_place() {
        let (seal, other) = (Seal::generate(), Seal::generate());
        let sealed = seal.seal("a/1", b"the key");
        assert_eq!(seal.open("a/1", &sealed).unwrap().expose(), b"the key");
        assert!(!sealed.contains(&words::hex(b"the key")));
        assert_ne!(seal.seal("a/1", b"the key"), sealed);
        assert!(seal.open("a/2", &sealed).is_err());
        assert!(other.open("a/1", &sealed).is_err());
        assert!(seal.open("a/1", &sealed[..20]).is_err());
    }

    #[test]
    fn the_file_is_its_owners_alone_and_is_never_written_over() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Seal::read(directory.path()).unwrap().is_none());
        let seal = Seal::generate();
        seal.write(directory.path()).unwrap();
        let mode = std::fs::metadata(directory.path().join(SEAL_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let sealed = seal.seal("x", b"y");
        assert!(Seal::generate().write(directory.path()).is_err());
        assert_eq!(Seal::read(directory.path()).unwrap().unwrap().open("x", &sealed).unwrap().expose(), b"y");
        std::fs::write(directory.path().join(SEAL_FILE), "00").unwrap();
        assert!(Seal::read(directory.path()).is_err());
    }
}
