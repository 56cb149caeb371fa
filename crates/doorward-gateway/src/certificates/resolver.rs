//! Which certificate a browser sees, by the name it asks for: the owner's files where they cover it, else one that was
//! ordered, else whatever there is.

use super::challenges::Challenges;
use super::own::Signer;
use super::{CertificateError, of_files};
use crate::settings::CertificateSource;
use arc_swap::{ArcSwap, ArcSwapOption};
use doorward_control::{Certificate, Shelf};
use doorward_core::certificates::CertificateName;
use doorward_core::names::HostName;
use jiff::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug)]
pub(crate) struct WebCertificates {
    pub(crate) challenges: Arc<Challenges>,
    source: watch::Sender<CertificateSource>,
    /// For names that have no other. None where nobody comes by HTTPS.
    standing: ArcSwapOption<Standing>,
    ordered: ArcSwap<Ordered>,
}

#[derive(Debug)]
pub(crate) enum Standing {
    Files(Files),
    Own(Box<Signer>),
}

/// What the settings name.
#[derive(Debug)]
pub(crate) struct Files {
    key: Arc<CertifiedKey>,
    names: Vec<CertificateName>,
    /// Somebody else signed it.
    is_issued: bool,
}

#[derive(Debug, Default)]
struct Ordered {
    hosts: HashMap<HostName, Entry>,
    below: HashMap<HostName, Entry>,
    address: Option<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Arc<CertifiedKey>,
    until: Timestamp,
}

impl WebCertificates {
    pub(crate) fn new(source: CertificateSource, shelf: &Shelf) -> Result<Self, CertificateError> {
        let standing = ArcSwapOption::new(of_files(&source)?);
        let (source, ordered) = (watch::Sender::new(source), ArcSwap::from_pointee(Ordered::of(shelf)));
        Ok(Self { challenges: Arc::default(), source, standing, ordered })
    }

    /// It counts from the next handshake on. `files`: what the source has now, if it is files. An authority of our own
    /// is put in its place by whoever keeps it; until then all stays as it is.
    pub(crate) fn take(&self, source: CertificateSource, files: Option<Arc<Standing>>) {
        self.source.send_modify(|current| {
            if let Some(files) = files {
                self.standing.store(Some(files));
            }
            *current = source;
        });
    }

    pub(crate) fn sources(&self) -> watch::Receiver<CertificateSource> {
        self.source.subscribe()
    }

    /// Signs for whoever has no other certificate, from the next handshake on, unless something else is wanted by now.
    pub(crate) fn sign_with(&self, signer: Signer) {
        // Held, so that nothing else is taken meanwhile.
        let source = self.source.borrow();
        match &*source {
            CertificateSource::Own(scope) if scope.domain == *signer.domain() => {
                self.standing.store(Some(Arc::new(Standing::Own(Box::new(signer)))));
            }
            CertificateSource::Own(_) | CertificateSource::Files { .. } => {}
        }
    }

    /// Uses what is ordered as soon as it is there. Connections that are open go on as they are.
    pub(crate) async fn follow(self: Arc<Self>, mut shelf: watch::Receiver<Shelf>) {
        while shelf.changed().await.is_ok() {
            let ordered = Ordered::of(&shelf.borrow_and_update());
            self.ordered.store(Arc::new(ordered));
        }
    }

    /// Whether browsers that ask for this name see a certificate of somebody they may trust. Whether they do is known
    /// to them alone, and those that do not ignore what hangs on it (RFC 6797, 8.1).
    pub(crate) fn is_issued_for(&self, host: &HostName) -> bool {
        let standing = self.standing.load();
        standing.as_ref().is_some_and(|standing| standing.is_issued_for(host))
            || self.ordered.load().find(host).is_some()
    }

    fn choose(&self, host: Option<&HostName>) -> Option<Arc<CertifiedKey>> {
        let (standing, ordered) = (self.standing.load(), self.ordered.load());
        let found = match host {
            Some(host) if standing.as_ref().is_some_and(|standing| standing.is_issued_for(host)) => None,
            Some(host) => ordered.find(host),
            // Whoever asks by address names nothing.
            None => ordered.address.as_ref(),
        };
        match found {
            Some(entry) => Some(entry.key.clone()),
            None => standing.as_ref()?.key(host),
        }
    }
}

