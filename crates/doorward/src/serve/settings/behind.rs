//! Behind a web server that has the public ports already: plain HTTP from that server alone, which keeps the
//! certificates; links come as WebSockets through it.

use super::certificates::CertificatesFile;
use super::{File, wrong};
use doorward_core::names::HostName;
use doorward_core::site::{Address, Carrier, Host};
use std::net::SocketAddr;

impl File {
    /// What `behind` means in terms of the other keys.
    pub(super) fn stand_behind(&mut self, behind: SocketAddr) -> anyhow::Result<()> {
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
        if self.proxies.is_empty() {
            if !behind.ip().is_loopback() {
                let why = format!("{behind} is open to a network: name the web server's address in proxies");
                return Err(wrong("behind", why));
            }
            self.proxies = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()];
        }
        listen.http = vec![behind];
        (listen.https, listen.quic, listen.redirect) = (Some(Vec::new()), Some(Vec::new()), Some(Vec::new()));
        let port = *listen.public_port.get_or_insert(443);
        if self.addresses.is_none() {
            self.addresses = self.domain.clone().map(|domain| vec![by_websocket(domain, port)]);
        }
        Ok(())
    }
}

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
