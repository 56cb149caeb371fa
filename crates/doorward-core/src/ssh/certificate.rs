//! Certificates of people (OpenSSH, PROTOCOL.certkeys): whether one counts here, and for whom.
//!
//! That it was signed by the key it names, and that whoever shows it has the private half of the key in it, was
//! verified before. Everything else is decided here.

use super::PublicKey;
use crate::access::Networks;
use crate::names::Label;
use jiff::Timestamp;
use std::net::IpAddr;
use thiserror::Error;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Not a host's.
    pub is_of_a_user: bool,
    pub serial: u64,
    /// The key that it is about.
    pub key: PublicKey,
    /// Who signed it.
    pub signed_by: PublicKey,
    /// None: of everybody.
    pub principals: Vec<String>,
    /// Seconds since 1970.
    pub valid_after: u64,
    /// `u64::MAX`: for ever.
    pub valid_before: u64,
    /// Names and values of what must be understood to let anybody in by it.
    pub critical_options: Vec<(String, String)>,
}

/// What was written down when the gateway signed a certificate, and stands until it is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub serial: u64,
    pub person: Label,
    pub key: PublicKey,
}

/// Who comes by it, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    pub person: Label,
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateRefusal {
    #[error("your certificate was not signed by this gateway")]
    Foreign,
    #[error("your certificate is a host's")]
    OfAHost,
    #[error("your certificate was taken back, or made by a gateway that forgot it")]
    Revoked,
    #[error("your certificate does not name exactly the person whom it was made for")]
    Principals,
    #[error("your certificate asks for \"{0}\", which is not known here")]
    Option(String),
    #[error("your certificate does not count where you come from")]
    Source,
    #[error("your certificate does not count yet: is a clock wrong?")]
    TooEarly,
    #[error("your certificate has ended")]
    Over,
    #[error("your certificate never ends, and such are not given here")]
    Endless,
}

/// sshd(8) calls it so, too.
pub const SOURCE_ADDRESS: &str = "source-address";

impl Certificate {
    /// `authority`: the key that the gateway signs with. `issued`: what is known of this serial.
    pub fn certifies(
        &self,
        authority: &PublicKey,
        issued: Option<&Issued>,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Certified, CertificateRefusal> {
        if self.signed_by != *authority {
            return Err(CertificateRefusal::Foreign);
        }
        if !self.is_of_a_user {
            return Err(CertificateRefusal::OfAHost);
        }
        let issued = issued.filter(|issued| issued.serial == self.serial && issued.key == self.key);
        let issued = issued.ok_or(CertificateRefusal::Revoked)?;
        if self.principals != [issued.person.as_str()] {
            return Err(CertificateRefusal::Principals);
        }
        for (name, value) in &self.critical_options {
            if name != SOURCE_ADDRESS {
                return Err(CertificateRefusal::Option(name.chars().take(60).collect()));
            }
            let given: Vec<_> = value.split(',').map(str::to_owned).collect();
            if !Networks::parse(&given).is_ok_and(|networks| networks.contain(source)) {
                return Err(CertificateRefusal::Source);
            }
        }
        // What cannot be written as a time is for ever.
        let time = |seconds: u64| i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let until = time(self.valid_before).ok_or(CertificateRefusal::Endless)?;
        if time(self.valid_after).is_none_or(|from| now < from) {
            return Err(CertificateRefusal::TooEarly);
        }
        if until <= now {
            return Err(CertificateRefusal::Over);
        }
        Ok(Certified { person: issued.person.clone(), until })
    }
}
