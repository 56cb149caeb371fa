//! What a request is addressed to, found once and in one spelling. Shapes that two parsers could read differently are
//! refused here.

use super::websocket::asks_for_websocket;
use doorward_core::names::HostName;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Version};

/// Why a request is refused before anybody looks at where it wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The host that a request is for.
pub(crate) fn host_of<B>(request: &Request<B>) -> Result<HostName, Malformed> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(Malformed("it has two Host headers"));
    }
    let header = header.map(|value| value.to_str()).transpose().map_err(|_| Malformed("its Host is not ASCII"))?;
    let named = header.map(parse).transpose()?;
    let target = request.uri().authority().map(|authority| parse(authority.as_str())).transpose()?;
    match (named, target) {
        (Some(named), Some(target)) if named != target => Err(Malformed("its Host differs from its target")),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Malformed("it names no host")),
    }
}

fn parse(authority: &str) -> Result<HostName, Malformed> {
    HostName::from_authority(authority).map_err(|_| Malformed("its Host is not a host name"))
}

/// Refuses what could be framed in two ways (RFC 9112, 6.1 and 11.2), and methods that are not for us.
pub(crate) fn check_shape<B>(request: &Request<B>) -> Result<(), Malformed> {
    let headers = request.headers();
    let is_connect = request.method() == Method::CONNECT && !asks_for_websocket(request);
    if is_connect || request.method() == Method::TRACE {
        return Err(Malformed("this method is not taken here"));
    }
    if headers.get_all(TRANSFER_ENCODING).iter().count() > 1 || headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Malformed("its length is given twice"));
    }
    let encoding = headers.get(TRANSFER_ENCODING);
    if encoding.is_some() && headers.contains_key(CONTENT_LENGTH) {
        return Err(Malformed("its length is given in two ways"));
    }
    if let Some(encoding) = encoding
        && (request.version() != Version::HTTP_11 || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Malformed("its transfer coding is not taken here"));
    }
    check_target(request)?;
    // To a gateway interface, underscore and hyphen are one (RFC 3875, 4.1.18): a second length, or a coding.
    if headers.contains_key("content_length") || headers.contains_key("transfer_encoding") {
        return Err(Malformed("the name of one of its headers is none"));
    }
    Ok(())
}

/// Inside HTTP/2, more comes this far than over HTTP/1.1: `framing` has not seen it.
fn check_target<B>(request: &Request<B>) -> Result<(), Malformed> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let is_path = path.starts_with('/') || (request.method() == Method::OPTIONS && path == "*");
    if !is_path || !path.bytes().chain(query.bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed("its target is not a path"));
    }
    Ok(())
}

/// Whether a header that may come once only came twice.
pub(crate) fn has_one(headers: &HeaderMap, name: http::HeaderName) -> bool {
    headers.get_all(name).iter().count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> Request<()> {
        let mut builder = Request::builder().uri(uri);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn every_spelling_of_a_host_is_one_host() {
        let name = HostName::parse("printer1.example.org").unwrap();
        for host in ["printer1.example.org", "PRINTER1.Example.org.", "printer1.example.org:8443"] {
            assert_eq!(host_of(&request("/", &[host])).unwrap(), name, "{host}");
        }
        assert_eq!(host_of(&request("http://printer1.example.org/x", &[])).unwrap(), name);
        assert_eq!(host_of(&request("http://printer1.example.org/x", &["printer1.example.org:80"])).unwrap(), name);
    }

    #[test]
    fn two_hosts_or_none_or_nonsense_are_refused() {
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &["user@a"], &["a b"], &["a/b"], &["[::1]"], &["a,b"]] {
            assert!(host_of(&request("/", hosts)).is_err(), "{hosts:?}");
        }
        assert!(host_of(&request("http://a/x", &["b"])).is_err());
    }

    #[test]
    fn two_lengths_are_refused() {
        let shaped = |pairs: &[(&str, &str)]| {
            let mut builder = Request::builder().uri("/");
            for (name, value) in pairs {
                builder = builder.header(*name, *value);
            }
            check_shape(&builder.body(()).unwrap())
        };
        assert!(shaped(&[("content-length", "3")]).is_ok());
        assert!(shaped(&[("transfer-encoding", "chunked")]).is_ok());
        assert!(shaped(&[("content-length", "3"), ("content-length", "3")]).is_err());
        assert!(shaped(&[("content-length", "3"), ("transfer-encoding", "chunked")]).is_err());
        assert!(shaped(&[("transfer-encoding", "gzip, chunked")]).is_err());
        assert!(shaped(&[("transfer-encoding", "xchunked")]).is_err());
        assert!(shaped(&[("content_length", "3")]).is_err());
        assert!(shaped(&[("transfer_encoding", "chunked")]).is_err());
    }

    #[test]
    fn a_target_is_a_path_of_plain_characters() {
        let shaped =
            |method: &str, uri: &str| check_shape(&Request::builder().method(method).uri(uri).body(()).unwrap());
        for (method, uri) in [("GET", "/"), ("GET", "/a//{\"b\"}?c=d|e"), ("GET", "http://a"), ("OPTIONS", "*")] {
            assert!(shaped(method, uri).is_ok(), "{method} {uri}");
        }
        for (method, uri) in [("GET", "*"), ("GET", "/caf\u{e9}"), ("OPTIONS", "a")] {
            assert!(shaped(method, uri).is_err(), "{method} {uri}");
        }
    }
}
