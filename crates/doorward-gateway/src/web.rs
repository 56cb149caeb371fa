//! HTTP between visitors and web services: one place that decides host, framing and credentials.

pub(crate) mod answer;
pub(crate) mod arriving;
pub(crate) mod bodies;
pub(crate) mod breaking;
pub(crate) mod carrying;
pub(crate) mod connection;
pub(crate) mod credentials;
pub(crate) mod door;
pub(crate) mod exchange;
pub(crate) mod expected;
pub(crate) mod forward;
pub(crate) mod framing;
pub(crate) mod grpc;
pub(crate) mod guarded;
pub(crate) mod headers;
pub(crate) mod inspect;
pub(crate) mod language;
pub(crate) mod looking;
pub(crate) mod malformed;
pub(crate) mod multiplexed;
pub(crate) mod open_path;
pub(crate) mod origin;
pub(crate) mod outgoing;
pub(crate) mod pace;
pub(crate) mod page;
pub(crate) mod passage;
pub(crate) mod portal;
pub(crate) mod presented;
pub(crate) mod proving;
pub(crate) mod rates;
pub(crate) mod repair;
pub(crate) mod request;
pub(crate) mod rewrite;
pub(crate) mod root;
pub(crate) mod strict;
pub(crate) mod tokens;
pub(crate) mod tunnelled;
pub(crate) mod turns;
pub(crate) mod upgrade;
pub(crate) mod upstreams;
pub(crate) mod websocket;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// A body of either side, streamed. Its error is concrete since hyper wants one that it can turn into its own.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    body(Bytes::new())
}