impl ResolvesServerCert for WebCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().and_then(|name| HostName::parse(name).ok());
        self.choose(host.as_ref())
    }
}

/// For a name that shall look like one that is nobody's.
#[derive(Debug)]
pub(crate) struct Veiled(pub(crate) Arc<WebCertificates>);

impl ResolvesServerCert for Veiled {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().and_then(|name| HostName::parse(name).ok());
        self.0.choose(host.and_then(|host| nobodys_beside(&host)).as_ref())
    }
}

/// A name below the same one that no service is called by.
pub(crate) fn nobodys_beside(host: &HostName) -> Option<HostName> {
    let (_, parent) = host.as_str().split_once('.')?;
    HostName::parse(&format!("nobody-is-here.{parent}")).ok()
}

impl Standing {
    pub(super) fn of_files(key: CertifiedKey) -> Self {
        let (names, is_issued) = key.cert.first().map(read).unwrap_or_default();
        Self::Files(Files { key: Arc::new(key), names, is_issued })
    }

    /// Whether somebody else stands for this name. Our own authority is trusted by few, and HSTS would leave the
    /// others no way in.
    fn is_issued_for(&self, host: &HostName) -> bool {
        match self {
            Self::Files(files) => files.is_issued && files.names.iter().any(|name| name.covers(host)),
            Self::Own(_) => false,
        }
    }

    fn key(&self, host: Option<&HostName>) -> Option<Arc<CertifiedKey>> {
        match self {
            Self::Files(files) => Some(files.key.clone()),
            Self::Own(signer) => signer.leaf(host, Timestamp::now()),
        }
    }
}

impl Ordered {
    fn of(shelf: &Shelf) -> Self {
        let mut ordered = Self::default();
        for certificate in shelf.iter() {
            match certified(certificate) {
                Ok(key) => ordered.put(certificate, &Entry { key, until: certificate.held.not_after }),
                Err(error) => error!(names = %certificate.held.names, %error, "a certificate cannot be used"),
            }
        }
        ordered
    }

    fn put(&mut self, certificate: &Certificate, entry: &Entry) {
        for name in certificate.held.names.iter() {
            match name {
                CertificateName::Host(host) => drop(self.hosts.insert(host.clone(), entry.clone())),
                CertificateName::Below(parent) => drop(self.below.insert(parent.clone(), entry.clone())),
                CertificateName::Ip(_) => self.address = Some(entry.clone()),
            }
        }
    }

    /// Of two that cover the name, the one that is good for longer.
    fn find(&self, host: &HostName) -> Option<&Entry> {
        let parent = host.as_str().split_once('.').and_then(|(_, rest)| HostName::parse(rest).ok());
        let below = parent.and_then(|parent| self.below.get(&parent));
        self.hosts.get(host).into_iter().chain(below).max_by_key(|entry| entry.until)
    }
}

/// As TLS wants it.
pub(super) fn certified(certificate: &Certificate) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivatePkcs8KeyDer::from(certificate.key.expose().clone()).into();
    // Refuses a key that does not belong to the certificate.
    let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider());
    certified.map(Arc::new).map_err(|error| error.to_string())
}

