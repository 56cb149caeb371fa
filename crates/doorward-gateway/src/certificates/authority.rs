//! An ACME server: how it is spoken to, and the account that it knows us by.

use super::settings::AuthoritySettings;
use bytes::Bytes;
use doorward_control::{Control, StoreError};
use doorward_core::Secret;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient,
    NewAccount,
};
use jiff::{SignedDuration, Timestamp};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(super) struct Authority {
    pub(super) settings: AuthoritySettings,
    contact: Vec<String>,
    wire: Arc<Wire>,
}

#[derive(Debug, ThisError)]
pub(super) enum AccountError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Acme(#[from] Error),
    #[error("the account that was kept cannot be read: {0}")]
    Strange(#[from] serde_json::Error),
    #[error("{0}")]
    Roots(String),
}

/// For one request and its answer.
const LIMIT: Duration = Duration::from_secs(30);
/// Chains of certificates are a few kilobytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// No authority is obeyed that asks for more patience than this.
const MAX_PATIENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Authority {
    pub(super) fn new(settings: AuthoritySettings, contact: Vec<String>) -> Self {
        Self { settings, contact, wire: Arc::default() }
    }

    pub(super) fn directory(&self) -> &str {
        &self.settings.terms.directory
    }

    /// How long it asked to be left alone since this was last looked at.
    pub(super) fn take_patience(&self) -> Option<Timestamp> {
        self.wire.not_until.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Our account there; made upon first use, kept in the store.
    pub(super) async fn account(&self, control: &Control) -> Result<Account, AccountError> {
        // Read anew each time: machines get new trusted authorities while they run.
        let builder = Account::builder_with_http(Box::new(self.wire.with_roots(self.roots().await?)));
        match control.acme_account(self.directory()).await? {
            Some(kept) => {
                let credentials: AccountCredentials = serde_json::from_slice(kept.expose())?;
                Ok(builder.from_credentials(credentials).await?)
            }
            None => self.register(builder, control).await,
        }
    }

    async fn register(&self, builder: AccountBuilder, control: &Control) -> Result<Account, AccountError> {
        let contact: Vec<_> = self.contact.iter().map(String::as_str).collect();
        let wish = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = self.settings.binding.as_ref();
        let binding = binding.map(|binding| ExternalAccountKey::new(binding.id.clone(), binding.key.expose()));
        let (account, credentials) = builder.create(&wish, self.directory().to_owned(), binding.as_ref()).await?;
        let text = Secret::new(serde_json::to_vec(&credentials)?);
        control.keep_acme_account(self.directory(), text, Timestamp::now()).await?;
        Ok(account)
    }

    async fn roots(&self) -> Result<RootCertStore, AccountError> {
        let path = self.settings.root.clone();
        let reading = tokio::task::spawn_blocking(move || match path {
            Some(path) => CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("{}: {error}", path.display())),
            None => Ok(rustls_native_certs::load_native_certs().certs),
        });
        let found = reading.await.unwrap_or_else(|error| Err(error.to_string())).map_err(AccountError::Roots)?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            let why = "this machine trusts no authority at all: install its package ca-certificates";
            return Err(AccountError::Roots(why.to_owned()));
        }
        Ok(roots)
    }
}

/// HTTPS for ACME: a connection for each request. An order takes a dozen of them, every two months.
#[derive(Default)]
struct Wire {
    not_until: Mutex<Option<Timestamp>>,
}

struct Trusting {
    wire: Arc<Wire>,
    tls: TlsConnector,
}

impl Wire {
    fn with_roots(self: &Arc<Self>, roots: RootCertStore) -> Trusting {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider speaks the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trusting { wire: self.clone(), tls: TlsConnector::from(Arc::new(config)) }
    }

    fn note_patience(&self, response: &Response<Bytes>) {
        let is_refusal = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(patience) = response.headers().get(RETRY_AFTER).filter(|_| is_refusal).and_then(read_patience) {
            let until = Timestamp::now().saturating_add(patience.min(MAX_PATIENCE)).unwrap_or(Timestamp::MAX);
            *self.not_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn read_patience(value: &HeaderValue) -> Option<SignedDuration> {
    let text = value.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(SignedDuration::from_secs(seconds)),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            Some(date.timestamp().duration_since(Timestamp::now()))
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Trusting {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let (wire, tls) = (self.wire.clone(), self.tls.clone());
        Box::pin(async move {
            let uri = request.uri().clone();
            let asked = timeout(LIMIT, ask(request, &tls)).await;
            let late = || WireError::Late(LIMIT.as_secs());
            let response = asked.map_err(|_| late()).flatten().map_err(|error| named(&uri, &error))?;
            wire.note_patience(&response);
            Ok(BytesResponse::from(response.map(Full::new)))
        })
    }
}

#[derive(Debug, ThisError)]
enum WireError {
    #[error("its address is not one of https")]
    NotHttps,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("it did not answer within {0} s")]
    Late(u64),
}

fn named(uri: &Uri, error: &WireError) -> Error {
    Error::Other(format!("{}: {error}", uri.authority().map_or("?", |a| a.as_str())).into())
}

async fn ask(mut request: Request<BodyWrapper<Bytes>>, tls: &TlsConnector) -> Result<Response<Bytes>, WireError> {
    let uri = request.uri().clone();
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or(WireError::NotHttps)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| WireError::NotHttps)?;
    let socket = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let secured = tls.connect(name, socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(secured)).await?;
    let named = HeaderValue::from_str(authority.as_str()).map_err(|_| WireError::NotHttps)?;
    request.headers_mut().insert(HOST, named);
    *request.uri_mut() = uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    let asking = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(WireError::Body)?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => { ended?; asking.await }
    }
}
