//! The live value over a WebSocket: the printer's state twice a second, and whatever the visitor sends comes back
//! unchanged, which measures the round trip.

use super::printer::{Printer, State};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

const EVERY: Duration = Duration::from_millis(500);
/// A visitor that does not read for so long is gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);
const MAX_MESSAGE: usize = 1 << 20;

#[derive(Serialize)]
struct Report {
    count: u64,
    #[serde(flatten)]
    state: State,
}

/// The headers that accept a WebSocket, if this is a request for one (RFC 6455, 4.2.1).
pub(super) fn handshake(request: &HeaderMap) -> Option<HeaderMap> {
    let has = |name, word: &str| {
        let values = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") || !has(SEC_WEBSOCKET_VERSION, "13") {
        return None;
    }
    let accept = derive_accept_key(request.get(SEC_WEBSOCKET_KEY)?.as_bytes());
    let mut answer = HeaderMap::new();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).ok()?);
    Some(answer)
}

pub(super) async fn serve(upgraded: Upgraded, printer: Printer) {
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    loop {
        let message = tokio::select! {
            _ = ticks.tick() => {
                count += 1;
                report(count, &printer)
            }
            received = socket.next() => match received {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
                // Pings are answered, and a closing is finished, by reading on.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
        };
        if !matches!(timeout(SEND_LIMIT, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn report(count: u64, printer: &Printer) -> Message {
    let report = Report { count, state: printer.state() };
    Message::text(serde_json::to_string(&report).expect("numbers always become JSON"))
}
