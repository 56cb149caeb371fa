//! Asking the gateway: over its unix socket, or at its portal with a token.

use super::portal::{Portal, Stream};
use crate::operations::SOCKET;
use crate::paths;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::CertificateError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The owner's side of the socket.
#[derive(Clone, Debug)]
pub struct Owner {
    directory: PathBuf,
    limit: Duration,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Socket,
    Portal(Portal),
    /// The login that was kept cannot be used.
    None(String),
}

/// What the gateway answered.
#[derive(Debug)]
pub struct Answer(String);

#[derive(Debug, Error)]
pub enum AskError {
    #[error(
        "no gateway runs with the data directory {} (nothing answers at {}).\nStart it with `doorward serve`, or say \
         with --data where the running one keeps its data.{hint}",
        directory.display(), socket.display()
    )]
    NoGateway { directory: PathBuf, socket: PathBuf, hint: String },
    #[error("{} belongs to the user {user}: run this as that user, with `sudo -u {user} doorward …`", path.display())]
    NotAllowed { path: PathBuf, user: String },
    #[error("the gateway's socket {} cannot be used: {source}", socket.display())]
    Socket { socket: PathBuf, source: io::Error },
    #[error("the gateway did not answer within {} s; its log may say why", after.as_secs())]
    Silent { after: Duration },
    #[error("the portal {portal} cannot be reached: {source}{}", remedy(source))]
    Unreachable { portal: String, source: io::Error },
    #[error("the portal {portal} does not take the token any more: `doorward login {portal}` with another one")]
    LoggedOut { portal: String },
    #[error("{0}")]
    Login(String),
    /// It says why itself.
    #[error("{what}{}", remedy.as_ref().map(|remedy| format!(" ({remedy})")).unwrap_or_default())]
    Refused { status: StatusCode, what: String, remedy: Option<String> },
    #[error("the gateway answered something unexpected ({0}): is it of another version than this program?")]
    Strange(String),
}

/// Of what the portal's certificate lacks; nothing for what is no matter of certificates.
fn remedy(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            ".\nIf the gateway is its own authority, give its root certificate with --ca: `doorward ca --pem` there prints it"
        }
        Some(_) | None => "",
    }
}

const LIMIT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 64 * 1024 * 1024;

impl Owner {
    /// `directory`: the gateway's data directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // For messages; a path that cannot be made absolute is said as it is.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        Self { directory, limit: LIMIT, way: Way::Socket }
    }

    /// A gateway elsewhere, as whoever the token is of.
    pub fn at(portal: Portal) -> Self {
        Self { way: Way::Portal(portal), ..Self::new(paths::gateway_directory()) }
    }

    /// Every question is answered with why none can be asked.
    pub fn without(why: String) -> Self {
        Self { way: Way::None(why), ..Self::new(paths::gateway_directory()) }
    }

    /// Waits this long for an answer.
    #[must_use]
    pub fn patient(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    pub async fn get(&self, path: &str) -> Result<Answer, AskError> {
        self.ask(Method::GET, path, None).await
    }

    /// `path` from `/api/v1` on; see `segment` for names in it.
    pub async fn ask(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> Result<Answer, AskError> {
        match timeout(self.limit, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Silent { after: self.limit }),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<serde_json::Value>) -> Result<Answer, AskError> {
        let strange = |error: &dyn std::fmt::Display| AskError::Strange(error.to_string());
        let mut head = Request::builder().method(method).uri(format!("/api/v1{path}"));
        head = head.header(header::CONTENT_TYPE, "application/json");
        let stream: Box<dyn Stream> = match &self.way {
            Way::Socket => {
                head = head.header(header::HOST, "localhost");
                Box::new(UnixStream::connect(self.socket()).await.map_err(|source| self.unreachable(source))?)
            }
            Way::Portal(portal) => {
                let authorization = portal.authorization();
                head = head.header(header::HOST, portal.authority());
                head = head.header(header::AUTHORIZATION, authorization.expose());
                portal.connect().await?
            }
            Way::None(why) => return Err(AskError::Login(why.clone())),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| strange(&e))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = head.body(Full::new(body)).map_err(|e| strange(&e))?;
        let response = sender.send_request(request).await.map_err(|e| strange(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| strange(&e))?;
        let text = String::from_utf8(body.to_bytes().to_vec()).map_err(|e| strange(&e))?;
        match &self.way {
            Way::Portal(portal) if status == StatusCode::UNAUTHORIZED => {
                Err(AskError::LoggedOut { portal: portal.address() })
            }
            Way::Socket | Way::Portal(_) | Way::None(_) if status.is_success() => Ok(Answer(text)),
            Way::Socket | Way::Portal(_) | Way::None(_) => Err(refusal(status, &text)),
        }
    }

    /// What keeps us from the socket, in words that help.
    fn unreachable(&self, source: io::Error) -> AskError {
        let (directory, socket) = (self.directory.clone(), self.socket());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NoGateway { hint: elsewhere(&directory), directory, socket }
            }
            io::ErrorKind::PermissionDenied => {
                // A directory that cannot be entered hides the socket, but not its own owner.
                let path = if std::fs::symlink_metadata(&socket).is_ok() { socket } else { directory };
                AskError::NotAllowed { user: paths::owner_of(&path), path }
            }
            _ => AskError::Socket { socket, source },
        }
    }
}

/// Where a gateway of the system is, if there seems to be one and it was not looked for.
fn elsewhere(looked_at: &Path) -> String {
    let system = Path::new("/var/lib/doorward");
    if looked_at.starts_with(system) || !system.is_dir() {
        return String::new();
    }
    format!(" One that was installed for the whole system\nkeeps it below {}: try `sudo doorward …`.", system.display())
}

#[derive(Deserialize)]
struct Problem {
    error: ProblemText,
}

#[derive(Deserialize)]
struct ProblemText {
    what: String,
    remedy: String,
}

fn refusal(status: StatusCode, text: &str) -> AskError {
    match serde_json::from_str::<Problem>(text) {
        Ok(Problem { error }) => {
            // The remedy for a bad request is the API's: it speaks of requests.
            let remedy = (status != StatusCode::BAD_REQUEST).then_some(error.remedy);
            AskError::Refused { status, what: error.what, remedy }
        }
        Err(_) => AskError::Strange(status.to_string()),
    }
}

impl Answer {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, AskError> {
        serde_json::from_str(&self.0).map_err(|error| AskError::Strange(error.to_string()))
    }

    /// The answer itself, laid out for reading.
    pub fn json(&self) -> Result<String, AskError> {
        let value: serde_json::Value = self.read()?;
        Ok(format!("{value:#}\n"))
    }
}

/// A name as part of a path (RFC 3986, 2.1 and 2.3).
pub(super) fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |path, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path + &char::from(byte).to_string(),
        other => path + &format!("%{other:02X}"),
    })
}
