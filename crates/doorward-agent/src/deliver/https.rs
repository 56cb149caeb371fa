//! HTTPS targets: TLS from here to the target.

use super::{Failure, tcp};
use crate::target::Verify;
use ::aws_lc_rs::digest::{SHA256, digest};
use doorward_core::hop::HopFailure;
use doorward_core::site::Host;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::sync::{Arc, LazyLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is spoken inside, by its ALPN name (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

impl Spoken {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

pub(crate) async fn connect(
    host: &Host,
    port: u16,
    verify: Verify,
    spoken: Spoken,
) -> Result<TlsStream<TcpStream>, Failure> {
    let config = config(verify, spoken).map_err(|error| Failure::new(HopFailure::AgentRefused, error.to_string()))?;
    let name = match host {
        Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|error| Failure::new(HopFailure::AgentRefused, error.to_string()))?,
    };
    let socket = tcp::connect(host, port).await?;
    let secured = TlsConnector::from(config).connect(name, socket).await.map_err(|error| {
        let detail = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => NO_HTTP2.to_owned(),
            Some(_) | None => {
                format!("no TLS with it: {error}; `verify` in agent.toml says which certificate is right")
            }
        };
        Failure::new(HopFailure::TargetUnreachable, detail)
    })?;
    // HTTP/1.1 needs no agreement; it is what servers without ALPN speak.
    if spoken == Spoken::Http2 && secured.get_ref().1.alpn_protocol() != Some(spoken.alpn()) {
        return Err(Failure::new(HopFailure::TargetUnreachable, NO_HTTP2));
    }
    Ok(secured)
}

const NO_HTTP2: &str = "it does not agree to HTTP/2; for HTTP/1.1 its target is written https:// in agent.toml";

/// Reads the machine's roots once; who installs another one restarts the agent.
fn config(verify: Verify, spoken: Spoken) -> Result<Arc<ClientConfig>, Error> {
    static BY_ROOTS: LazyLock<Result<ClientConfig, Error>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    });
    if verify == Verify::System {
        return BY_ROOTS.clone().map(|config| speaking(config, spoken));
    }
    let verifier = Arc::new(Lenient { verify, provider: provider() });
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(speaking(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth(), spoken))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn speaking(mut config: ClientConfig, spoken: Spoken) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![spoken.alpn().to_vec()];
    Arc::new(config)
}

/// Takes one certificate, or any; signatures are checked either way.
#[derive(Debug)]
struct Lenient {
    verify: Verify,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_right = match self.verify {
            Verify::Pin(pin) => digest(&SHA256, certificate).as_ref() == pin.0,
            Verify::Off => true,
            Verify::System => false,
        };
        if is_right {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
