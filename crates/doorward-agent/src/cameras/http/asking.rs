//! A camera's HTTP, one request at a time, over a connection that is kept where the camera keeps it.

use super::super::events::Trouble;
use super::authorization::{Authorization, Credentials};
use crate::deliver::https::{self, Spoken};
use crate::deliver::tcp;
use crate::target::WebCamera;
use doorward_frames::snapshots::Conditions;
use doorward_tunnel::Duplex;
use http::header::{ACCEPT, AUTHORIZATION, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// For the connection, and once more for the head of an answer.
const LIMIT: Duration = Duration::from_secs(10);
const LONGEST_PASSWORD_FILE: u64 = 4096;

pub(super) type Answer = Response<Incoming>;
type Body = Empty<Bytes>;

pub(super) struct Asking<'a> {
    camera: &'a WebCamera,
    line: Option<Line>,
    authorization: Authorization,
}

/// A connection, closed when dropped.
struct Line {
    sender: SendRequest<Body>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(camera: &'a WebCamera) -> Self {
        Self { camera, line: None, authorization: Authorization::default() }
    }

    pub(super) fn hang_up(&mut self) {
        self.line = None;
    }

    /// The head of what it answers; a camera that wants a password gets it.
    pub(super) async fn ask(&mut self, conditions: &Conditions) -> Result<Answer, Trouble> {
        let answer = self.exchange(conditions).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(file) = &self.camera.password_file else {
            return Err(Trouble::failed("it wants a user and a password: name a file with them as its password-file"));
        };
        let credentials = read_credentials(file).await?;
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        if !self.authorization.learn(challenges, credentials) {
            return Err(Trouble::failed(
                "it takes no password in a way that is known: Basic, or Digest with MD5 or SHA-256",
            ));
        }
        // What it says besides is not read.
        self.hang_up();
        let answer = self.exchange(conditions).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(Trouble::failed("it refuses the user and password of its password-file")),
            _ => Ok(answer),
        }
    }

    async fn exchange(&mut self, conditions: &Conditions) -> Result<Answer, Trouble> {
        // Kept alive, it may have been closed meanwhile: that is no trouble.
        if let Some(mut line) = self.line.take()
            && let Ok(Ok(())) = timeout(LIMIT, line.sender.ready()).await
            && let Ok(Ok(answer)) = timeout(LIMIT, line.sender.send_request(self.request(conditions)?)).await
        {
            self.line = Some(line);
            return Ok(answer);
        }
        let mut line = timeout(LIMIT, connect(self.camera)).await.map_err(|_| silent())??;
        let answer = timeout(LIMIT, line.sender.send_request(self.request(conditions)?)).await;
        let answer = answer.map_err(|_| silent())?.map_err(|error| Trouble::failed(format!("no answer: {error}")))?;
        self.line = Some(line);
        Ok(answer)
    }

    fn request(&mut self, conditions: &Conditions) -> Result<Request<Body>, Trouble> {
        let path = &self.camera.path;
        let mut request = Request::new(Body::new());
        *request.uri_mut() = path.parse().map_err(|_| Trouble::failed("its path cannot be asked for"))?;
        let authorization = self.authorization.header(&Method::GET, path);
        let headers = request.headers_mut();
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(HOST, &self.camera.host_header());
        put(USER_AGENT, "doorward");
        put(ACCEPT, "multipart/x-mixed-replace, image/jpeg, */*;q=0.1");
        let conditions =
            [(IF_NONE_MATCH, &conditions.if_none_match), (IF_MODIFIED_SINCE, &conditions.if_modified_since)];
        for (name, value) in conditions {
            value.iter().for_each(|value| put(name.clone(), value));
        }
        authorization.iter().for_each(|value| put(AUTHORIZATION, value));
        Ok(request)
    }
}

fn silent() -> Trouble {
    Trouble::failed(format!("no answer within {} s", LIMIT.as_secs()))
}

async fn connect(camera: &WebCamera) -> Result<Line, Trouble> {
    let (host, port) = (&camera.host, camera.port);
    match camera.verify {
        None => handshake(tcp::connect(host, port).await.map_err(|failure| Trouble::failed(failure.detail))?).await,
        Some(verify) => {
            let secured = https::connect(host, port, verify, Spoken::Http1).await;
            handshake(secured.map_err(|failure| Trouble::failed(failure.detail))?).await
        }
    }
}

/// Cameras err in their heads, too.
async fn handshake(stream: impl Duplex + 'static) -> Result<Line, Trouble> {
    let mut builder = Builder::new();
    builder.allow_obsolete_multiline_headers_in_responses(true);
    builder.allow_spaces_after_header_name_in_responses(true);
    builder.ignore_invalid_headers_in_responses(true);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| Trouble::failed(format!("no HTTP with it: {error}")))?;
    Ok(Line { sender, _connection: AbortOnDropHandle::new(tokio::spawn(connection)) })
}

/// Read anew each time: a password that was changed counts at once.
async fn read_credentials(file: &Path) -> Result<Credentials, Trouble> {
    let reading = async {
        let mut text = String::new();
        tokio::fs::File::open(file).await?.take(LONGEST_PASSWORD_FILE).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = reading.await.map_err(|error| {
        tracing::warn!("{} cannot be read: {error}", file.display());
        Trouble::failed("its password-file cannot be read")
    })?;
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Credentials::parse(line.trim()).ok_or_else(|| Trouble::failed("its password-file is not written as user:password"))
}
