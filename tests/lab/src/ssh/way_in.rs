//! `ssh -W`, which is what `ssh -J` starts.

use crate::{LIMIT, is_echoed, says_back};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, Join, ReadBuf, join};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Its standard streams are the connection. They are held beside the child, which closes its own when it is waited for.
pub struct WayIn {
    ssh: Child,
    streams: Join<ChildStdout, ChildStdin>,
}

impl WayIn {
    /// `ssh` says with which key or password, `at` is the gateway.
    pub fn begin(mut ssh: Command, to: &str, at: &str) -> Self {
        ssh.args(["-q", "-W", to, at]);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut ssh = ssh.spawn().unwrap();
        let streams = join(ssh.stdout.take().unwrap(), ssh.stdin.take().unwrap());
        Self { ssh, streams }
    }

    pub async fn says_back(&mut self) {
        says_back(&mut self.streams, b"hello").await;
    }

    pub async fn is_alive(&mut self) -> bool {
        is_echoed(&mut self.streams).await
    }

    pub fn is_open(&mut self) -> bool {
        self.ssh.try_wait().unwrap().is_none()
    }

    /// It ends, and nothing was said.
    pub async fn is_refused(mut self) {
        self.until_cut().await;
        let mut said = String::new();
        self.streams.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "");
    }

    pub async fn until_cut(&mut self) {
        timeout(LIMIT, self.ssh.wait()).await.expect("ssh -W ends").unwrap();
    }
}

impl AsyncRead for WayIn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.streams).poll_read(cx, buf)
    }
}
