//! TLS as links use it: 1.3 only, one application protocol, the gateway authenticated by a pinned site key, the
//! agent not by TLS at all (it signs the exporter afterwards, so that browsers can share the port).

use crate::identity::{NODE_NAME, SiteIdentity, sha256};
use crate::messages::ALPN;
use doorward_core::site::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Any instant inside the fixed validity of our certificates: what the device's clock says does not matter.
const NOMINAL_TIME: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn server_config(identity: &SiteIdentity) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.node_key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

pub(crate) fn client_config(pinned: &[Fingerprint]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = PinnedSite { pinned: pinned.to_vec(), algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    Ok(config)
}

/// The name that rustls wants for a server; never sent (SNI is off) and never compared.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::DnsName(rustls_pki_types::DnsName::try_from_str(NODE_NAME).expect("a constant DNS name"))
}

/// Accepts a chain `node, site` whose site key is pinned and signed the node. Names and dates are not looked at.
#[derive(Debug)]
struct PinnedSite {
    pinned: Vec<Fingerprint>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedSite {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = EndEntityCert::try_from(certificate) else { return false };
        let fingerprint = Fingerprint(sha256(&parsed.subject_public_key_info()));
        self.pinned.contains(&fingerprint)
    }
}

impl ServerCertVerifier for PinnedSite {
    fn verify_server_cert(
        &self,
        node: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let site = intermediates.iter().find(|c| self.is_pinned(c)).ok_or_else(unknown)?;
        let anchor = anchor_from_trusted_cert(site).map_err(|_| unknown())?;
        EndEntityCert::try_from(node)
            .and_then(|node| {
                let usage = KeyUsage::server_auth();
                node.verify_for_usage(self.algorithms.all, &[anchor], &[], NOMINAL_TIME, usage, None, None).map(|_| ())
            })
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("links speak TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    fn site() -> SiteIdentity {
        SiteIdentity::issue(&DeviceKey::generate().unwrap().1).unwrap()
    }

    async fn connects(gateway: &SiteIdentity, pinned: &[Fingerprint]) -> bool {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let acceptor = TlsAcceptor::from(Arc::new(server_config(gateway).unwrap()));
        let accepting = tokio::spawn(async move { acceptor.accept(far).await.is_ok() });
        let connector = TlsConnector::from(Arc::new(client_config(pinned).unwrap()));
        let connected = connector.connect(server_name(), near).await.is_ok();
        let _ = accepting.await;
        connected
    }

    #[tokio::test]
    async fn only_the_pinned_site_is_trusted() {
        let (ours, theirs) = (site(), site());
        assert!(connects(&ours, &[ours.fingerprint()]).await);
        assert!(connects(&ours, &[theirs.fingerprint(), ours.fingerprint()]).await);
        assert!(!connects(&theirs, &[ours.fingerprint()]).await);
        assert!(!connects(&ours, &[]).await);
    }

    #[tokio::test]
    async fn showing_the_pinned_certificate_is_not_enough_to_be_it() {
        let (ours, theirs) = (site(), site());
        let mut stolen = site();
        stolen.chain = vec![theirs.chain[0].clone(), ours.chain[1].clone()];
        stolen.node_key = theirs.node_key.clone_key();
        assert!(!connects(&stolen, &[ours.fingerprint()]).await);
    }
}
