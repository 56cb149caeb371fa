//! WebSockets inside HTTP/2 (RFC 8441). Targets speak HTTP/1.1: the request that opens one is turned into the upgrade
//! of RFC 6455, and the answer back. The frames are the same in both.

use data_encoding::BASE64;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::ext::Protocol;

/// Whether this opens a WebSocket inside HTTP/2.
pub(crate) fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request.method() == Method::CONNECT
        && request.extensions().get::<Protocol>().is_some_and(|p| p.as_str().eq_ignore_ascii_case("websocket"))
}

/// Makes it the request of RFC 6455, 4.1. The key proves nothing beyond one connection, and there is one only.
pub(crate) fn ask_as_http1(parts: &mut request::Parts) {
    parts.method = Method::GET;
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let key = BASE64.encode(&rand::random::<[u8; 16]>());
    if let Ok(key) = HeaderValue::try_from(key) {
        parts.headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// "Switching protocols" is not known to HTTP/2; there a WebSocket is open with 200.
pub(crate) fn answer_as_http2<B>(response: &mut Response<B>) {
    *response.status_mut() = StatusCode::OK;
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING] {
        response.headers_mut().remove(name);
    }
}
