//! Visitors of an echo.

use crate::LIMIT;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub async fn says_back(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &[u8]) {
    let back = timeout(LIMIT, exchange(stream, text)).await.expect("an answer in time").unwrap();
    assert_eq!(back, text);
}

pub async fn is_echoed(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    matches!(timeout(LIMIT, exchange(stream, b"well?")).await, Ok(Ok(back)) if back == b"well?")
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    stream.flush().await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await?;
    Ok(back)
}

/// There and back again, half-close included.
pub async fn carries_much(visitor: &mut TcpStream) {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let (mut reader, mut writer) = visitor.split();
    let sending = async {
        writer.write_all(&large).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let both = async { tokio::join!(sending, reader.read_to_end(&mut back)) };
    let ((), read) = timeout(LIMIT, both).await.expect("3 MB in time");
    read.unwrap();
    assert!(back == large, "{} bytes came back", back.len());
}
