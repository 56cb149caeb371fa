//! The certificates that browsers see. Links have their own, chosen by ALPN (`doorward_tunnel`).

mod authority;
pub(crate) mod challenges;
mod client;
mod dns;
mod issuer;
mod order;
pub(crate) mod own;
mod records;
pub(crate) mod resolver;
mod settings;
mod windows;

pub(crate) use dns::responder::Responder;
pub(crate) use issuer::Issuer;
pub use records::{DnsRecord, needed_records};
pub use settings::{
    AccountBinding, AuthoritySettings, DnsSettings, HookSettings, IssuingSettings, ResponderSettings, TsigHash,
    UpdateSettings, Way,
};

use crate::settings::CertificateSource;
use authority::Authority;
use challenges::Challenges;
use dns::Dns;
use dns::lookup::Lookup;
use dns::responder::Records;
use doorward_control::Control;
use doorward_core::certificates::Wishes;
use order::Orders;
pub use own::keeper::KeepError;
use records::Eyes;
use resolver::{Standing, Veiled, WebCertificates};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("{path}: {why}; it should hold PEM, as certbot and others write it")]
    File { path: PathBuf, why: String },
    #[error("the certificate and its key do not belong together or are not usable: {0}")]
    Unusable(#[from] rustls::Error),
    #[error(transparent)]
    Own(#[from] KeepError),
    #[error("whether DNS leads here cannot be found out: {0}")]
    Lookup(String),
    #[error("the DNS responder cannot be opened on {address}: {source}")]
    Responder { address: SocketAddr, source: std::io::Error },
}

/// How the gateway speaks TLS with visitors.
#[derive(Clone)]
pub(crate) struct WebTls {
    pub(crate) usual: Arc<ServerConfig>,
    /// The same, where a certificate of the visitor's is asked for.
    pub(crate) asking: Arc<ServerConfig>,
    /// The same as `usual`, but as if it was asked for a name that is nobody's.
    pub(crate) veiled: Arc<ServerConfig>,
}

impl WebTls {
    pub(crate) fn new(certificates: &Arc<WebCertificates>) -> Result<Self, CertificateError> {
        let usual = web_config(certificates.clone(), WebPkiClientVerifier::no_client_auth())?;
        let asking = web_config(certificates.clone(), Arc::new(client::Asking::new()))?;
        let veiled = web_config(Arc::new(Veiled(certificates.clone())), WebPkiClientVerifier::no_client_auth())?;
        Ok(Self { usual, asking, veiled })
    }
}

/// TLS 1.2 and 1.3 with what rustls offers: forward secrecy and AEAD throughout.
fn web_config(
    certificates: Arc<dyn ResolvesServerCert>,
    visitors: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_client_cert_verifier(visitors)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // All are good; auditors want to see one order.
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificate in the owner's files, if there are such.
pub(crate) fn of_files(source: &CertificateSource) -> Result<Option<Arc<Standing>>, CertificateError> {
    match source {
        CertificateSource::Own(_) => Ok(None),
        CertificateSource::Files { chain, key } => {
            let certified = CertifiedKey::from_der(read_chain(chain)?, read_key(key)?, &provider())?;
            Ok(Some(Arc::new(Standing::of_files(certified))))
        }
    }
}

/// What orders certificates, and the name server that it may need.
pub(crate) fn issuing(
    settings: &IssuingSettings,
    control: &Control,
    challenges: &Arc<Challenges>,
) -> Result<(Issuer, Option<Responder>), CertificateError> {
    let lookup = Lookup::new(&settings.resolvers).map_err(|error| CertificateError::Lookup(error.to_string()))?;
    let records = Arc::<Records>::default();
    let responder = match &settings.dns {
        Some(DnsSettings::Responder(responder)) => {
            let opened = Responder::open(responder, records.clone());
            Some(opened.map_err(|(address, source)| CertificateError::Responder { address, source })?)
        }
        Some(DnsSettings::Update(_) | DnsSettings::Hook(_)) | None => None,
    };
    let dns = settings.dns.clone().map(|dns| Arc::new(Dns::new(dns, lookup.clone(), records)));
    let authority = |authority: &AuthoritySettings| Authority::new(authority.clone(), settings.contact.clone());
    let issuer = Issuer {
        control: control.clone(),
        orders: Orders {
            control: control.clone(),
            challenges: challenges.clone(),
            dns: dns.clone(),
            ways: settings.ways.clone(),
        },
        authorities: settings.authorities.iter().map(authority).collect(),
        wishes: Wishes {
            // It may change: the order loop asks again and again.
            domain: None,
            wildcard: settings.dns.is_some(),
            addresses: settings.addresses.clone(),
            reserved_names: settings.reserved_names,
        },
        eyes: Eyes::new(control.clone(), lookup, settings.public.clone(), challenges.clone()),
        dns,
        tempo: settings.tempo,
        look_again: settings.look_again,
        seen: Default::default(),
    };
    Ok((issuer, responder))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let file = |why: String| CertificateError::File { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| file(e.to_string()))?;
    let chain: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| file(e.to_string()))?;
    if chain.is_empty() { Err(file("there is no certificate in it".into())) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| CertificateError::File { path: path.to_owned(), why: e.to_string() })
}
