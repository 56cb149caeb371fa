//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): what a proxy in front says about its visitor
//! before the visitor's own bytes. Only a configured proxy is asked; from anybody else these bytes are bytes.

use proxy_header::{ParseConfig, ProxyHeader};
use std::net::SocketAddr;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

#[derive(Debug, Error)]
pub(crate) enum ProxiedError {
    #[error("the proxy said something else than the PROXY protocol")]
    Malformed,
    #[error(transparent)]
    Broken(#[from] std::io::Error),
}

/// Begins a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, and more than any proxy says in version 2.
const MAX_TEXT: usize = 107;
const MAX_BINARY: usize = 4096;

/// Reads the header and not a byte more. `None`: the proxy speaks for itself, as health checks do.
pub(crate) async fn visitor_behind(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxiedError> {
    let mut header = vec![0; SIGNATURE.len()];
    socket.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(16, 0);
        socket.read_exact(&mut header[12..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > MAX_BINARY {
            return Err(ProxiedError::Malformed);
        }
        header.resize(16 + length, 0);
        socket.read_exact(&mut header[16..]).await?;
    } else {
        if !header.starts_with(b"PROXY ") {
            return Err(ProxiedError::Malformed);
        }
        while !header.ends_with(b"\r\n") {
            if header.len() == MAX_TEXT {
                return Err(ProxiedError::Malformed);
            }
            header.push(socket.read_u8().await?);
        }
    }
    let (parsed, length) = ProxyHeader::parse(&header, ParseConfig::default()).map_err(|_| ProxiedError::Malformed)?;
    if length != header.len() {
        return Err(ProxiedError::Malformed);
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ProxiedAddress;

    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxiedError>, Vec<u8>) {
        let mut socket = bytes;
        let visitor = visitor_behind(&mut socket).await;
        (visitor, socket.to_vec())
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let (visitor, gateway) = ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
        let header = ProxyHeader::with_address(ProxiedAddress::stream(visitor, gateway));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        header.encode_v1(&mut one).unwrap();
        header.encode_v2(&mut two).unwrap();
        for header in [one, two] {
            let (found, rest) = read(&[&header[..], b"\x16rest"].concat()).await;
            assert_eq!((found.unwrap(), rest.as_slice()), (Some(visitor), &b"\x16rest"[..]));
            for length in 0..header.len() {
                assert!(read(&header[..length]).await.0.is_err(), "{length} of {} bytes", header.len());
            }
        }
        let six = read(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n").await.0.unwrap();
        assert_eq!(six, Some("[2001:db8::1]:1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").await.0.unwrap(), None);
        let mut local = Vec::new();
        ProxyHeader::with_local().encode_v2(&mut local).unwrap();
        assert_eq!(read(&local).await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &vec![0; 70_000]].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 x\r\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            long.as_bytes(),
            &huge,
        ] {
            assert!(matches!(read(bytes).await.0, Err(ProxiedError::Malformed)), "{:?}", &bytes[..20]);
        }
    }
}
