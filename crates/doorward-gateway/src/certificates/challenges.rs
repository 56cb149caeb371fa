//! What authorities may ask for at the moment: a text over HTTP (RFC 8555, 8.3), or a certificate over TLS (RFC 8737).
//! Nothing is shown that is not being asked for; each is taken back by dropping its guard.

use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

pub(crate) const ACME_ALPN: &[u8] = b"acme-tls/1";
pub(crate) const ACME_PATH: &str = "/.well-known/acme-challenge/";

#[derive(Debug, Default)]
pub(crate) struct Challenges {
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// By token.
    texts: HashMap<String, String>,
    /// By the name in the ClientHello.
    certificates: HashMap<String, Arc<ServerConfig>>,
}

/// For as long as it lives, the answer is given.
#[must_use]
pub(crate) struct Presented {
    challenges: Arc<Challenges>,
    key: Key,
}

enum Key {
    Text(String),
    Certificate(String),
}

#[derive(Debug, Error)]
pub(crate) enum PresentError {
    #[error("no certificate could be made for the proof: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error("the certificate for the proof is not usable: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Challenges {
    /// The answer to a request for this path, if an authority may be asking.
    pub(crate) fn text_at(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(ACME_PATH)?;
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).texts.get(token).cloned()
    }

    /// What to speak with whoever asks for a proof under this name.
    pub(crate) fn tls_config(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let name = name.to_ascii_lowercase();
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).certificates.get(&name).cloned()
    }

    pub(crate) fn present_text(self: &Arc<Self>, token: &str, text: &str) -> Presented {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.texts.insert(token.to_owned(), text.to_owned());
        Presented { challenges: self.clone(), key: Key::Text(token.to_owned()) }
    }

    /// `name`: a host name or an address. `digest`: the SHA-256 of the key authorization.
    pub(crate) fn present_certificate(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<Presented, PresentError> {
        let config = proof_config(name, digest)?;
        let name = name.parse().map_or_else(|_| name.to_ascii_lowercase(), reverse_name);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.certificates.insert(name.clone(), Arc::new(config));
        Ok(Presented { challenges: self.clone(), key: Key::Certificate(name) })
    }
}

impl Drop for Presented {
    fn drop(&mut self) {
        let mut shown = self.challenges.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.key {
            Key::Text(token) => drop(shown.texts.remove(token)),
            Key::Certificate(name) => drop(shown.certificates.remove(name)),
        }
    }
}

fn proof_config(name: &str, digest: &[u8]) -> Result<ServerConfig, PresentError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let signer = any_ecdsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    // `CertifiedKey::from_der` would refuse the critical extension that makes it a proof.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], signer);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_ALPN.to_vec()];
    Ok(config)
}

/// How a ClientHello names an address (RFC 8738, 6).
fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let mut name = String::new();
            for byte in ip.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 0xf, byte >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_shown_only_while_it_is_asked_for() {
        let challenges = Arc::<Challenges>::default();
        let text = challenges.present_text("token", "token.thumb");
        let certificate = challenges.present_certificate("a.gw.net", &[7; 32]).unwrap();
        assert_eq!(challenges.text_at("/.well-known/acme-challenge/token").as_deref(), Some("token.thumb"));
        assert_eq!(challenges.text_at("/.well-known/acme-challenge/other"), None);
        assert_eq!(challenges.text_at("/token"), None);
        assert_eq!(challenges.tls_config("A.gw.net").unwrap().alpn_protocols, [ACME_ALPN.to_vec()]);
        assert!(challenges.tls_config("b.gw.net").is_none());
        drop((text, certificate));
        assert_eq!(challenges.text_at("/.well-known/acme-challenge/token"), None);
        assert!(challenges.tls_config("a.gw.net").is_none());
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let long = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(reverse_name("2001:db8::1".parse().unwrap()), long);
    }
}
