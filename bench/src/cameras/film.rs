//! A camera as the simple ones are: whoever asks gets a picture each time there is one and the one before is written.

use super::{DIGITS, STAMP, now};
use anyhow::Result;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_micros(66_667);
pub(super) const BYTES: usize = 50_000;
pub(super) const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=film\r\n\r\n--film\r\n";
/// After each picture, and before the first.
pub(super) const BETWEEN: &[u8] = b"\r\n--film\r\n";

pub(crate) async fn run(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address.parse::<SocketAddr>()?).await?;
    println!("ready");
    loop {
        let (socket, _) = listener.accept().await?;
        // A reader that goes is the usual end.
        tokio::spawn(async move { serve(socket).await.ok() });
    }
}

async fn serve(mut socket: TcpStream) -> Result<()> {
    // Whatever is asked for.
    if socket.read(&mut [0; 4096]).await? == 0 {
        return Ok(());
    }
    socket.write_all(HEAD.as_bytes()).await?;
    let mut beat = interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        beat.tick().await;
        let jpeg = picture(now()?);
        let part = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        socket.write_all(&[part.as_bytes(), &jpeg, BETWEEN].concat()).await?;
    }
}

/// With the time right before its end, so that whoever finds that has the whole of it.
fn picture(at: u64) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 24, 0, 32, 1, 1, 0x11, 0];
    jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    jpeg.resize(BYTES - STAMP.len() - DIGITS - 2, 0x55);
    jpeg.extend(STAMP);
    jpeg.extend(format!("{at:016x}").into_bytes());
    jpeg.extend([0xff, 0xd9]);
    jpeg
}
