//! Behind a web server that has the public ports already: plain HTTP from that server alone, which keeps the
//! certificates; links come as WebSockets through it.

use super::certificates::CertificatesFile;
use super::{File, wrong};
use doorward_core::names::HostName;
use doorward_core::site::{Address, Carrier, Host};
use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

/// Where the web server in front reaches the gateway: `127.0.0.1:8080`, or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Behind {
    Port(SocketAddr),
    /// `unix:/run/doorward/web.sock`; the path alone means the same.
    Socket(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is no place to listen: write it as 127.0.0.1:8080 or unix:/run/doorward/web.sock")]
pub struct BehindError(String);

impl Behind {
    pub fn parse(text: &str) -> Result<Self, BehindError> {
        let wrong = || BehindError(text.chars().take(120).collect());
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if !path.starts_with('/') {
            return text.parse().map(Self::Port).map_err(|_| wrong());
        }
        // unix(7): sun_path has 108 bytes with its NUL. The rest stands in web servers' settings without quotes.
        let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        if is_plain && path.len() <= 107 && !path.ends_with('/') { Ok(Self::Socket(path.into())) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Behind {
    type Error = BehindError;

    fn try_from(text: String) -> Result<Self, BehindError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => write!(f, "{address}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl File {
    /// What `behind` means in terms of the other keys. The socket, if it is one.
    pub(super) fn stand_behind(&mut self, behind: &Behind) -> anyhow::Result<Option<PathBuf>> {
        self.leave_the_public_ports()?;
        let socket = match behind {
            Behind::Port(address) => {
                if self.proxies.is_empty() {
                    if !address.ip().is_loopback() {
                        let why = format!("{address} is open to a network: name the web server's address in proxies");
                        return Err(wrong("behind", why));
                    }
                    self.proxies = THIS_MACHINE.map(str::to_owned).to_vec();
                }
                self.listen.http = vec![*address];
                None
            }
            Behind::Socket(path) => {
                // Who may open it, its mode says. Other proxies may stand before the one that did.
                self.proxies.extend(THIS_MACHINE.map(str::to_owned));
                Some(path.clone())
            }
        };
        let port = *self.listen.public_port.get_or_insert(443);
        if self.addresses.is_none() {
            self.addresses = self.domain.clone().map(|domain| vec![by_websocket(domain, port)]);
        }
        Ok(socket)
    }

    fn leave_the_public_ports(&mut self) -> anyhow::Result<()> {
        let listen = &mut self.listen;
        let listeners = [listen.https.as_ref().is_some_and(|l| !l.is_empty()), !listen.http.is_empty()];
        if listeners.contains(&true) || listen.quic.as_ref().is_some_and(|l| !l.is_empty()) {
            return Err(wrong("behind", "it says where to listen; take listen.https, listen.http and listen.quic out"));
        }
        if self.certificate.is_some() {
            return Err(wrong("certificate", "the web server in front has the certificates; take this out"));
        }
        if self.certificates != CertificatesFile::default() {
            return Err(wrong("certificates", "the web server in front has the certificates; take this out"));
        }
        self.certificates.authorities = Some(Vec::new());
        (listen.https, listen.quic, listen.redirect) = (Some(Vec::new()), Some(Vec::new()), Some(Vec::new()));
        Ok(())
    }
}

const THIS_MACHINE: [&str; 2] = ["127.0.0.0/8", "::1"];

fn by_websocket(domain: HostName, port: u16) -> Address {
    Address::one(Carrier::WebSocket, Host::Name(domain), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> anyhow::Result<super::super::ServeSettings> {
        toml::from_str::<File>(text)?.into_settings("/tmp/x".into())
    }

    #[test]
    fn behind_says_all_that_a_proxy_in_front_makes_different() {
        let settings = settings("domain = \"example.org\"\nbehind = \"127.0.0.1:8080\"\n").unwrap();
        let gateway = &settings.gateway;
        assert_eq!(gateway.http, ["127.0.0.1:8080".parse().unwrap()]);
        assert!(gateway.https.is_empty() && gateway.quic.is_empty() && gateway.is_behind);
        assert!(gateway.redirect.is_empty() && gateway.issuing.is_none() && gateway.hsts.is_zero());
        assert_eq!(gateway.addresses, [Address::parse("wss://example.org").unwrap()]);
        assert!(gateway.proxies.contain("127.0.0.1".parse().unwrap()));
        assert!(!gateway.proxies.contain("192.0.2.1".parse().unwrap()));
        assert!(settings.site.web.is_https && settings.site.web.port == 443);
    }

    #[test]
    fn who_is_on_a_socket_is_a_proxy_whoever_else_is() {
        for (behind, proxies) in
            [("unix:/run/doorward/web.sock", ""), ("/run/doorward/web.sock", "proxies = [\"192.0.2.1\"]")]
        {
            let settings = settings(&format!("domain = \"example.org\"\nbehind = \"{behind}\"\n{proxies}")).unwrap();
            let gateway = &settings.gateway;
            assert_eq!(gateway.local.as_deref(), Some(std::path::Path::new("/run/doorward/web.sock")));
            assert!(gateway.http.is_empty() && gateway.https.is_empty() && gateway.is_behind);
            assert!(gateway.proxies.contain("127.0.0.1".parse().unwrap()));
            assert_eq!(gateway.proxies.contain("192.0.2.1".parse().unwrap()), !proxies.is_empty());
            assert_eq!(gateway.addresses, [Address::parse("wss://example.org").unwrap()]);
        }
    }

    #[test]
    fn a_place_is_a_port_or_a_path_that_needs_no_quotes() {
        for text in ["127.0.0.1:8080", "[::1]:8080", "unix:/run/doorward/web.sock"] {
            assert_eq!(Behind::parse(text).unwrap().to_string(), text);
        }
        let long = format!("/{}", "a".repeat(107));
        for bad in
            ["8080", "localhost:8080", "unix:web.sock", "unix:/run/a b", "unix:/run/a;b", "unix:/run/", "", &long]
        {
            assert!(Behind::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_contradicts_it_is_refused() {
        for (text, why) in [
            ("behind = \"0.0.0.0:8080\"", "in proxies"),
            ("behind = \"127.0.0.1:8080\"\n[listen]\nhttp = [\"127.0.0.1:81\"]", "take listen.https"),
            ("behind = \"127.0.0.1:8080\"\n[certificate]\nchain = \"a\"\nkey = \"b\"", "has the certificates"),
            ("behind = \"127.0.0.1:8080\"\n[certificates]\nhsts-days = 1", "has the certificates"),
        ] {
            let error = settings(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(settings("behind = \"0.0.0.0:8080\"\nproxies = [\"192.0.2.1\"]").is_ok());
    }
}
