//! Headers on their way through: what belongs to one connection only stays there, and what the target may believe
//! about the visitor comes from us.

use doorward_core::access::Networks;
use http::header::{
    CONNECTION, COOKIE, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
static X_SCRIPT_NAME: HeaderName = HeaderName::from_static("x-script-name");
static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Removes what is about one connection (RFC 9110, 7.6.1), including what `Connection` lists. Trailers are announced
/// end to end: `Trailer` stays, and `TE: trailers` is the one `TE` that may pass.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let wants_trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in listed {
        // Naming these in `Connection` must not remove what routing was decided by.
        if name != HOST {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    debug_assert!(TRAILER == "trailer");
}

/// HTTP/2 may carry each cookie in a field of its own; HTTP/1.1 has one field for all (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// What the target is told about the visitor.
pub(crate) struct Told<'a> {
    pub(crate) source: IpAddr,
    pub(crate) is_https: bool,
    /// As the visitor sent it, port and all.
    pub(crate) host: &'a HeaderValue,
    pub(crate) port: u16,
    /// The part of the path that was taken off, without its last slash.
    pub(crate) taken_off: Option<&'a str>,
}

/// Replaces every claim about the visitor by what is known here.
pub(crate) fn tell(headers: &mut HeaderMap, told: &Told<'_>) {
    untell(headers);
    let text = |text: String| HeaderValue::try_from(text).ok();
    let proto = if told.is_https { "https" } else { "http" };
    let forwarded_for = match told.source {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    // With a port it is no token any more (RFC 7239, 4). Where it is one, it stands bare: not all who read it know quotes.
    let host = match told.host.to_str().unwrap_or_default() {
        host if host.contains([':', '[']) => format!("\"{host}\""),
        host => host.to_owned(),
    };
    let pairs = [
        (&X_FORWARDED_FOR, text(told.source.to_string())),
        (&X_FORWARDED_PROTO, Some(HeaderValue::from_static(proto))),
        (&X_FORWARDED_HOST, Some(told.host.clone())),
        (&X_FORWARDED_PORT, text(told.port.to_string())),
        (&FORWARDED, text(format!("for={forwarded_for};host={host};proto={proto}"))),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            headers.insert(name.clone(), value);
        }
    }
    if let Some(value) = told.taken_off.and_then(|path| HeaderValue::try_from(path).ok()) {
        headers.insert(X_FORWARDED_PREFIX.clone(), value.clone());
        headers.insert(X_SCRIPT_NAME.clone(), value);
    }
}

/// Removes every claim about the visitor, whoever made it.
pub(crate) fn untell(headers: &mut HeaderMap) {
    for name in [
        &X_FORWARDED_FOR,
        &X_FORWARDED_PROTO,
        &X_FORWARDED_HOST,
        &X_FORWARDED_PORT,
        &X_FORWARDED_PREFIX,
        &X_SCRIPT_NAME,
        &X_REAL_IP,
        &FORWARDED,
    ] {
        headers.remove(name);
    }
}

/// Who the visitor is, if the connection comes from a configured proxy: the last address in the chain that is not
/// itself such a proxy.
pub(crate) fn source_behind(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    if !proxies.contain(peer) {
        return peer;
    }
    let values = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let texts = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    // From the near end: what stands before the first word that is no address may be the visitor's own invention.
    let mut chain = texts.map_while(|text| text.trim().parse::<IpAddr>().ok());
    chain.find(|ip| !proxies.contain(*ip)).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_connection_lists_goes_but_never_ours() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Private, host, x-forwarded-for"),
            ("x-private", "1"),
            ("host", "a"),
            ("x-forwarded-for", "6.6.6.6"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("cookie", "session|P443=1"),
        ]);
        strip_hop_by_hop(&mut map);
        let host = HeaderValue::from_static("a:8443");
        let source = "2001:db8::1".parse().unwrap();
        tell(&mut map, &Told { source, is_https: true, host: &host, port: 8443, taken_off: None });
        assert!(!map.contains_key("x-private") && !map.contains_key("upgrade") && !map.contains_key("connection"));
        assert_eq!(map["host"], "a");
        assert_eq!(map["te"], "trailers");
        assert_eq!(map["cookie"], "session|P443=1");
        assert_eq!(map["x-forwarded-for"], "2001:db8::1");
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";host=\"a:8443\";proto=https");
        let (source, host) = ("192.0.2.1".parse().unwrap(), HeaderValue::from_static("a.test"));
        tell(&mut map, &Told { source, is_https: false, host: &host, port: 80, taken_off: None });
        assert_eq!(map["forwarded"], "for=192.0.2.1;host=a.test;proto=http");
    }

    #[test]
    fn forwarded_claims_count_only_from_configured_proxies() {
        let proxies = Networks::parse(&["127.0.0.1".into(), "10.0.0.0/8".into()]).unwrap();
        let nobody = Networks::parse(&[]).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let chain = headers(&[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9")]);
        assert_eq!(source_behind(ip("127.0.0.1"), &chain, &proxies), ip("192.0.2.7"));
        assert_eq!(source_behind(ip("127.0.0.1"), &chain, &nobody), ip("127.0.0.1"));
        assert_eq!(source_behind(ip("192.0.2.1"), &chain, &proxies), ip("192.0.2.1"));
        assert_eq!(source_behind(ip("10.0.0.1"), &HeaderMap::new(), &proxies), ip("10.0.0.1"));
        let invented = headers(&[("x-forwarded-for", "nonsense, 192.0.2.7")]);
        assert_eq!(source_behind(ip("10.0.0.1"), &invented, &proxies), ip("192.0.2.7"));
    }
}
