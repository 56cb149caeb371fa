//! Keys of both ends, and the certificates that TLS wants around them.
//!
//! The *site key* (Ed25519) is what agents pin. It signs a certificate for a *node key* made fresh at each start of a
//! gateway, which therefore never rests anywhere. Dates in these certificates mean nothing: trust comes from the
//! pinned key alone, so a device without a clock can join.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use doorward_core::Secret;
use doorward_core::site::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

#[derive(Debug, Error)]
#[error("{what}")]
pub struct KeyError {
    what: &'static str,
}

/// The name in node certificates. Nothing resolves it and nothing checks it but TLS itself.
pub(crate) const NODE_NAME: &str = "node.doorward.invalid";

/// A gateway's right to speak for its site: the node key and the chain that leads to the site key.
pub struct SiteIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) node_key: PrivateKeyDer<'static>,
    fingerprint: Fingerprint,
}

impl SiteIdentity {
    /// Makes a fresh node key under the site key given as PKCS#8.
    pub fn issue(site_key: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let refuse = |_| KeyError { what: "the site key cannot be read as an Ed25519 key in PKCS#8 form" };
        let der = PrivatePkcs8KeyDer::from(site_key.expose().as_slice());
        let site_key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).map_err(refuse)?;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&site_key);
        let fingerprint = Fingerprint(sha256(&spki));

        let site_params = params("Doorward site", true).map_err(refuse)?;
        let site_certificate = site_params.self_signed(&site_key).map_err(refuse)?;
        let node_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(refuse)?;
        let issuer = Issuer::new(site_params, site_key);
        let node = params(NODE_NAME, false).and_then(|p| p.signed_by(&node_key, &issuer)).map_err(refuse)?;
        Ok(Self {
            chain: vec![node.der().clone(), site_certificate.der().clone()],
            node_key: PrivatePkcs8KeyDer::from(node_key.serialize_der()).into(),
            fingerprint,
        })
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

fn params(name: &str, is_site: bool) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![NODE_NAME.to_owned()])?;
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    params.distinguished_name = distinguished;
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    if is_site {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    Ok(params)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

/// A device's key: its identity for as long as it lives on the device's disk.
pub struct DeviceKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl DeviceKey {
    /// A new key and the PKCS#8 bytes to keep it by.
    pub fn generate() -> Result<(Self, Secret<Vec<u8>>), KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyError { what: "no key could be made: the system gives no randomness" })?;
        let pkcs8 = Secret::new(document.as_ref().to_vec());
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    pub fn from_pkcs8(pkcs8: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let refuse = || KeyError { what: "the device key cannot be read: it is damaged" };
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| refuse())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| refuse())?;
        Ok(Self { pair, public })
    }

    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

pub(crate) fn is_signed_by(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_read_back_is_the_same_key() {
        let (key, pkcs8) = DeviceKey::generate().unwrap();
        let again = DeviceKey::from_pkcs8(&pkcs8).unwrap();
        assert_eq!(key.public(), again.public());
        assert!(is_signed_by(&key.public(), b"message", &again.sign(b"message")));
        assert!(!is_signed_by(&key.public(), b"another", &again.sign(b"message")));
    }

    #[test]
    fn a_damaged_key_is_refused() {
        assert!(DeviceKey::from_pkcs8(&Secret::new(vec![1, 2, 3])).is_err());
        assert!(SiteIdentity::issue(&Secret::new(vec![1, 2, 3])).is_err());
    }

    #[test]
    fn the_fingerprint_stays_while_node_keys_change() {
        let (_, pkcs8) = DeviceKey::generate().unwrap();
        let (one, two) = (SiteIdentity::issue(&pkcs8).unwrap(), SiteIdentity::issue(&pkcs8).unwrap());
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.chain[0], two.chain[0]);
    }
}
