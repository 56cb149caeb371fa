//! An authority of the gateway's own, for every name that nobody else certifies. People who install its root see no
//! warnings; and whoever steals its key can harm nobody else by it, since the root itself says for which names it counts
//! (RFC 5280, 4.2.1.10). Leaves live for weeks, are made when they are asked for and never stored.

pub(crate) mod keeper;

use doorward_control::OwnAuthority;
use doorward_core::Secret;
use doorward_core::certificates::Scope;
use doorward_core::names::HostName;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tracing::error;

#[derive(Debug, Error)]
pub(crate) enum SignError {
    #[error("{0}")]
    NotMade(#[from] rcgen::Error),
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
}

/// Signs with the root, for those who connect.
pub(crate) struct Signer {
    authority: Arc<OwnAuthority>,
    issuer: Issuer<'static, KeyPair>,
    /// One key for all leaves, new at each start.
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    leaves: Mutex<HashMap<Option<HostName>, Leaf>>,
}

struct Leaf {
    certified: Arc<CertifiedKey>,
    made_at: Timestamp,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3652);
/// Apple takes no more than 825 days, even from authorities that people install (support.apple.com/103769).
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);
const LEAF_RENEWED_AFTER: SignedDuration = SignedDuration::from_hours(24 * 20);
/// Visitors' clocks differ.
const SLACK: SignedDuration = DAY;
/// Strangers may ask for any name below the domain; each leaf takes about a kilobyte.
const MAX_LEAVES: usize = 1000;
/// Of a name in a certificate's subject (RFC 5280, appendix A, ub-common-name), with room for what stands around it.
const MAX_DOMAIN_SHOWN: usize = 40;

/// A new root for this scope.
pub(super) fn make(scope: Scope, now: Timestamp) -> Result<OwnAuthority, rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let (not_before, not_after) = (before(now, SLACK), after(now, ROOT_LIFE));
    let mut params = CertificateParams::default();
    params.distinguished_name = root_name(&scope.domain, &params.key_identifier(&key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(constraints(&scope));
    params.serial_number = Some(serial());
    set_validity(&mut params, not_before, not_after);
    let certificate = params.self_signed(&key)?.der().to_vec();
    Ok(OwnAuthority { scope, certificate, key: Secret::new(key.serialize_der()), not_before, not_after })
}

/// Two roots of one domain must not have the same name: verifiers would take one for the other.
fn root_name(domain: &HostName, key_id: &[u8]) -> DistinguishedName {
    let id: String = key_id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let shown: String = domain.as_str().chars().take(MAX_DOMAIN_SHOWN).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Doorward");
    name.push(DnType::CommonName, format!("Doorward {shown} {id}"));
    name
}

fn constraints(scope: &Scope) -> NameConstraints {
    let host = std::iter::once(GeneralSubtree::DnsName(scope.domain.to_string()));
    let single =
        |ip: &IpAddr| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*ip, if ip.is_ipv4() { 32 } else { 128 }));
    let permitted_subtrees = host.chain(scope.addresses.iter().map(single)).collect();
    // A kind of name of which none is permitted is not restricted at all.
    let every = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let every = every.map(|ip| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, 0)));
    let excluded_subtrees = if scope.addresses.is_empty() { every.to_vec() } else { Vec::new() };
    NameConstraints { permitted_subtrees, excluded_subtrees }
}

impl Signer {
    pub(super) fn new(authority: Arc<OwnAuthority>) -> Result<Self, SignError> {
        let root_key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(authority.key.expose().as_slice()))?;
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(authority.certificate.as_slice()), root_key)?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let signing = any_ecdsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
        Ok(Self { authority, issuer, key, signing, leaves: Mutex::default() })
    }

    pub(super) fn domain(&self) -> &HostName {
        &self.authority.scope.domain
    }

    /// What to show whoever asks for this name, known or not: a leaf tells nobody which names there are.
    pub(crate) fn leaf(&self, host: Option<&HostName>, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        let asked = self.asked(host);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&asked).filter(|leaf| leaf.is_fresh(now)) {
            return Some(leaf.certified.clone());
        }
        match self.sign(asked.as_ref(), now) {
            Ok(certified) => {
                if leaves.len() >= MAX_LEAVES {
                    leaves.clear();
                }
                leaves.insert(asked, Leaf { certified: certified.clone(), made_at: now });
                Some(certified)
            }
            Err(error) => {
                error!(%error, "the gateway's own authority could not sign");
                None
            }
        }
    }

    /// The name that a leaf of its own is needed for. All directly below the domain share one, by its wildcard. `None`: by address, or nothing that the root counts for.
    fn asked(&self, host: Option<&HostName>) -> Option<HostName> {
        let domain = &self.authority.scope.domain;
        let host = host.filter(|host| self.authority.scope.covers(host))?;
        let is_directly_below = host.as_str().split_once('.').is_some_and(|(_, rest)| rest == domain.as_str());
        Some(if is_directly_below && self.has_wildcard() { domain.clone() } else { host.clone() })
    }

    /// Nobody takes one that stands for a whole top-level domain.
    fn has_wildcard(&self) -> bool {
        self.domain().as_str().contains('.')
    }

    fn sign(&self, asked: Option<&HostName>, now: Timestamp) -> Result<Arc<CertifiedKey>, SignError> {
        let OwnAuthority { scope, not_before, not_after, .. } = &*self.authority;
        let mut names = vec![scope.domain.to_string()];
        names.extend(self.has_wildcard().then(|| format!("*.{}", scope.domain)));
        match asked {
            Some(host) if *host != scope.domain => names.push(host.to_string()),
            Some(_) => {}
            None => names.extend(scope.addresses.iter().map(ToString::to_string)),
        }
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Doorward");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        let until = after(now.max(*not_before), LEAF_LIFE).min(*not_after);
        set_validity(&mut params, before(now, SLACK).max(*not_before), until);
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], self.signing.clone())))
    }
}

impl Leaf {
    /// A clock that was set back makes a leaf of the future.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.made_at);
        age > -SLACK && age < LEAF_RENEWED_AFTER
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("scope", &self.authority.scope).finish_non_exhaustive()
    }
}

/// Firefox refuses two certificates of one issuer with the same number.
fn serial() -> SerialNumber {
    // Positive, and so of 16 bytes at most (RFC 5280, 4.1.2.2).
    let number = rand::rng().random::<u128>() >> 1;
    SerialNumber::from_slice(&number.to_be_bytes())
}

fn before(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_sub(span).unwrap_or(Timestamp::MIN)
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}

fn set_validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    (params.not_before, params.not_after) = (epoch + since_epoch(from), epoch + since_epoch(until));
}

#[cfg(test)]
mod tests;
