//! `doorward tokens certificate`, `certificates` and `drop-certificate`: for whoever shows a certificate.

use super::when::relative;
use super::{AskError, Form, Owner, Table};
use data_encoding::BASE64;
use doorward_core::Secret;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    id: i64,
    person: Option<String>,
    title: String,
    until: Timestamp,
    used_at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Wish {
    pub title: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

#[derive(Deserialize)]
struct MadeBody {
    id: i64,
    archive: String,
    password: String,
}

/// One that was just made.
pub struct Made {
    pub id: i64,
    /// PKCS#12.
    pub archive: Secret<Vec<u8>>,
    pub password: Secret<String>,
}

pub async fn list(owner: &Owner, form: Form, now: Timestamp) -> Result<String, AskError> {
    let answer = owner.get("/client-certificates").await?;
    let certificates: Vec<Certificate> = match form {
        Form::Json => return answer.json(),
        Form::Table => answer.read()?,
    };
    if certificates.is_empty() {
        return Ok("There are no client certificates.\n".to_owned());
    }
    let mut table = Table::new(&["ID", "PERSON", "FOR", "ENDS", "USED"]);
    for certificate in certificates {
        let person = certificate.person.unwrap_or_else(|| "(gone)".to_owned());
        let (ends, used) = (relative(certificate.until, now), relative(certificate.used_at, now));
        table.row([certificate.id.to_string(), person, certificate.title, ends, used]);
    }
    Ok(table.to_string())
}

pub async fn make(owner: &Owner, wish: &Wish) -> Result<Made, AskError> {
    let body = super::people::json(wish)?;
    let made: MadeBody = owner.ask(Method::POST, "/client-certificates", Some(body)).await?.read()?;
    let archive = BASE64.decode(made.archive.as_bytes()).map_err(|error| AskError::Strange(error.to_string()))?;
    Ok(Made { id: made.id, archive: Secret::new(archive), password: Secret::new(made.password) })
}

pub async fn revoke(owner: &Owner, id: i64) -> Result<String, AskError> {
    owner.ask(Method::DELETE, &format!("/client-certificates/{id}"), None).await?;
    Ok(format!("Certificate {id} counts no more, and what came by it is cut.\n"))
}
