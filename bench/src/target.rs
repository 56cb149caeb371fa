//! What stands behind every tunnel, and behind none: one port that does what a connection's first byte says.
//!
//! | first byte | then |
//! |---|---|
//! | `E` | every further byte comes back |
//! | `S` | bytes are sent until the visitor goes |
//! | `K` | bytes are taken; for every [`TAKEN`] of them one comes back |
//! | `G` | it is a GET: every request is answered with [`PAGE`] bytes |

use std::io;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const ECHO: u8 = b'E';
pub(crate) const SOURCE: u8 = b'S';
pub(crate) const SINK: u8 = b'K';
pub(crate) const TAKEN: usize = 256 * 1024;
const GET: u8 = b'G';

/// The size of the page that every GET is answered with.
pub(crate) const PAGE: usize = 1024;
const CHUNK: usize = 256 * 1024;
const ECHO_BUFFER: usize = 2 * 1024;

/// Listens, says `ready`, and serves until the process ends.
pub(crate) async fn run(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("ready");
    loop {
        let (socket, _) = listener.accept().await?;
        // A visitor that goes is the usual end of a connection here.
        tokio::spawn(async move { serve(socket).await.ok() });
    }
}

async fn serve(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    match socket.read_u8().await? {
        ECHO => echo(socket).await,
        SOURCE => send(socket).await,
        SINK => take(socket).await,
        GET => answer(socket).await,
        _ => Ok(()),
    }
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; ECHO_BUFFER];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            n => socket.write_all(&buffer[..n]).await?,
        }
    }
}

async fn send(mut socket: TcpStream) -> io::Result<()> {
    let chunk = vec![0; CHUNK];
    loop {
        socket.write_all(&chunk).await?;
    }
}

async fn take(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut taken = 0;
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            n => taken += n,
        }
        let answers = vec![b'.'; taken / TAKEN];
        taken %= TAKEN;
        socket.write_all(&answers).await?;
    }
}

/// Requests without a body, one after the other.
async fn answer(mut socket: TcpStream) -> io::Result<()> {
    let mut page =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {PAGE}\r\n\r\n").into_bytes();
    page.resize(page.len() + PAGE, b'x');
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            n => filled += n,
        }
        while let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
            socket.write_all(&page).await?;
        }
    }
}
