//! The certificate that browsers see. Links have their own, chosen by ALPN (`doorward_tunnel`).

use crate::settings::CertificateSource;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("{path}: {why}; it should hold PEM, as certbot and others write it")]
    File { path: PathBuf, why: String },
    #[error("the certificate and its key do not belong together or are not usable: {0}")]
    Unusable(#[from] rustls::Error),
    #[error("no certificate could be made for {names}: {why}")]
    NotMade { names: String, why: String },
}

/// The certificate as it is now. A new one counts from the next handshake on.
#[derive(Debug)]
pub(crate) struct WebCertificate {
    source: ArcSwap<CertificateSource>,
    current: ArcSwap<CertifiedKey>,
}

impl WebCertificate {
    pub(crate) fn new(source: CertificateSource) -> Result<Arc<Self>, CertificateError> {
        let current = ArcSwap::new(certified(&source)?);
        Ok(Arc::new(Self { source: ArcSwap::from_pointee(source), current }))
    }

    /// What the source has now. One of our own making stays while it is for the same names: browsers were told to
    /// trust it.
    pub(crate) fn renewed(&self, source: &CertificateSource) -> Result<Arc<CertifiedKey>, CertificateError> {
        match source {
            CertificateSource::Own { .. } if **self.source.load() == *source => Ok(self.current.load_full()),
            CertificateSource::Own { .. } | CertificateSource::Files { .. } => certified(source),
        }
    }

    pub(crate) fn take(&self, source: CertificateSource, renewed: Arc<CertifiedKey>) {
        self.source.store(Arc::new(source));
        self.current.store(renewed);
    }

    pub(crate) fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for WebCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certified(source: &CertificateSource) -> Result<Arc<CertifiedKey>, CertificateError> {
    let (chain, key) = match source {
        CertificateSource::Own { names } => self_signed(names)?,
        CertificateSource::Files { chain, key } => (read_chain(chain)?, read_key(key)?),
    };
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(names: &[String]) -> Result<Pair, CertificateError> {
    let not_made = |e: rcgen::Error| CertificateError::NotMade { names: names.join(", "), why: e.to_string() };
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(not_made)?;
    let certificate =
        rcgen::CertificateParams::new(names.to_vec()).and_then(|p| p.self_signed(&key)).map_err(not_made)?;
    Ok((vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
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
