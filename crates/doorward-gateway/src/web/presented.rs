//! The certificate that a visitor was shown, and what it speaks for. Browsers send requests for one host over a
//! connection to another when its certificate covers both (RFC 9113, 9.1.1); for any other host they must ask anew.

use doorward_core::names::HostName;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Presented {
    asked_for: Option<HostName>,
    certificate: Option<Arc<CertifiedKey>>,
    visitors: Shown,
}

/// What the visitor showed in turn.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// It was not asked for.
    NotAsked,
    Nothing,
    /// Its key was proved to be there.
    Certificate(CertificateDer<'static>),
}

impl Presented {
    /// What this hello is about to be answered with.
    pub(crate) fn to(hello: ClientHello<'_>, config: &ServerConfig) -> Self {
        let asked_for = hello.server_name().and_then(|name| HostName::parse(name).ok());
        Self { asked_for, certificate: config.cert_resolver.resolve(hello), visitors: Shown::NotAsked }
    }

    /// The visitor was asked for a certificate.
    pub(crate) fn asked(self, shown: Option<&CertificateDer<'_>>) -> Self {
        let shown = shown.map(|shown| Shown::Certificate(shown.clone().into_owned()));
        Self { visitors: shown.unwrap_or(Shown::Nothing), ..self }
    }

    pub(crate) fn shown_in_turn(&self) -> &Shown {
        &self.visitors
    }

    /// The name asked for always is: whoever accepted the certificate accepted it for this.
    pub(crate) fn covers(&self, host: &HostName) -> bool {
        if self.asked_for.as_ref() == Some(host) {
            return true;
        }
        let Some(certificate) = self.certificate.as_ref().and_then(|key| key.cert.first()) else { return false };
        let Ok(name) = ServerName::try_from(host.as_str()) else { return false };
        webpki::EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
    }
}
