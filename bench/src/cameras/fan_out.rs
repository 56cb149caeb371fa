//! What stands beside cameras today, as go2rtc: one copy up while anybody looks, and for each viewer a queue of all pictures,
//! in their order.

use super::film::BETWEEN;
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};

/// As many pictures as go2rtc lets wait for one viewer.
const QUEUE: usize = 4096;

/// With its head, as the camera sent it.
type Picture = Arc<Vec<u8>>;

pub(crate) async fn run(listen: &str, upstream: &str) -> Result<()> {
    let (listener, upstream) = (TcpListener::bind(listen).await?, upstream.parse::<SocketAddr>()?);
    let (pictures, came) = (broadcast::channel(QUEUE).0, Arc::new(Notify::new()));
    let (given, awaited) = (pictures.clone(), came.clone());
    tokio::spawn(async move {
        loop {
            awaited.notified().await;
            if let Err(error) = read(upstream, &given).await {
                eprintln!("{upstream}: {error:#}");
            }
        }
    });
    println!("ready");
    loop {
        let (socket, _) = listener.accept().await?;
        let seen = pictures.subscribe();
        came.notify_one();
        // A viewer who goes is the usual end.
        tokio::spawn(async move { serve(socket, seen).await.ok() });
    }
}

/// Reads the camera for as long as anybody looks.
async fn read(upstream: SocketAddr, pictures: &broadcast::Sender<Picture>) -> Result<()> {
    let mut socket = TcpStream::connect(upstream).await?;
    socket.write_all(format!("GET / HTTP/1.1\r\nhost: {upstream}\r\n\r\n").as_bytes()).await?;
    let (mut held, mut searched) = (Vec::new(), 0);
    while pictures.receiver_count() > 0 {
        ensure!(socket.read_buf(&mut held).await? > 0, "it ended");
        while let Some(at) = held[searched..].windows(BETWEEN.len()).position(|window| window == BETWEEN) {
            let rest = held.split_off(searched + at + BETWEEN.len());
            let picture = std::mem::replace(&mut held, rest);
            searched = 0;
            // The first is the answer's head. Nobody left is seen above.
            if !picture.starts_with(b"HTTP/") {
                pictures.send(Arc::new(picture)).ok();
            }
        }
        searched = held.len().saturating_sub(BETWEEN.len());
    }
    Ok(())
}

async fn serve(mut socket: TcpStream, mut pictures: broadcast::Receiver<Picture>) -> Result<()> {
    ensure!(socket.read(&mut [0; 4096]).await? > 0, "it asks for nothing");
    socket.write_all(super::film::HEAD.as_bytes()).await?;
    loop {
        match pictures.recv().await {
            Ok(picture) => socket.write_all(&picture).await?,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}
