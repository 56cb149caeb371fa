//! What is handed to an authority and what comes back: names, requests, certificates.

use super::OrderError;
use crate::certificates::authority::Authority;
use crate::certificates::resolver::certified;
use doorward_control::Certificate;
use doorward_core::Secret;
use doorward_core::certificates::{CertificateName, Held, Names};
use instant_acme::{Account, Identifier};
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use x509_parser::prelude::{FromDer, X509Certificate};

pub(super) fn identifier(name: &CertificateName) -> Identifier {
    match name {
        CertificateName::Host(host) => Identifier::Dns(host.to_string()),
        CertificateName::Below(parent) => Identifier::Dns(format!("*.{parent}")),
        CertificateName::Ip(ip) => Identifier::Ip(*ip),
    }
}

/// The kind of certificate to ask for: as set, and for addresses the one that Let's Encrypt gives them.
pub(super) fn profile<'a>(account: &Account, names: &Names, authority: &'a Authority) -> Option<&'a str> {
    const FOR_ADDRESSES: &str = "shortlived";
    let set = authority.settings.profile.as_deref();
    let for_address = names.is_address() && account.profiles().any(|profile| profile.name == FOR_ADDRESSES);
    set.or(for_address.then_some(FOR_ADDRESSES))
}

pub(super) fn request(names: &Names, key: &Secret<Vec<u8>>) -> Result<Vec<u8>, OrderError> {
    let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.expose().as_slice()))?;
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

/// A certificate is believed only for what was asked and with our key.
pub(super) fn read(
    names: &Names,
    directory: &str,
    chain: String,
    key: Secret<Vec<u8>>,
) -> Result<Certificate, OrderError> {
    let held = validity(&chain, names)?;
    let certificate = Certificate { held, directory: directory.to_owned(), chain, key };
    let used = certified(&certificate).map_err(OrderError::Strange)?;
    let leaf = used.end_entity_cert().and_then(ParsedCertificate::try_from).map_err(strange)?;
    for name in names.iter() {
        // Any name that the wildcard stands for.
        let text = name.to_string().replace('*', "any");
        let expected = ServerName::try_from(text).map_err(strange)?;
        rustls::client::verify_server_name(&leaf, &expected).map_err(strange)?;
    }
    Ok(certificate)
}

fn strange(error: impl std::fmt::Display) -> OrderError {
    OrderError::Strange(error.to_string())
}

/// From when until when the first certificate of a chain is good.
fn validity(chain: &str, names: &Names) -> Result<Held, OrderError> {
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(strange)?;
    let (_, parsed) = X509Certificate::from_der(&leaf).map_err(strange)?;
    let time = |at: i64| Timestamp::from_second(at).map_err(strange);
    let (from, until) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    Ok(Held { names: names.clone(), not_before: time(from)?, not_after: time(until)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &str, key: &KeyPair) -> String {
        let names: Vec<_> = names.split(',').map(str::to_owned).collect();
        CertificateParams::new(names).unwrap().self_signed(key).unwrap().pem()
    }

    #[test]
    fn a_certificate_for_other_names_or_another_key_is_not_taken() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let secret = || Secret::new(key.serialize_der());
        let names = Names::parse("gw.net,*.gw.net").unwrap();
        let taken = |chain: String| read(&names, "https://ca/", chain, secret());
        assert_eq!(taken(made("gw.net,*.gw.net", &key)).unwrap().held.names, names);
        assert!(taken(made("gw.net", &key)).is_err());
        assert!(taken(made("*.gw.net", &key)).is_err());
        assert!(taken(made("gw.net,*.gw.net", &other)).is_err());
        assert!(taken(String::new()).is_err());
        let address = Names::parse("192.0.2.1").unwrap();
        assert!(read(&address, "https://ca/", made("192.0.2.1", &key), secret()).is_ok());
        assert!(read(&address, "https://ca/", made("192.0.2.2", &key), secret()).is_err());
    }

    #[test]
    fn a_request_is_for_the_names_and_signed_with_the_key_that_was_kept() {
        let key = KeyPair::generate().unwrap();
        let names = Names::parse("gw.net,*.gw.net,192.0.2.1").unwrap();
        let request = request(&names, &Secret::new(key.serialize_der())).unwrap();
        let (_, parsed) = x509_parser::certification_request::X509CertificationRequest::from_der(&request).unwrap();
        let raw = parsed.certification_request_info.subject_pki.raw;
        assert_eq!(raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    }
}