/// The names in a certificate, and whether somebody else signed it.
fn read(certificate: &CertificateDer<'_>) -> (Vec<CertificateName>, bool) {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Default::default() };
    let is_issued = certificate.subject() != certificate.issuer();
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => match name.strip_prefix("*.") {
            Some(parent) => HostName::parse(parent).ok().map(CertificateName::Below),
            None => HostName::parse(name).ok().map(CertificateName::Host),
        },
        _ => None,
    };
    let names = alternatives.map(|found| found.value.general_names.iter().filter_map(name).collect());
    (names.unwrap_or_default(), is_issued)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::Secret;
    use doorward_core::certificates::{Held, Names, Scope};
    use rcgen::{CertificateParams, Issuer, KeyPair};

    fn made(names: &str, days: i64, is_issued: bool) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let certificate = if is_issued {
            let authority_key = KeyPair::generate().unwrap();
            let mut authority = CertificateParams::new([]).unwrap();
            authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
            params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap()
        } else {
            params.self_signed(&key).unwrap()
        };
        let now = Timestamp::UNIX_EPOCH;
        let not_after = now + jiff::SignedDuration::from_hours(24 * days);
        Certificate {
            held: Held { names: Names::parse(names).unwrap(), not_before: now, not_after },
            directory: String::new(),
            chain: certificate.pem(),
            key: Secret::new(key.serialize_der()),
        }
    }

    fn of(standing: &Certificate, ordered: Vec<Certificate>) -> WebCertificates {
        let source = CertificateSource::Own(Scope::parse("gw.net").unwrap());
        let shelf = Arc::new(ordered.into_iter().map(Arc::new).collect());
        let certificates = WebCertificates::new(source.clone(), &shelf).unwrap();
        let key = CertifiedKey::clone(&certified(standing).unwrap());
        certificates.take(source, Some(Arc::new(Standing::of_files(key))));
        certificates
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).unwrap()
    }

    #[test]
    fn the_certificate_that_covers_the_name_is_shown_and_the_standing_one_to_everybody_else() {
        let standing = made("gw.net,*.gw.net", 1, false);
        let ordered = [made("gw.net", 10, true), made("a.gw.net", 10, true), made("192.0.2.1", 10, true)];
        let keys: Vec<_> = ordered.iter().map(|c| certified(c).unwrap().cert.clone()).collect();
        let certificates = of(&standing, ordered.into());
        for (name, expected) in [("gw.net", 0), ("a.gw.net", 1)] {
            assert_eq!(certificates.choose(Some(&host(name))).unwrap().cert, keys[expected], "{name}");
            assert!(certificates.is_issued_for(&host(name)), "{name}");
        }
        assert_eq!(certificates.choose(None).unwrap().cert, keys[2]);
        let own = certified(&standing).unwrap().cert.clone();
        for name in ["b.gw.net", "x.a.gw.net", "elsewhere.net"] {
            assert_eq!(certificates.choose(Some(&host(name))).unwrap().cert, own, "{name}");
            assert!(!certificates.is_issued_for(&host(name)), "{name}");
        }
    }

    #[test]
    fn whoever_may_not_know_of_a_name_is_shown_what_nobodys_name_beside_it_has() {
        let standing = made("gw.net,*.gw.net", 1, false);
        let certificates = of(&standing, vec![made("portal.gw.net", 10, true)]);
        let beside = nobodys_beside(&host("portal.gw.net")).unwrap();
        assert_eq!(certificates.choose(Some(&beside)).unwrap().cert, certified(&standing).unwrap().cert);
        assert_ne!(certificates.choose(Some(&host("portal.gw.net"))).unwrap().cert, certified(&standing).unwrap().cert);
    }

    #[test]
    fn of_two_that_cover_a_name_the_one_that_lasts_longer_is_shown() {
        let ordered = [made("a.gw.net", 10, true), made("gw.net,*.gw.net", 20, true)];
        let longer = certified(&ordered[1]).unwrap().cert.clone();
        let certificates = of(&made("gw.net", 1, false), ordered.into());
        assert_eq!(certificates.choose(Some(&host("a.gw.net"))).unwrap().cert, longer);
    }

    #[test]
    fn the_owners_own_files_win_where_they_cover_the_name() {
        let standing = made("gw.net,*.gw.net", 1, true);
        let own = certified(&standing).unwrap().cert.clone();
        let certificates = of(&standing, vec![made("gw.net", 10, true), made("else.net", 10, true)]);
        assert_eq!(certificates.choose(Some(&host("gw.net"))).unwrap().cert, own);
        assert_ne!(certificates.choose(Some(&host("else.net"))).unwrap().cert, own);
        assert!(certificates.is_issued_for(&host("x.gw.net")) && !certificates.is_issued_for(&host("gw.org")));
    }
}
