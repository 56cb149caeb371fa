//! A place at the router, and nowhere else.

use http::Uri;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Longer paths are not needed by any router.
const LONGEST: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    address: SocketAddrV4,
    path: String,
}

impl Location {
    /// An `http` URL whose host is the router's address, written as an address.
    pub(crate) fn parse(text: &str, router: Ipv4Addr) -> Option<Self> {
        let uri: Uri = Some(text).filter(|text| text.len() <= LONGEST)?.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if uri.scheme_str() != Some("http") || authority.host().parse::<Ipv4Addr>().ok()? != router {
            return None;
        }
        // A port that cannot be read is no port 80.
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().contains(':') => return None,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        (port != 0).then(|| Self { address: SocketAddrV4::new(router, port), path: path.to_owned() })
    }

    /// What a reference means here (RFC 3986, 5.2, without steps upwards).
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        if reference.contains("://") {
            return Self::parse(reference, *self.address.ip());
        }
        let path = if reference.starts_with('/') {
            reference.to_owned()
        } else {
            let folder = self.path.split('?').next()?.rsplit_once('/')?.0;
            format!("{folder}/{reference}")
        };
        Self::parse(&format!("http://{}{path}", self.address), *self.address.ip())
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

    #[test]
    fn a_location_is_the_routers_or_none() {
        for (text, expected) in [
            ("http://192.168.77.1:5000/rootDesc.xml", Some(("192.168.77.1:5000", "/rootDesc.xml"))),
            ("http://192.168.77.1", Some(("192.168.77.1:80", "/"))),
            ("http://192.168.77.1:49152/a?b=c", Some(("192.168.77.1:49152", "/a?b=c"))),
            ("http://192.168.77.2:5000/rootDesc.xml", None),
            ("http://203.0.113.9/rootDesc.xml", None),
            ("http://127.0.0.1:5000/", None),
            ("http://router.lan:5000/", None),
            ("http://3232255233/", None),
            ("http://192.168.77.1@203.0.113.9/", None),
            ("http://203.0.113.9@192.168.77.1/", None),
            ("http://192.168.77.1.evil.test/", None),
            ("http://192.168.77.1:0/", None),
            ("http://192.168.77.1:99999/", None),
            ("http://192.168.77.1:/", None),
            ("https://192.168.77.1/", None),
            ("ftp://192.168.77.1/", None),
            ("file:///etc/passwd", None),
            ("//192.168.77.1/", None),
            ("/rootDesc.xml", None),
            ("http://192.168.77.1/a b", None),
            ("http://192.168.77.1/\r\nHost: evil", None),
            ("", None),
        ] {
            let found = Location::parse(text, ROUTER);
            let found = found.as_ref().map(|found| (found.address().to_string(), found.path().to_owned()));
            assert_eq!(found, expected.map(|(address, path)| (address.to_owned(), path.to_owned())), "{text}");
        }
        assert_eq!(Location::parse(&format!("http://192.168.77.1/{}", "a".repeat(LONGEST)), ROUTER), None);
    }

    #[test]
    fn references_stay_at_the_router() {
        let base = Location::parse("http://192.168.77.1:5000/upnp/rootDesc.xml?x=/y", ROUTER).unwrap();
        for (reference, expected) in [
            ("/ctl/IPConn", Some("192.168.77.1:5000 /ctl/IPConn")),
            ("ctl/IPConn", Some("192.168.77.1:5000 /upnp/ctl/IPConn")),
            ("http://192.168.77.1:49000/ctl", Some("192.168.77.1:49000 /ctl")),
            ("http://203.0.113.9/ctl", None),
            ("//203.0.113.9/ctl", Some("192.168.77.1:5000 //203.0.113.9/ctl")),
            ("@203.0.113.9/ctl", Some("192.168.77.1:5000 /upnp/@203.0.113.9/ctl")),
            ("ctl\r\nX: y", None),
        ] {
            let found = base.join(reference).map(|found| format!("{} {}", found.address(), found.path()));
            assert_eq!(found.as_deref(), expected, "{reference}");
        }
    }
}
