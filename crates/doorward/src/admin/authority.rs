//! `doorward ca`: the authority of the gateway's own, and how to have machines trust it.

use super::{AskError, Owner};
use http::Method;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use std::net::IpAddr;

/// As the API answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Authority {
    pub domain: String,
    pub addresses: Vec<IpAddr>,
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub pem: String,
}

/// `None`: it has none, since its certificate is in files or it has no HTTPS.
pub async fn find(owner: &Owner) -> Result<Option<Authority>, AskError> {
    match read(owner).await {
        Ok(authority) => Ok(Some(authority)),
        Err(AskError::Refused { status, .. }) if status == http::StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(owner: &Owner) -> Result<Authority, AskError> {
    owner.get("/authority").await?.read()
}

pub async fn pem(owner: &Owner) -> Result<String, AskError> {
    Ok(read(owner).await?.pem)
}

pub async fn der(owner: &Owner) -> Result<Vec<u8>, AskError> {
    read(owner).await?.der()
}

pub async fn show(owner: &Owner) -> Result<String, AskError> {
    let authority = read(owner).await?;
    let (places, instructions) = (authority.places(), authority.instructions());
    Ok(format!("{}\n{}\n{places}\n{instructions}", authority.summary(), authority.pem))
}

/// Another root in its place.
pub async fn renew(owner: &Owner) -> Result<String, AskError> {
    let authority: Authority = owner.ask(Method::POST, "/authority/renew", None).await?.read()?;
    Ok(format!(
        "There is a new root; the old one and its key are gone. Whoever installed that removes it and installs this\n\
         (`doorward ca` says how):\n\n{}",
        authority.summary()
    ))
}

impl Authority {
    pub fn der(&self) -> Result<Vec<u8>, AskError> {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes());
        certificate.map(|certificate| certificate.to_vec()).map_err(|error| AskError::Strange(error.to_string()))
    }

    /// Below which names and addresses it counts.
    pub fn scope_in_words(&self) -> String {
        let addresses: String = self.addresses.iter().map(|ip| format!(", {ip}")).collect();
        format!("{0}, *.{0}{addresses}", self.domain)
    }

    fn summary(&self) -> String {
        format!(
            "counts for   {} and nothing else\nuntil        {}\nSHA-256      {}\n",
            self.scope_in_words(),
            self.not_after.strftime("%F"),
            self.fingerprint
        )
    }

    /// A name or address under which other machines find the gateway, if one is known.
    fn host(&self) -> Option<String> {
        if self.domain != "localhost" {
            return Some(self.domain.clone());
        }
        self.addresses.first().map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() })
    }

    fn places(&self) -> String {
        let host = self.host().unwrap_or_else(|| "GATEWAY".to_owned());
        let path = doorward_gateway::ROOT_PATH;
        format!(
            "As a file:   doorward ca --pem > doorward-ca.pem      (or --der > doorward-ca.crt)\n\
             From afar:   http://{host}{path}      where port 80 is served, else by https:// with the gateway's port\n\
             Compare the SHA-256 with the one above before you trust it.\n"
        )
    }

    fn instructions(&self) -> String {
        let host = self.host().unwrap_or_else(|| "GATEWAY".to_owned());
        INSTRUCTIONS.replace("{host}", &host)
    }
}

const INSTRUCTIONS: &str = "\
Windows          certutil -user -addstore Root doorward-ca.crt
macOS            security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db doorward-ca.pem
iPhone, iPad     open the address above in Safari, then Settings > General > VPN & Device Management > install it, then
                 Settings > General > About > Certificate Trust Settings > switch it on
Android          open the address above, or copy doorward-ca.crt there; Settings > Security > Encryption & credentials >
                 Install a certificate > CA certificate (the words differ); apps may trust it or not, browsers do
Debian, Ubuntu   sudo cp doorward-ca.pem /usr/local/share/ca-certificates/doorward-ca.crt && sudo update-ca-certificates
Fedora, RHEL     sudo cp doorward-ca.pem /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
Chrome on Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n doorward -i doorward-ca.pem     (package libnss3-tools;
                 where there is no such folder yet: mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -N --empty-password)
Firefox          Settings > Privacy & Security > View Certificates > Authorities > Import, for web sites
curl             curl --cacert doorward-ca.pem https://{host}/
";
