//! The gateway's own keys and what it speaks: nothing that is known to be weak, Terrapin's cure (strict key exchange) included.

use super::window::WIDE;
use crate::StartError;
use doorward_control::HostKey;
use doorward_core::Secret;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A sign of life is asked for when nothing was heard for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// OpenSSH tries each key that it has once.
const ATTEMPTS: usize = 20;
const PACKET: u32 = 32 * 1024;

/// A new set.
pub(crate) fn make() -> Vec<HostKey> {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()));
    let written = key.to_openssh(LineEnding::LF).expect("a key that was just made can be written");
    let public_key = key.public_key().to_openssh().expect("a key that was just made can be written");
    vec![HostKey {
        kind: key.algorithm().to_string(),
        public_key: public_key.trim().to_owned(),
        private_key: Secret::new(written.to_string()),
    }]
}

pub(crate) fn configuration(keys: &[HostKey]) -> Result<Arc<Config>, StartError> {
    let read = |key: &HostKey| {
        PrivateKey::from_openssh(key.private_key.expose()).map_err(|error| StartError::HostKey(error.to_string()))
    };
    let keys = keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Doorward")),
        methods: methods(),
        // Nothing here takes longer for one name or key than for another, and NetGear waits a second in all.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        window_size: WIDE,
        maximum_packet_size: PACKET,
        preferred: preferred(),
        max_auth_attempts: ATTEMPTS,
        // Our own watch ends it; tunnels may rest.
        inactivity_timeout: None,
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    }))
}

/// By which clients may say who they are.
pub(super) fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive][..])
}

fn preferred() -> Preferred {
    Preferred {
        // No groups of numbers: 4096 bits of them cost a stranger nothing and us a lot (CVE-2002-20001).
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        host_key_certificates: Cow::Borrowed(&[]),
        // Ours is the first; the others are for the keys of clients (RFC 8308, server-sig-algs).
        key: Cow::Owned(vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_read_back_and_the_server_says_no_version() {
        let made = make();
        assert_eq!(made[0].kind, "ssh-ed25519");
        assert!(made[0].public_key.starts_with("ssh-ed25519 AAAA"), "{}", made[0].public_key);
        let configuration = configuration(&made).unwrap();
        assert_eq!(configuration.keys[0].public_key().to_openssh().unwrap().trim(), made[0].public_key);
        assert_ne!(make()[0].public_key, made[0].public_key);
        let broken = [HostKey { private_key: Secret::new("nonsense".into()), ..make().remove(0) }];
        assert!(configuration_fails(&broken));
    }

    fn configuration_fails(keys: &[HostKey]) -> bool {
        matches!(configuration(keys), Err(StartError::HostKey(_)))
    }
}
