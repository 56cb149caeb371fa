//! Source networks (CIDR). One spelling per address: `::ffff:192.0.2.1` is 192.0.2.1 (RFC 4291 2.5.5.2).

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use thiserror::Error;

/// The one spelling of an address that rules compare.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{given}\" is not a network: write an address or CIDR, as 192.0.2.0/24 or 2001:db8::/32")]
pub struct NetworkError {
    pub given: String,
}

impl Networks {
    pub fn parse(given: &[String]) -> Result<Self, NetworkError> {
        given.iter().map(|text| parse_one(text.trim())).collect::<Result<_, _>>().map(Self)
    }

    pub fn contain(&self, ip: IpAddr) -> bool {
        let ip = canonical(ip);
        self.0.iter().any(|net| net.contains(&ip))
    }
}

fn parse_one(text: &str) -> Result<IpNet, NetworkError> {
    let error = || NetworkError { given: text.chars().take(80).collect() };
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| error())?),
    };
    // A mapped network is the IPv4 network it means; anything wider would match every IPv4 visitor by accident.
    match net {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            let length = v6.prefix_len().checked_sub(96).ok_or_else(error)?;
            let v4: Ipv4Addr = v6.addr().to_ipv4_mapped().ok_or_else(error)?;
            IpNet::new(v4.into(), length).map_err(|_| error())
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(net.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::parse(&list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_empty_list_contains_nothing() {
        assert!(!networks(&[]).contain("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.0/120", "192.0.2.77", true),
            ("192.0.2.0/24", "::ffff:192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.77/24", "192.0.2.1", true),
        ];
        for (network, ip, inside) in table {
            assert_eq!(networks(&[network]).contain(ip.parse().unwrap()), inside, "{ip} in {network}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for bad in ["", "192.0.2", "192.0.2.0/33", "::ffff:0.0.0.0/90", "example.org", "0/0"] {
            let error = Networks::parse(&[bad.to_owned()]).unwrap_err();
            assert_eq!(error.given, bad);
        }
    }
}
