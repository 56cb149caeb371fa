//! Client certificates: logins of devices and programs that can show one.
//!
//! A certificate counts because its hash stands in the store, as a token does, not because of who signed it. So the key that signs
//! exists for that one signature: there is none to steal. The issuer's name is the same for all, so that browsers offer these and no
//! others.

use super::{LoginRequest, LoginSummary, TokenDigest, begin_by};
use crate::{Control, EditError};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use doorward_core::login::{Login, LoginKind};
use doorward_core::person::factors::Factors;
use doorward_core::{AccountId, LoginId, Secret};
use jiff::{SignedDuration, Timestamp};
use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use thiserror::Error;

#[derive(Clone, Debug)]
pub struct CertificateRequest {
    pub account: AccountId,
    /// Where it will be, as people read it.
    pub title: String,
    pub length: SignedDuration,
    pub source: Option<IpAddr>,
}

/// One that was just made. Its key is nowhere but in here.
#[derive(Debug)]
pub struct NewCertificate {
    pub id: LoginId,
    /// PKCS#12 (RFC 7292): certificate and key, under the password.
    pub archive: Secret<Vec<u8>>,
    pub password: Secret<String>,
    pub until: Timestamp,
}

#[derive(Debug, Error)]
enum MakeError {
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{0}")]
    Archive(#[from] p12_keystore::error::Error),
}

const ORGANIZATION: &str = "Doorward";
const ISSUER: &str = "Doorward client certificates";
const LONGEST: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);
/// Clocks differ.
const SLACK: SignedDuration = SignedDuration::from_hours(24);
/// Of a name in a certificate's subject (RFC 5280, appendix A, ub-common-name).
const MAX_SHOWN: usize = 64;
/// 120 bits: no file's encryption has to be slow against guessing.
const PASSWORD_BYTES: usize = 15;
const ITERATIONS: u32 = 2048;

/// The issuer's name as TLS hints at it (DER, X.501 Name).
pub fn client_issuer() -> Vec<u8> {
    let part = |oid: u8, text: &str| {
        let value = tagged(0x0c, text.as_bytes());
        tagged(0x31, &tagged(0x30, &[&[0x06, 3, 0x55, 4, oid], &value[..]].concat()))
    };
    tagged(0x30, &[part(10, ORGANIZATION), part(3, ISSUER)].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).expect("constant names are short");
    [&[tag, length], content].concat()
}

impl Control {
    pub async fn make_certificate(
        &self,
        request: CertificateRequest,
        now: Timestamp,
    ) -> Result<NewCertificate, EditError> {
        if request.length > LONGEST {
            return Err(EditError::Invalid("a certificate lasts two years at most: say how long, as 365d".into()));
        }
        if request.title.trim().is_empty() {
            return Err(EditError::Invalid("say what the certificate is for".into()));
        }
        let until = now.checked_add(request.length).unwrap_or(Timestamp::MAX);
        let made = make(&request.title, now, until);
        let Made { certificate, archive, password } =
            made.map_err(|error| EditError::Invalid(format!("the certificate could not be made: {error}")))?;
        let CertificateRequest { account, title, length, source } = request;
        let (kind, factors) = (LoginKind::Certificate, Factors::NONE);
        let login = LoginRequest { account, kind, factors, title, source, length };
        let begun = self.write(move |work| Box::pin(begin_by(work, login, hash(&certificate), now))).await?;
        Ok(NewCertificate { id: begun.id, archive, password, until: begun.until })
    }

    /// The newest first. `of`: whose; `None`: everybody's.
    pub fn client_certificates(&self, of: Option<AccountId>, now: Timestamp) -> Vec<LoginSummary> {
        let snapshot = self.snapshot();
        let is_wanted = |login: &&Login| {
            let is_theirs = of.is_none_or(|account| login.account == account);
            login.kind == LoginKind::Certificate && login.counts(now) && is_theirs
        };
        let summary = |login: &Login| LoginSummary {
            seen_at: self.0.seen.last(login.id).unwrap_or(login.since),
            login: login.clone(),
        };
        let mut certificates: Vec<_> = snapshot.logins().filter(is_wanted).map(summary).collect();
        certificates.sort_by_key(|summary| std::cmp::Reverse(summary.login.id));
        certificates
    }

