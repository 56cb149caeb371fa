//! Whether the certificate that browsers are shown is one that nobody but the gateway itself stands for. It is asked for
//! as a browser would ask, so that a proxy in front counts.

use super::{Finding, LOOK};
use crate::admin::authority::Authority;
use crate::admin::status::Status;
use doorward_core::site::{Address, Carrier, Endpoint, Host};
use jiff::{SignedDuration, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use webpki::{EndEntityCert, anchor_from_trusted_cert};

/// Enough for whoever looks once a year.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 397);

/// Nothing where no certificate is shown: why is told by others.
pub(super) async fn examine(status: &Status, own: Option<&Authority>) -> Option<Finding> {
    let addresses = status.addresses.iter().filter_map(|text| Address::parse(text).ok());
    let web = addresses.flat_map(|address| address.endpoints()).find(|endpoint| match endpoint.carrier {
        Carrier::Tls | Carrier::WebSocket => true,
        Carrier::Quic | Carrier::Memory | Carrier::Ssh => false,
    })?;
    let name = status.domain.clone().unwrap_or_else(|| web.host.to_string());
    let certificate = timeout(LOOK, shown(&web, &name)).await.ok()??;
    let parsed = EndEntityCert::try_from(&certificate).ok()?;
    let root = own.and_then(|own| own.der().ok()).map(CertificateDer::from);
    let own = root.as_ref().and_then(|root| anchor_from_trusted_cert(root).ok());
    Some(judge(if own.is_some_and(|own| own.subject.as_ref() == parsed.issuer()) {
        Issuer::Gateway
    } else if parsed.issuer() == parsed.subject() {
        Issuer::Itself
    } else {
        Issuer::Other
    }))
}

/// Who signed what browsers are shown.
enum Issuer {
    Gateway,
    Itself,
    Other,
}

fn judge(issuer: Issuer) -> Finding {
    match issuer {
        Issuer::Other => Finding::fine("certificate", "what browsers are shown is not self-signed"),
        Issuer::Gateway => Finding::note(
            "certificate",
            "what browsers are shown is signed by the gateway's own authority: they warn until they trust its root",
            "install the root where you browse (`doorward ca` says how), or give the gateway a domain that leads to it",
        ),
        Issuer::Itself => Finding::note(
            "certificate",
            "what browsers are shown is self-signed: they warn, and some apps refuse it",
            "get one for the domain and *.domain, as by certbot, and name its files in gateway.toml: [certificate] chain and key",
        ),
    }
}

/// What the owner should know about the gateway's own authority, beside who is shown it.
pub(super) fn about_own(own: &Authority, status: &Status, now: Timestamp) -> Option<Finding> {
    if own.not_after.duration_since(now) < RENEW_BEFORE {
        let what = format!("the root of the gateway's own authority ends {}", own.not_after.strftime("%F"));
        return Some(Finding::note("own authority", what, "`doorward ca renew` makes another, to be installed anew"));
    }
    let addresses = status.addresses.iter().filter_map(|text| Address::parse(text).ok());
    let uncovered = addresses.flat_map(|address| address.endpoints()).find_map(|endpoint| match endpoint.host {
        Host::Ip(ip) if !own.addresses.contains(&ip) => Some(ip),
        Host::Ip(_) | Host::Name(_) => None,
    })?;
    let what = format!("the root of the gateway's own authority does not count for {uncovered}, where it is now");
    Some(Finding::note("own authority", what, "`doorward ca renew` makes one that does, to be installed anew"))
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
