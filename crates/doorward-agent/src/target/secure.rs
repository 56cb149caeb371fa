//! How the agent makes sure that an `https://` target is the right one.

use std::fmt;

/// SHA-256 of a certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificatePin(pub [u8; 32]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// By the certificate authorities of this machine, and by name.
    #[default]
    System,
    /// This very certificate, whatever it says: what a device made for itself.
    Pin(CertificatePin),
    /// Not at all. Only ever said explicitly.
    Off,
}

impl Verify {
    /// `system`, `off` or `pin:sha256:` and 64 hexadecimal digits, with or without colons between.
    pub fn parse(given: &str) -> Result<Self, &'static str> {
        match given {
            "system" => Ok(Self::System),
            "off" => Ok(Self::Off),
            _ => {
                let digits = given.strip_prefix("pin:sha256:").ok_or(FORMS)?.replace(':', "");
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| FORMS)?;
                bytes.try_into().map(|pin| Self::Pin(CertificatePin(pin))).map_err(|_| FORMS)
            }
        }
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Off => f.write_str("off"),
            Self::Pin(pin) => write!(f, "pin:sha256:{pin:?}"),
        }
    }
}

const FORMS: &str = "write \"system\", \"off\", or \"pin:sha256:\" and the 64 digits that \
                     `openssl x509 -noout -fingerprint -sha256` prints of the target's certificate";

impl fmt::Debug for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_openssl_prints_them() {
        let colons = ["AB"; 32].join(":");
        assert_eq!(Verify::parse(&format!("pin:sha256:{colons}")), Ok(Verify::Pin(CertificatePin([0xab; 32]))));
        assert_eq!(
            Verify::parse(&format!("pin:sha256:{}", "ab".repeat(32))),
            Verify::parse(&format!("pin:sha256:{colons}"))
        );
        assert_eq!((Verify::parse("system"), Verify::parse("off")), (Ok(Verify::System), Ok(Verify::Off)));
        for bad in ["", "none", "pin:", "pin:sha256:ab", "pin:sha1:ab", "OFF"] {
            assert!(Verify::parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
