//! `doorward people certify`, `certificates` and `revoke`, and `doorward ssh-ca`.

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Deserialize)]
struct Made {
    certificate: String,
}

#[derive(Debug, Deserialize)]
struct Authority {
    key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    serial: u64,
    person: String,
    fingerprint: String,
    until: Timestamp,
    counts: bool,
}

/// What somebody shall be given.
#[derive(Debug)]
pub struct Wish {
    pub person: String,
    /// The line of a .pub file.
    pub key: String,
    pub span: SignedDuration,
    /// Networks; none: anywhere.
    pub from: Vec<String>,
}

/// The certificate alone, for a file.
pub async fn certify(owner: &Owner, wish: &Wish) -> Result<String, AskError> {
    let Wish { person, key, span, from } = wish;
    let body = json!({ "person": person, "key": key, "seconds": span.as_secs(), "from": from });
    let Made { certificate } = owner.ask(Method::POST, "/ssh-certificates", Some(body)).await?.read()?;
    Ok(format!("{}\n", certificate.trim_end()))
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/ssh-certificates").await?;
    let certificates: Vec<Certificate> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if certificates.is_empty() {
        return Ok("Nobody has a certificate now. `doorward people certify NAME` makes one.\n".to_owned());
    }
    let mut table = Table::new(&["NUMBER", "WHOSE", "KEY", "ENDS"]);
    for Certificate { serial, person, fingerprint, until, counts } in certificates {
        let ends = if counts { relative(until, now) } else { "is over".to_owned() };
        table.row([serial.to_string(), person, fingerprint, ends]);
    }
    Ok(table.to_string())
}

pub async fn revoke(owner: &Owner, serial: u64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/ssh-certificates/{serial}"), None).await?;
    Ok(format!("Certificate {serial} counts no more, and its connections are ended.\n"))
}

/// For `TrustedUserCAKeys` on devices whose sshd shall take the same certificates.
pub async fn authority(owner: &Owner) -> Result<String, AskError> {
    let Authority { key } = owner.get("/ssh-authority").await?.read()?;
    Ok(format!("{key} doorward-ssh-ca\n"))
}
