//! A provider that answers as told and remembers what it heard.

use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// First line, Authorization, and the body if there is one.
type Request = Vec<String>;

pub(super) struct Provider {
    port: u16,
    heard: Arc<Mutex<Vec<Request>>>,
    folder: TempDir,
    _task: JoinSet<()>,
}

impl Provider {
    pub(super) async fn start(status: u16, body: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&heard), status, body));
        Self { port, heard, folder, _task: task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(super) fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Vec<Request>>>,
    status: u16,
    body: &'static str,
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        // Whoever does not believe the certificate hangs up here.
        let Ok(mut stream) = acceptor.accept(socket).await else { continue };
        let request = read(&mut stream).await;
        heard.lock().unwrap().push(request);
        let location = if status == 302 { "Location: https://localhost:1/\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} X\r\n{location}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Request {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let wanted = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if length > 0 && body.len() < wanted {
            continue;
        }
        let first = head.lines().next().unwrap_or_default().to_owned();
        let said = (!body.is_empty()).then(|| body.to_owned());
        return [first, header("authorization").unwrap_or_default()].into_iter().chain(said).collect();
    }
}
