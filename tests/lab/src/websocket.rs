//! A WebSocket service for the lab, and visitors of it.

use crate::visitor::Ending;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

/// Says each message back.
pub struct EchoTarget {
    pub address: SocketAddr,
    endings: mpsc::UnboundedReceiver<Ending>,
    task: JoinHandle<()>,
}

pub async fn echo() -> EchoTarget {
    let listener = TcpListener::bind((crate::LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, endings) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { return };
            let ended = ended.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = accept_async_with_config(socket, Some(large())).await else { return };
                let mut echoing = async || {
                    while let Some(message) = socket.next().await {
                        let message = message?;
                        if message.is_text() || message.is_binary() {
                            socket.send(message).await?;
                        }
                    }
                    Ok(())
                };
                let _ = ended.send(how(echoing().await));
            });
        }
    });
    EchoTarget { address, endings, task }
}

impl EchoTarget {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How the next connection ended.
    pub async fn ending(&mut self) -> Ending {
        timeout(crate::LIMIT, self.endings.recv()).await.expect("a connection ends in time").unwrap()
    }
}

impl Drop for EchoTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a WebSocket over a connection to the gateway.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(io: S, host: &str) -> WebSocketStream<S> {
    let request = format!("ws://{host}/live").into_client_request().unwrap();
    client_async_with_config(request, io, Some(large())).await.expect("a WebSocket").0
}

pub async fn until_ended<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Ending {
    loop {
        match socket.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return how(Err(error)),
            None => return Ending::Finished,
        }
    }
}

pub async fn is_answered<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, said: Message) -> bool {
    let asking = async {
        socket.send(said.clone()).await?;
        socket.next().await.unwrap_or(Err(Error::ConnectionClosed))
    };
    matches!(timeout(crate::LIMIT, asking).await, Ok(Ok(heard)) if heard == said)
}

fn how(end: Result<(), Error>) -> Ending {
    match end {
        Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Ending::Reset,
        _ => Ending::Finished,
    }
}

fn large() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(None).max_frame_size(None)
}
