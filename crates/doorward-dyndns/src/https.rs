//! One request over HTTPS, bounded in time and size. Redirects are not followed: they would take the secret along.

use crate::answer::{Answer, MINUTE, later, stopped};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// An `https` URL with a host. Its path and query may hold a token: they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("it is no URL")]
    Malformed,
    #[error("it does not begin with https://: the secret would travel in clear")]
    Scheme,
    #[error("a name or password in it would be seen by others: say them by themselves")]
    Credentials,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        if uri.scheme_str() != Some("https") {
            return Err(UrlError::Scheme);
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') { Err(UrlError::Credentials) } else { Ok(Self(uri)) }
    }

    fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(443)
    }

    /// The same with these pairs behind it, encoded.
    pub(crate) fn with_query(&self, pairs: &[(&str, String)]) -> Result<Self, UrlError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let joint = if self.0.query().is_some() { '&' } else { '?' };
        Self::parse(&format!("{}{joint}{query}", self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}/…", self.host(), self.port())
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system.
    #[default]
    System,
    /// Those in this PEM file alone.
    File(PathBuf),
}

#[derive(Debug, Error)]
pub enum TrustError {
    #[error("the certificates in {} cannot be read: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("this machine knows no certificate authorities: install the package ca-certificates")]
    Nobody,
}

impl Trust {
    fn roots(&self) -> Result<RootCertStore, TrustError> {
        let found = match self {
            Self::System => rustls_native_certs::load_native_certs().certs,
            Self::File(path) => read(path)?,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found);
        if roots.is_empty() { Err(TrustError::Nobody) } else { Ok(roots) }
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let refuse = |why: String| TrustError::File { path: path.to_owned(), why };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
    found.collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))
}

/// For all of it: name, connection, answer.
const LIMIT: Duration = Duration::from_secs(20);
/// An answer is a word, or some lines of JSON.
const LARGEST: usize = 64 * 1024;

/// Status and body; else what to do about it. `request` has no URI and no host yet.
pub(crate) async fn exchange(
    url: &Url,
    trust: &Trust,
    request: http::request::Builder,
    body: String,
) -> Result<(u16, String), Answer> {
    let talking = async {
        let authority = url.0.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let request = request
            .uri(url.0.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
            .header(header::HOST, authority)
            .header(header::CONNECTION, "close")
            // The protocol's authors ask for a name by which a program that misbehaves is found.
            .header(header::USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(|_| stopped("the request cannot be written: a header is malformed"))?;
        talk(url, trust, request).await
    };
    let late = || later(format!("no answer within {} s", LIMIT.as_secs()), MINUTE);
    timeout(LIMIT, talking).await.unwrap_or_else(|_| Err(late()))
}

async fn talk(url: &Url, trust: &Trust, request: Request<Full<Bytes>>) -> Result<(u16, String), Answer> {
    let on_the_way = |error: &dyn fmt::Display| later(format!("{url:?} is not reached: {error}"), MINUTE);
    let roots = trust.roots().map_err(|error| later(error.to_string(), MINUTE))?;
    let socket = TcpStream::connect((url.host(), url.port())).await.map_err(|error| on_the_way(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| on_the_way(&error))?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| stopped(error.to_string()))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    let shaken = TokioIo::new(shaken.map_err(|error| on_the_way(&error))?);
    let (mut sender, connection) = http1::handshake(shaken).await.map_err(|error| on_the_way(&error))?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| on_the_way(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|error| on_the_way(&error))?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_with_a_host_and_show_no_path() {
        let url = Url::parse("https://example.org/nic/update").unwrap();
        assert_eq!(format!("{url:?}"), "https://example.org:443/…");
        let asked = url.with_query(&[("hostname", "a b&c".to_owned())]).unwrap();
        assert_eq!(asked.0.path_and_query().unwrap().as_str(), "/nic/update?hostname=a+b%26c");
        for (text, error) in [
            ("http://example.org/", UrlError::Scheme),
            ("example.org/x", UrlError::Malformed),
            ("https://user:secret@example.org/", UrlError::Credentials),
            ("", UrlError::Malformed),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
