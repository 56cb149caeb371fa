//! Which HTTP proxy to dial through: the one of the file, or the one of the environment with its exceptions.

use doorward_core::Secret;
use doorward_core::site::{Address, Host};
use doorward_tunnel::Proxy;
use thiserror::Error;

/// A proxy and the hosts that are dialled without it.
#[derive(Clone, Debug)]
pub struct ProxyRule {
    proxy: Proxy,
    except: Vec<String>,
}

/// Says nothing of what was given: there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ProxyError(&'static str);

impl ProxyRule {
    /// `http://user:password@host:port`; user and password percent-encoded where needed.
    pub fn parse(given: &str) -> Result<Self, ProxyError> {
        let rest = match given.split_once("://") {
            None => given,
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(ProxyError("a proxy is spoken to in plain HTTP; write http://host:port")),
            Some(_) => return Err(ProxyError("only HTTP proxies (CONNECT) are supported; write http://host:port")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => {
                let decoded = percent_decode(credentials).ok_or(ProxyError("its user or password is badly encoded"))?;
                (Some(Secret::new(decoded)), authority)
            }
            None => (None, rest),
        };
        let default = "a proxy is written as http://host:port";
        let address = Address::parse(&format!("ws://{authority}")).map_err(|_| ProxyError(default))?;
        let endpoint = address.endpoints().into_iter().next().ok_or(ProxyError(default))?;
        let host = endpoint.host.to_string().trim_matches(['[', ']']).to_owned();
        let port = if authority.ends_with(&format!(":{}", endpoint.port)) { endpoint.port } else { 3128 };
        Ok(Self { proxy: Proxy { host, port, credentials }, except: Vec::new() })
    }

    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case. `variable` looks one up.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Result<Self, ProxyError>> {
        let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let given = names.into_iter().filter_map(&variable).find(|value| !value.is_empty())?;
        let except = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        let except = except.split([',', ' ']).map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty());
        let except = except.collect();
        Some(Self::parse(&given).map(|rule| Self { except, ..rule }))
    }

    /// The proxy for these addresses; none if one of them is excepted, since that one can be had directly.
    pub fn for_addresses(&self, addresses: &[Address]) -> Option<Proxy> {
        let hosts = addresses.iter().flat_map(Address::endpoints).map(|endpoint| endpoint.host);
        let is_excepted = hosts.into_iter().any(|host| self.except.iter().any(|pattern| covers(pattern, &host)));
        (!is_excepted).then(|| self.proxy.clone())
    }
}

/// `*`, an address, or a domain with all below it (a leading dot or `*.` makes no difference).
fn covers(pattern: &str, host: &Host) -> bool {
    let host = match host {
        Host::Name(name) => name.to_string(),
        Host::Ip(ip) => ip.to_string(),
    };
    let domain = pattern.trim_start_matches('*').trim_start_matches('.');
    pattern == "*"
        || host == domain
        || (!domain.is_empty() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<Address> {
        vec![Address::parse(text).unwrap()]
    }

    #[test]
    fn a_proxy_is_read_whole() {
        let rule = ProxyRule::parse("http://anna:p%40ss@proxy.example.org:8080/").unwrap();
        assert_eq!((rule.proxy.host.as_str(), rule.proxy.port), ("proxy.example.org", 8080));
        assert_eq!(rule.proxy.credentials.as_ref().unwrap().expose(), "anna:p@ss");
        assert_eq!(ProxyRule::parse("proxy").unwrap().proxy.port, 3128);
        for bad in ["socks5://proxy:1080", "https://proxy:1", "http://", "http://a%4:b@proxy:1", "http://u:hunter2@:0"]
        {
            let error = ProxyRule::parse(bad).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_environment_names_exceptions() {
        let environment = |name: &str| match name {
            "https_proxy" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some("localhost, .example.org,192.0.2.1".to_owned()),
            _ => None,
        };
        let rule = ProxyRule::from_environment(environment).unwrap().unwrap();
        assert!(rule.for_addresses(&addresses("gw.example.com")).is_some());
        for direct in ["gw.example.org", "example.org:8443", "192.0.2.1", "localhost:1"] {
            assert!(rule.for_addresses(&addresses(direct)).is_none(), "{direct}");
        }
        assert!(rule.for_addresses(&addresses("badexample.org")).is_some());
        assert!(ProxyRule::from_environment(|_| None).is_none());
    }
}
