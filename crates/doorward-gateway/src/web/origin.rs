//! Where hosts are rewritten, the target cannot tell a page of its own from a stranger's any more: cross-site
//! requests that do something, and cross-site WebSockets, are refused here in its place (CSRF, CSWSH).

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Scheme, host and port by which the visitor knows the service.
#[derive(Debug)]
pub(crate) struct PublicOrigin {
    pub(crate) is_https: bool,
    /// As the visitor sent it, port and all.
    pub(crate) host: HeaderValue,
}

impl PublicOrigin {
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    pub(crate) fn authority(&self) -> &str {
        self.host.to_str().unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        let named = self.authority().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        named.unwrap_or(if self.is_https { 443 } else { 80 })
    }

    /// Whether `scheme://authority` says the same.
    pub(crate) fn is(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        scheme.eq_ignore_ascii_case(self.scheme()) && self.is_authority(authority, self.is_https)
    }

    /// Whether this is the same host and port, where `is_https` says what port is meant if none is named.
    pub(crate) fn is_authority(&self, authority: &str, is_https: bool) -> bool {
        same_authority(self.authority(), self.is_https, authority, is_https)
    }
}

pub(crate) fn same_authority(one: &str, one_is_https: bool, other: &str, other_is_https: bool) -> bool {
    fn parts(authority: &str, is_https: bool) -> (&str, &str) {
        let usual = if is_https { "443" } else { "80" };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, if port.is_empty() { usual } else { port }),
            Some(_) | None => (authority, usual),
        };
        (host.strip_suffix('.').unwrap_or(host), port)
    }
    let ((host, port), (other_host, other_port)) = (parts(one, one_is_https), parts(other, other_is_https));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

/// Whether a page of another origin has sent this, as far as a browser says, and it would be more than looking.
pub(crate) fn is_foreign_deed(method: &Method, is_upgrade: bool, headers: &HeaderMap, public: &PublicOrigin) -> bool {
    let is_deed = is_upgrade || ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    is_deed && !is_from_home(headers, public)
}

/// Who sends neither header is no browser of the last years, and has no login of somebody else's to abuse.
fn is_from_home(headers: &HeaderMap, public: &PublicOrigin) -> bool {
    let is_own = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| public.is(origin));
    let is_near = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(ORIGIN).iter().all(is_own) && headers.get_all(&SEC_FETCH_SITE).iter().all(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_deeds_from_elsewhere() {
        let home = "https://jupyter-pi.gw.test";
        let (same, cross) = (Some("same-origin"), Some("cross-site"));
        // The pages' origin, what the browser says of it, then: may it look, may it act?
        let table = [
            (None, None, true),
            (Some(home), None, true),
            (Some(home), same, true),
            (Some("https://jupyter-pi.gw.test:443"), None, true),
            (Some("HTTPS://Jupyter-Pi.gw.test"), None, true),
            (None, Some("none"), true),
            (Some("http://jupyter-pi.gw.test"), None, false),
            (Some("https://jupyter-pi.gw.test:8443"), None, false),
            (Some("https://gw.test"), None, false),
            (Some("https://evil-pi.gw.test"), Some("same-site"), false),
            (Some("https://jupyter-pi.gw.test.evil.test"), cross, false),
            (Some("null"), cross, false),
            (Some("null"), None, false),
            (Some(""), None, false),
            (Some("\u{ff}"), None, false),
            (None, Some("same-site"), false),
            (None, cross, false),
            (Some(home), cross, false),
            // What the target believes of itself is no origin of a visitor's page.
            (Some("http://localhost:8888"), None, false),
        ];
        let public = PublicOrigin { is_https: true, host: HeaderValue::from_static("jupyter-pi.gw.test") };
        for (origin, site, may_act) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ORIGIN, origin), (SEC_FETCH_SITE.clone(), site)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                }
            }
            for (method, is_upgrade, is_allowed) in [
                (Method::GET, false, true),
                (Method::HEAD, false, true),
                (Method::OPTIONS, false, true),
                (Method::GET, true, may_act),
                (Method::CONNECT, true, may_act),
                (Method::POST, false, may_act),
                (Method::PUT, false, may_act),
                (Method::DELETE, false, may_act),
                (Method::from_bytes(b"PROPFIND").unwrap(), false, may_act),
            ] {
                let refused = is_foreign_deed(&method, is_upgrade, &headers, &public);
                assert_eq!(refused, !is_allowed, "{method} upgrade={is_upgrade} {origin:?} {site:?}");
            }
        }
    }

    #[test]
    fn one_of_two_origins_is_enough_to_be_foreign() {
        let public = PublicOrigin { is_https: false, host: HeaderValue::from_static("a.test:8080") };
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, HeaderValue::from_static("http://a.test:8080"));
        assert!(!is_foreign_deed(&Method::POST, false, &headers, &public));
        headers.append(ORIGIN, HeaderValue::from_static("http://b.test:8080"));
        assert!(is_foreign_deed(&Method::POST, false, &headers, &public));
    }
}
