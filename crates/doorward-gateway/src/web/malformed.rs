//! Requests inside HTTP/2 that are malformed (RFC 9113, 8.1.1): their stream is reset, and nothing is answered.

use doorward_tunnel::Reset;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Version};
use thiserror::Error;

/// Why hyper is to break an exchange, and with which code (HTTP/2: that stream alone).
#[derive(Debug, Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Reset(#[from] Reset),
    #[error("the request is malformed")]
    Malformed(#[source] h2::Error),
}

impl Broken {
    pub(crate) fn malformed() -> Self {
        Self::Malformed(h2::Reason::PROTOCOL_ERROR.into())
    }
}

/// h2 has looked at names and pseudo-headers.
pub(crate) fn is_malformed<B>(request: &Request<B>) -> bool {
    if request.version() != Version::HTTP_2 {
        return false;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let differs = |host: &HeaderValue| authority.is_some_and(|a| !host.as_bytes().eq_ignore_ascii_case(a.as_bytes()));
    // 8.2.1, 8.3.1 and 8.5.
    request.headers().values().any(is_padded)
        || request.headers().get_all(HOST).iter().any(differs)
        || (request.method() == Method::CONNECT && authority.is_none())
}

fn is_padded(value: &HeaderValue) -> bool {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_white(value.as_bytes().first()) || is_white(value.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_values_a_second_host_and_tunnels_to_nowhere_are_malformed() {
        let request = |version, method: &str, uri: &str, name: &str, value: &str| {
            let builder = Request::builder().version(version).method(method).uri(uri);
            is_malformed(&builder.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap()).body(()).unwrap())
        };
        let table = [
            ("GET", "https://a/", "x", "y", false),
            ("GET", "https://a/", "x", "", false),
            ("GET", "https://a/", "x", " y", true),
            ("GET", "https://a/", "x", "y\t", true),
            ("GET", "https://a/", "host", "A", false),
            ("GET", "https://a/", "host", "b", true),
            ("CONNECT", "a:1", "x", "y", false),
            ("CONNECT", "/", "x", "y", true),
        ];
        for (method, uri, name, value, expected) in table {
            assert_eq!(
                request(Version::HTTP_2, method, uri, name, value),
                expected,
                "{method} {uri} {name}: {value:?}"
            );
            assert!(!request(Version::HTTP_11, method, uri, name, value));
        }
    }
}
