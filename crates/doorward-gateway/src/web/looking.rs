//! Services that may only be looked at: GET, HEAD and OPTIONS, and nothing that begins as one of them and becomes more.

use http::{HeaderName, Method, Request};

/// By these some frameworks are told that another method is meant.
const OTHERWISE: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// `is_upgrade`: it would be a WebSocket, or something else that is not HTTP.
pub(crate) fn only_looks<B>(request: &Request<B>, is_upgrade: bool) -> bool {
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    is_harmless && !is_upgrade && !OTHERWISE.iter().any(|name| request.headers().contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_is_get_head_and_options_as_they_are() {
        let asks = |method: &str, header: Option<&'static str>| {
            let mut request = Request::builder().method(method);
            if let Some(header) = header {
                request = request.header(header, "DELETE");
            }
            request.body(()).unwrap()
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(only_looks(&asks(method, None), false), "{method}");
            assert!(!only_looks(&asks(method, None), true), "{method} as a WebSocket");
            assert!(!only_looks(&asks(method, Some("x-http-method-override")), false), "{method} as another one");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE", "PROPFIND", "get", "LOCK"] {
            assert!(!only_looks(&asks(method, None), false), "{method}");
        }
    }
}
