//! Small GETs over keep-alive connections, over TLS or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::target::PAGE;
use crate::visit::Count;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where the page is.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) at: SocketAddr,
    pub(crate) host: String,
    /// The certificate that the server must have, as PEM; `None`: plain HTTP.
    pub(crate) certificate: Option<String>,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Keep-alive connections, each of which has fetched the page once.
pub(crate) struct Readers {
    connections: Vec<Box<dyn Connection>>,
    request: Arc<[u8]>,
}

impl Readers {
    pub(crate) async fn open(page: &Page, count: usize) -> Result<Self> {
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", page.host).into_bytes();
        let tls = page.certificate.as_deref().map(trusting).transpose()?;
        let mut connections = Vec::new();
        for _ in 0..count {
            let mut connection = connect(page, tls.clone()).await?;
            fetch(&mut connection, &request, &mut Vec::new()).await?;
            connections.push(connection);
        }
        Ok(Self { connections, request: request.into() })
    }

    /// One request after the other on every connection.
    pub(crate) async fn fetch_for(&mut self, length: Duration) -> Result<Count> {
        let start = Instant::now();
        let mut readers = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let request = self.request.clone();
            readers.spawn(async move {
                let (mut count, mut buffer) = (0, Vec::new());
                while start.elapsed() < length {
                    fetch(&mut connection, &request, &mut buffer).await?;
                    count += 1;
                }
                anyhow::Ok((connection, count))
            });
        }
        let mut total = 0;
        while let Some(done) = readers.join_next().await {
            let (connection, count) = done??;
            self.connections.push(connection);
            total += count;
        }
        Ok(Count { count: total, took: start.elapsed() })
    }
}

async fn connect(page: &Page, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Connection>> {
    let socket = TcpStream::connect(page.at).await.with_context(|| format!("connecting to {}", page.at))?;
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(socket)) };
    let name = ServerName::try_from(page.host.clone())?;
    Ok(Box::new(timeout(PATIENCE, TlsConnector::from(tls).connect(name, socket)).await??))
}

fn trusting(certificate: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// One request and its whole answer. `buffer` is empty before and after; its memory is used again.
async fn fetch(connection: &mut Box<dyn Connection>, request: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    connection.write_all(request).await?;
    let answer = async {
        loop {
            ensure!(connection.read_buf(buffer).await? > 0, "the connection ended before the answer did");
            if let Some(end) = end_of_answer(buffer)?
                && buffer.len() >= end
            {
                ensure!(buffer.len() == end, "more than one answer");
                buffer.clear();
                return Ok(());
            }
        }
    };
    timeout(PATIENCE, answer).await.context("no answer")?
}

/// The length of head and body together, once the head is there.
fn end_of_answer(answer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    ensure!(text.starts_with("HTTP/1.1 200"), "the answer is {text}");
    let length = text.lines().filter_map(|line| line.split_once(':'));
    let length = length.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match length.map(|(_, value)| value.trim().parse()) {
        Some(Ok(PAGE)) => Ok(Some(head + 4 + PAGE)),
        Some(_) | None => bail!("not our page: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_body() {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\n");
        assert_eq!(end_of_answer(head.as_bytes()).unwrap(), None);
        let whole = format!("{head}\r\n");
        assert_eq!(end_of_answer(whole.as_bytes()).unwrap(), Some(whole.len() + PAGE));
    }

    #[test]
    fn an_error_page_is_no_answer() {
        assert!(end_of_answer(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 1024\r\n\r\n").is_err());
        assert!(end_of_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n").is_err());
    }
}
