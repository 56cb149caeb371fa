//! DevTools over a pipe: JSON messages, each ended by a zero byte, both ways. Unlike a WebSocket it needs no port that
//! another program could find, and the browser ends when its end closes.

use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

pub(super) struct Pipe {
    to_browser: ChildStdin,
    heard: Receiver<Value>,
}

impl Pipe {
    pub(super) fn new(to_browser: ChildStdin, from_browser: ChildStdout) -> Self {
        let (sender, heard) = channel();
        // It ends with the browser.
        thread::spawn(move || {
            for message in messages(from_browser) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { to_browser, heard }
    }

    pub(super) fn send(&mut self, message: &Value) -> Result<()> {
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.to_browser.write_all(&text).context("the browser is gone")
    }

    pub(super) fn receive(&self, limit: Duration) -> Result<Value> {
        self.heard.recv_timeout(limit).context("the browser says nothing")
    }
}

fn messages(from_browser: impl Read) -> impl Iterator<Item = Value> {
    let pieces = BufReader::new(from_browser).split(0).map_while(Result::ok);
    pieces.map_while(|piece| serde_json::from_slice(&piece).ok())
}
