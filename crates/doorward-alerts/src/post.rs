//! Sending something to a URL that the owner wrote down. Redirections are never followed: they would lead to where
//! the owner did not say, perhaps into the gateway's own network.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Why something did not arrive.
#[derive(Debug, Error)]
pub(crate) enum AttemptError {
    /// It may be otherwise soon.
    #[error("{0}")]
    Later(String),
    /// It will be so the next time, too.
    #[error("{0}")]
    Never(String),
}

impl AttemptError {
    pub(crate) fn later(why: impl fmt::Display) -> Self {
        Self::Later(why.to_string())
    }
}

/// An http or https URL with a host. Its path and query may hold a token: they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("it is no URL")]
    Malformed,
    #[error("it begins neither with https:// nor with http://")]
    Scheme,
    #[error("a user name or password in it would be seen by others: name a file with a token instead")]
    Credentials,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) | None => return Err(UrlError::Scheme),
        }
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(UrlError::Malformed);
        }
        Ok(Self(uri))
    }

    fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}/…", self.0.scheme_str().unwrap_or_default(), self.host(), self.port())
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

/// For everything together: name, connection, answer.
const LIMIT: Duration = Duration::from_secs(15);

/// Sends it once. Whatever is 2xx counts as taken.
pub(crate) async fn post(
    url: &Url,
    trust: &Trust,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<(), AttemptError> {
    let sent = timeout(LIMIT, exchange(url, trust, headers, body)).await;
    let (status, location) =
        sent.map_err(|_| AttemptError::later(format!("no answer within {} s", LIMIT.as_secs())))??;
    judge(status, location)
}

fn judge(status: StatusCode, location: Option<String>) -> Result<(), AttemptError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => {
            let to = location.map(|host| format!(" to {host}")).unwrap_or_default();
            Err(AttemptError::Never(format!(
                "it answers {status} and leads elsewhere{to}, which is not followed: write down where it really is"
            )))
        }
        408 | 425 | 429 | 500..=599 => Err(AttemptError::later(format!("it answers {status}"))),
        _ => Err(AttemptError::Never(format!("it answers {status}"))),
    }
}

async fn exchange(
    url: &Url,
    trust: &Trust,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<(StatusCode, Option<String>), AttemptError> {
    let connecting = TcpStream::connect((url.host(), url.port())).await;
    let socket = connecting.map_err(|error| AttemptError::later(format!("{url:?} is not reached: {error}")))?;
    if !url.is_https() {
        return ask(url, socket, headers, body).await;
    }
    let roots = trust.roots().map_err(AttemptError::later)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(AttemptError::later)?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| AttemptError::Never(error.to_string()))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    ask(url, shaken.map_err(|error| AttemptError::later(format!("no TLS with {url:?}: {error}")))?, headers, body).await
}

async fn ask(
    url: &Url,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
) -> Result<(StatusCode, Option<String>), AttemptError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(AttemptError::later)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let authority = url.0.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url.0.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| AttemptError::Never(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(AttemptError::later)?;
    // Its body says nothing to us, and is not read.
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.and_then(|to| to.parse::<Uri>().ok()).and_then(|to| to.host().map(str::to_owned));
    Ok((response.status(), location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_with_a_host_and_show_no_path() {
        let url = Url::parse("https://example.org/hook?token=secret").unwrap();
        assert_eq!(format!("{url:?}"), "https://example.org:443/…");
        assert_eq!(Url::parse("http://[::1]:8080/x").unwrap().host(), "::1");
        for (text, error) in [
            ("ftp://example.org/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Malformed),
            ("example.org/hook", UrlError::Malformed),
            ("/hook", UrlError::Scheme),
            ("https://user:secret@example.org/", UrlError::Credentials),
            ("", UrlError::Malformed),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn answers_say_whether_to_try_again() {
        let is_later = |status: u16| match judge(StatusCode::from_u16(status).unwrap(), None) {
            Ok(()) => None,
            Err(AttemptError::Later(_)) => Some(true),
            Err(AttemptError::Never(_)) => Some(false),
        };
        for (status, expected) in [
            (200, None),
            (204, None),
            (301, Some(false)),
            (307, Some(false)),
            (400, Some(false)),
            (401, Some(false)),
            (404, Some(false)),
            (429, Some(true)),
            (500, Some(true)),
            (503, Some(true)),
        ] {
            assert_eq!(is_later(status), expected, "{status}");
        }
    }
}