    /// The login that this certificate (DER) is. Whose it is, and whether it counts still, is for the decision.
    pub fn login_by_certificate(&self, certificate: &[u8], now: Timestamp) -> Option<LoginId> {
        let snapshot = self.snapshot();
        let login =
            snapshot.login_by_digest(&hash(certificate)).filter(|login| login.kind == LoginKind::Certificate)?;
        let id = login.counts(now).then_some(login.id)?;
        self.login_seen(id, now);
        Some(id)
    }
}

fn hash(certificate: &[u8]) -> TokenDigest {
    TokenDigest(digest(&SHA256, certificate).as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

struct Made {
    /// DER.
    certificate: Vec<u8>,
    archive: Secret<Vec<u8>>,
    password: Secret<String>,
}

fn make(title: &str, now: Timestamp, until: Timestamp) -> Result<Made, MakeError> {
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = name(ISSUER);
    let issuer = Issuer::new(issuer, KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let shown: String = title.chars().filter(|sign| !sign.is_control()).take(MAX_SHOWN).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&shown);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(serial());
    params.not_before = wall(now.saturating_sub(SLACK).unwrap_or(now)).into();
    params.not_after = wall(until).into();
    let certificate = params.signed_by(&key, &issuer)?.der().to_vec();
    let password = password();
    let archive = archive(&shown, &certificate, &Secret::new(key.serialize_der()), &password)?;
    Ok(Made { certificate, archive, password })
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name.push(DnType::CommonName, common);
    name
}

/// Triple DES and SHA-1: what every system imports. The password alone keeps it, and cannot be guessed.
fn archive(
    alias: &str,
    certificate: &[u8],
    key: &Secret<Vec<u8>>,
    password: &Secret<String>,
) -> Result<Secret<Vec<u8>>, MakeError> {
    let certificate = p12_keystore::Certificate::from_der(certificate)?;
    let chain = PrivateKeyChain::new("1", PrivateKey::from_der(key.expose())?, [certificate]);
    let mut store = KeyStore::new();
    store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(chain));
    let writer =
        store.writer(password.expose()).encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc);
    let writer =
        writer.encryption_iterations(ITERATIONS).mac_algorithm(MacAlgorithm::HmacSha1).mac_iterations(ITERATIONS);
    Ok(Secret::new(writer.write()?))
}

/// To be typed on a phone.
fn password() -> Secret<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    let text = BASE32_NOPAD.encode(&bytes).to_lowercase();
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|start| &text[start..start + 4]).collect();
    Secret::new(groups.join("-"))
}

/// Positive, and so of 16 bytes at most (RFC 5280, 4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

fn wall(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.as_second()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p12_keystore::Pkcs12ImportPolicy;

    #[test]
    fn the_archive_opens_with_its_password_and_holds_what_counts() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let made = make("Anna's phone", now, now + SignedDuration::from_hours(1)).unwrap();
        let open = |password: &str| KeyStore::from_pkcs12(made.archive.expose(), password, Pkcs12ImportPolicy::Strict);
        let store = open(made.password.expose()).unwrap();
        let (_, chain) = store.private_key_chain().unwrap();
        assert_eq!(chain.certs()[0].as_der(), made.certificate);
        assert!(open("wrong").is_err());
        let issuer = client_issuer();
        assert!(made.certificate.windows(issuer.len()).any(|part| part == issuer), "the hint names the issuer");
        let other = make("Anna's phone", now, now + SignedDuration::from_hours(1)).unwrap();
        assert_ne!(other.password.expose(), made.password.expose());
        assert_ne!(hash(&other.certificate), hash(&made.certificate));
    }
}
