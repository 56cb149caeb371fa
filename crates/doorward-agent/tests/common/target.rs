use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Echoes each connection until its end, then ends its own side.
pub async fn echo_tcp() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = socket.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    (address, task)
}

/// Listens once; hands over the connection.
pub async fn one_tcp() -> (SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { listener.accept().await.unwrap().0 }))
}

pub async fn echo_udp() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..n], from).await;
        }
    });
    (address, task)
}

/// Says it, ends its side, and hears all that comes back.
pub async fn converse(stream: &mut doorward_tunnel::Stream, said: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let (read, written) = tokio::join!(reader.read_to_end(&mut heard), async {
        writer.write_all(said).await?;
        writer.shutdown().await
    });
    written.unwrap();
    read.unwrap();
    heard
}

/// An HTTP proxy that knows CONNECT and one user, and tells where it went.
pub async fn connect_proxy(credentials: &str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let wanted = format!("Basic {}", base64(credentials.as_bytes()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (sender, wanted) = (sender.clone(), wanted.clone());
            tokio::spawn(async move { proxy_one(socket, &wanted, sender).await });
        }
    });
    (address, seen)
}

async fn proxy_one(socket: TcpStream, wanted: &str, sender: mpsc::UnboundedSender<String>) -> std::io::Result<()> {
    let mut near = BufReader::new(socket);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        near.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let target = head[0].split(' ').nth(1).unwrap().to_owned();
    if !head.iter().any(|line| line.ends_with(wanted)) {
        return near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    }
    let _ = sender.send(target.clone());
    let mut far = TcpStream::connect(target).await?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place > chunk.len() { '=' } else { digit });
        }
    }
    text
}
