//! One request to a provider. Redirections are never followed: the discovery document says where things are.

use crate::settings::is_spoken_to;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

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

/// Why there is no answer, with where.
#[derive(Debug, Error)]
#[error("{url}: {why}")]
pub(crate) struct NoAnswer {
    url: String,
    why: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

pub(crate) enum Asked {
    Get,
    Form(String),
}

/// For everything together: name, connection, answer. Somebody waits in front of a browser.
const LIMIT: Duration = Duration::from_secs(10);
const LONGEST: usize = 512 * 1024;

impl Trust {
    fn roots(&self) -> Result<RootCertStore, TrustError> {
        let found = match self {
            Self::System => rustls_native_certs::load_native_certs().certs,
            Self::File(path) => {
                let refuse = |why: String| TrustError::File { path: path.clone(), why };
                let found = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
                found.collect::<Result<_, _>>().map_err(|error| refuse(error.to_string()))?
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found);
        if roots.is_empty() { Err(TrustError::Nobody) } else { Ok(roots) }
    }
}

pub(crate) async fn fetch(url: &str, trust: &Trust, asked: Asked, headers: HeaderMap) -> Result<Answer, NoAnswer> {
    let refuse = |why: String| NoAnswer { url: url.split('?').next().unwrap_or_default().to_owned(), why };
    let uri: Uri = url.parse().map_err(|_| refuse("it is no URL".into()))?;
    if !is_spoken_to(&uri) {
        return Err(refuse("it is not https".into()));
    }
    let answered = timeout(LIMIT, exchange(&uri, trust, asked, headers)).await;
    answered.map_err(|_| refuse(format!("no answer within {} s", LIMIT.as_secs())))?.map_err(refuse)
}

async fn exchange(uri: &Uri, trust: &Trust, asked: Asked, headers: HeaderMap) -> Result<Answer, String> {
    let is_https = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await.map_err(|error| format!("it is not reached: {error}"))?;
    if !is_https {
        return ask(uri, socket, asked, headers).await;
    }
    let roots = trust.roots().map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    ask(uri, shaken.map_err(|error| format!("no TLS: {error}"))?, asked, headers).await
}

async fn ask(
    uri: &Uri,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Answer, String> {
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(told)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (method, body) = match asked {
        Asked::Get => (Method::GET, String::new()),
        Asked::Form(form) => (Method::POST, form),
    };
    let mut request = Request::builder()
        .method(&method)
        .uri(uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
        .header(header::HOST, uri.authority().map(http::uri::Authority::as_str).unwrap_or_default())
        .header(header::USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json");
    if method == Method::POST {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers);
    let response = sender.send_request(request).await.map_err(told)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    Ok(Answer { status, body: body.to_bytes() })
}
