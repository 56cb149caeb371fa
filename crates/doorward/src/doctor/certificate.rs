//! Whether the certificate that browsers are shown is one that nobody but the gateway itself stands for. It is asked for
//! as a browser would ask, so that a proxy in front counts.

use super::{Finding, LOOK};
use crate::admin::status::Status;
use doorward_core::site::{Address, Carrier, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use webpki::EndEntityCert;

/// Nothing where no certificate is shown: why is told by others.
pub(super) async fn examine(status: &Status) -> Option<Finding> {
    let addresses = status.addresses.iter().filter_map(|text| Address::parse(text).ok());
    let web = addresses.flat_map(|address| address.endpoints()).find(|endpoint| match endpoint.carrier {
        Carrier::Tls | Carrier::WebSocket => true,
        Carrier::Quic | Carrier::Memory | Carrier::Ssh => false,
    })?;
    let name = status.domain.clone().unwrap_or_else(|| web.host.to_string());
    let certificate = timeout(LOOK, shown(&web, &name)).await.ok()??;
    let parsed = EndEntityCert::try_from(&certificate).ok()?;
    Some(judge(parsed.issuer() == parsed.subject()))
}

fn judge(is_self_signed: bool) -> Finding {
    if !is_self_signed {
        return Finding::fine("certificate", "what browsers are shown is not self-signed");
    }
    Finding::note(
        "certificate",
        "what browsers are shown is self-signed: they warn, and some apps refuse it",
        "get one for the domain and *.domain, as by certbot, and name its files in gateway.toml: [certificate] chain and key",
    )
}

/// The first certificate of the chain.
async fn shown(web: &Endpoint, name: &str) -> Option<CertificateDer<'static>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let onlooker = Arc::new(Onlooker { seen: Mutex::default(), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let mut config = config.dangerous().with_custom_certificate_verifier(onlooker.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let host = web.host.to_string();
    let socket = TcpStream::connect((host.trim_matches(['[', ']']), web.port)).await.ok()?;
    let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).ok()?;
    // It ends with a refusal: nothing is to be said to whoever answers.
    let _ = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    onlooker.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Looks at the certificate and trusts nobody.
#[derive(Debug)]
struct Onlooker {
    seen: Mutex<Option<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        Err(refusal())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refusal())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refusal())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refusal() -> Error {
    Error::General("it was only looked at".to_owned())
}
