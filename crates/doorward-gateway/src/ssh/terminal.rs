//! What is said in the terminal of whoever came without `-N`.

use super::pipe::ChannelPipe;
use doorward_core::Secret;
use doorward_core::names::Label;
use russh::ChannelId;
use russh::server::Handle;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// News for the terminals of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    Text(String),
    Visit(Label, IpAddr),
}

/// A terminal that takes nothing for so long gets no more.
const PATIENCE: Duration = Duration::from_secs(10);
/// What Ctrl-C and Ctrl-D send where the client has made its terminal raw.
const ENDS: [u8; 2] = [3, 4];

/// An invite fits, and somebody who looks for it finds it.
const MOST_TYPED: usize = 4096;
const TYPING_LIMIT: Duration = Duration::from_secs(300);
/// Enter, with and without a raw terminal; and what gives up in one.
const ENDS_OF_LINE: [u8; 4] = [b'\n', b'\r', 3, 4];

/// A session channel that shows text.
pub(crate) struct Terminal {
    pub(crate) pipe: ChannelPipe,
    /// A raw terminal does not return the carriage by itself.
    pub(crate) is_raw: bool,
}

impl Terminal {
    /// `false`: it is gone, or takes nothing.
    pub(crate) async fn say(&mut self, text: &str) -> bool {
        let text = plain(text);
        let text = if self.is_raw { text.replace('\n', "\r\n") } else { text };
        matches!(timeout(PATIENCE, self.pipe.write_all(text.as_bytes())).await, Ok(Ok(())))
    }

    /// The line that is typed after a question; empty if none is. What is typed is not repeated.
    pub(crate) async fn ask(&mut self, question: &str) -> Secret<String> {
        // It never grows: nothing of it is left behind elsewhere.
        let mut line = String::with_capacity(MOST_TYPED);
        if self.say(question).await {
            let typing = async {
                while let Ok(byte) = self.pipe.read_u8().await {
                    if ENDS_OF_LINE.contains(&byte) || line.len() == MOST_TYPED {
                        return;
                    }
                    line.push(if byte.is_ascii() { char::from(byte) } else { '?' });
                }
            };
            let _ = timeout(TYPING_LIMIT, typing).await;
        }
        Secret::new(line)
    }

    /// Says its last and tells the client how it went.
    pub(crate) async fn end(mut self, text: &str, status: u32, handle: &Handle, id: ChannelId) {
        if self.say(text).await {
            let _ = handle.exit_status_request(id, status).await;
            let _ = self.pipe.shutdown().await;
        }
        self.pipe.close_at_once();
    }

    /// A command that takes its time and then has gone well.
    pub(crate) async fn hold(mut self, time: Duration, handle: &Handle, id: ChannelId) {
        if timeout(time, self.until_left()).await.is_err() {
            self.end("", 0, handle, id).await;
        }
    }

    /// Resolves when whoever sits there wants out.
    pub(crate) async fn until_left(&mut self) {
        let mut typed = [0; 64];
        loop {
            match self.pipe.read(&mut typed).await {
                // `ssh … < /dev/null` has said all at once, and stays.
                Ok(0) => std::future::pending().await,
                Ok(n) if self.is_raw && typed[..n].iter().any(|byte| ENDS.contains(byte)) => return,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Without what a terminal would take for commands: some of the text is other people's.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}
