//! An HTTP request to something in the device's own network: a smart plug, a relay, a home automation.

use super::plan::{Address, Hook};
use crate::deliver::Failure;
use crate::deliver::https::{self, Spoken};
use crate::deliver::tcp;
use doorward_tunnel::Duplex;
use http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use tokio_util::task::AbortOnDropHandle;

/// What is answered is of no interest, but has to be taken.
const MOST_ANSWER: usize = 64 * 1024;
const MOST_HEADERS: u64 = 16 * 1024;

/// The error is for the owner, and names nothing of the path or the headers: these may hold secrets.
pub(super) async fn ask(hook: &Hook) -> Result<(), String> {
    let Hook { address, status, .. } = hook;
    let answered = send(hook).await.map_err(|why| format!("{address}: {why}"))?;
    let is_right = status.map_or(answered.is_success(), |status| answered == status);
    if is_right {
        return Ok(());
    }
    let wanted = status.map_or("2xx".to_owned(), |status| status.to_string());
    Err(format!("{address} answers {} where {wanted} is expected", answered.as_u16()))
}

async fn send(hook: &Hook) -> Result<StatusCode, String> {
    let request = request(hook).await?;
    let Address { verify, host, port, .. } = &hook.address;
    match verify {
        None => exchange(tcp::connect(host, *port).await.map_err(words)?, request).await,
        Some(verify) => {
            exchange(https::connect(host, *port, *verify, Spoken::Http1).await.map_err(words)?, request).await
        }
    }
}

fn words(failure: Failure) -> String {
    failure.detail
}

async fn exchange(stream: impl Duplex + 'static, request: Request<Full<Bytes>>) -> Result<StatusCode, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("no HTTP with it: {error}"))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status();
    // Some plugs act only once their answer is taken. How it ends does not matter any more.
    let _ = Limited::new(answer.into_body(), MOST_ANSWER).collect().await;
    Ok(status)
}

async fn request(hook: &Hook) -> Result<Request<Full<Bytes>>, String> {
    let Hook { address, method, headers, headers_from, body, .. } = hook;
    let mut request = Request::new(Full::new(Bytes::from(body.clone().unwrap_or_default())));
    *request.method_mut() = method.clone();
    *request.uri_mut() = address.path.parse().map_err(|_| "its path cannot be asked for".to_owned())?;
    let usual = if address.verify.is_some() { 443 } else { 80 };
    let host =
        if address.port == usual { address.host.to_string() } else { format!("{}:{}", address.host, address.port) };
    let held = request.headers_mut();
    held.insert(HOST, HeaderValue::try_from(host).map_err(|error| error.to_string())?);
    held.insert(USER_AGENT, HeaderValue::from_static("doorward"));
    if let Some(body) = body {
        held.insert(CONTENT_LENGTH, body.len().into());
    }
    held.extend(headers.iter().cloned());
    if let Some(file) = headers_from {
        held.extend(read_headers(file).await?);
    }
    Ok(request)
}

/// Read anew each time: a secret that was changed counts at once.
async fn read_headers(file: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let reading = async {
        use tokio::io::AsyncReadExt;
        let mut text = String::new();
        tokio::fs::File::open(file).await?.take(MOST_HEADERS).read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = reading.await.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = lines.enumerate().map(|(at, line)| {
        // The line itself is not shown: it is a secret.
        parse_header(line).ok_or_else(|| format!("{}: header {} is not written as name: value", file.display(), at + 1))
    });
    read.collect()
}

fn parse_header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::try_from(name.trim()).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::site::Host;
    use http::Method;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn hook(port: u16) -> Hook {
        let host = Host::Ip(Ipv4Addr::LOCALHOST.into());
        Hook {
            address: Address { verify: None, host, port, path: "/relay?turn=on&key=s3cret".to_owned() },
            method: Method::POST,
            status: None,
            headers: vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
            headers_from: None,
            body: Some("on".to_owned()),
        }
    }

    /// A server for one request: what it was asked, and what came of it.
    async fn asked(answer: &str, change: impl FnOnce(&mut Hook)) -> (String, Result<(), String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut hook = hook(listener.local_addr().unwrap().port());
        change(&mut hook);
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = String::new();
            while !heard.contains("\r\n\r\n") || (hook.body.is_some() && !heard.ends_with("on")) {
                let mut piece = [0; 4096];
                let n = socket.read(&mut piece).await.unwrap();
                heard.push_str(&String::from_utf8_lossy(&piece[..n]));
            }
            socket.write_all(answer.as_bytes()).await.unwrap();
            heard
        };
        tokio::join!(serving, ask(&hook))
    }

    #[tokio::test]
    async fn it_asks_as_it_is_written_with_the_secrets_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        std::fs::write(&file, "# of the plug\n\nAuthorization: Bearer open sesame\nX-Two:2\n").unwrap();
        let (heard, done) = asked("HTTP/1.1 204 No Content\r\n\r\n", |hook| hook.headers_from = Some(file)).await;
        assert_eq!(done, Ok(()));
        assert!(heard.starts_with("POST /relay?turn=on&key=s3cret HTTP/1.1\r\n"), "{heard}");
        for line in ["content-type: text/plain", "authorization: Bearer open sesame", "x-two: 2", "content-length: 2"] {
            assert!(heard.contains(&format!("\r\n{line}\r\n")), "{line}: {heard}");
        }
        assert!(heard.contains("\r\nhost: 127.0.0.1:") && heard.ends_with("\r\n\r\non"), "{heard}");
    }

    #[tokio::test]
    async fn another_status_is_an_error_and_redirects_are_not_followed() {
        let (_, done) = asked("HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\n\r\n", |_| {}).await;
        let error = done.unwrap_err();
        assert!(error.contains("answers 302 where 2xx is expected") && !error.contains("s3cret"), "{error}");
        let (_, done) = asked("HTTP/1.1 302 Found\r\n\r\n", |hook| hook.status = Some(302)).await;
        assert_eq!(done, Ok(()));
        let (_, done) = asked("HTTP/1.1 200 OK\r\n\r\n", |hook| hook.status = Some(302)).await;
        assert!(done.unwrap_err().contains("answers 200 where 302 is expected"));
    }

    #[tokio::test]
    async fn what_stands_in_a_file_of_secrets_is_in_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        let ask_with = async |file: &Path| {
            let mut hook = hook(9);
            hook.headers_from = Some(file.to_owned());
            ask(&hook).await.unwrap_err()
        };
        assert!(ask_with(&file).await.contains("cannot be read"));
        std::fs::write(&file, "open sesame\n").unwrap();
        let error = ask_with(&file).await;
        assert!(error.contains("header 1 is not written as name: value") && !error.contains("sesame"), "{error}");
    }
}
