//! Client certificates of people. Certificate, key and password are told once, when they are made.

use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::caller::Source;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use doorward_control::{ClientCertificateRequest, LoginSummary, NewCertificate, Snapshot};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::span::parse_span;
use doorward_core::{LoginId, Secret};
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CertificateBody {
    id: i64,
    person: Option<Label>,
    title: String,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    #[schemars(with = "Instant")]
    used_at: Timestamp,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    /// Where it will be.
    title: String,
    /// As `30d`; a year unless said otherwise.
    #[serde(rename = "for")]
    length: Option<String>,
    /// Whoever asks, unless said otherwise.
    person: Option<String>,
}

pub(crate) struct Made(NewCertificate);

/// Serialised in place, so that no second copy of the text stays in memory.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeBody<'t> {
    id: i64,
    /// Certificate and key in PKCS#12, in base64.
    archive: &'t str,
    /// Opens the archive.
    password: &'t str,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

pub(crate) const USUAL_LENGTH: SignedDuration = SignedDuration::from_hours(365 * 24);

impl IntoResponse for Made {
    fn into_response(self) -> Response {
        let NewCertificate { id, archive, password, until } = self.0;
        let archive = Secret::new(BASE64.encode(archive.expose()));
        Json(MadeBody { id: id.0, archive: archive.expose(), password: password.expose(), until }).into_response()
    }
}

impl Given for Made {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<MadeBody>(operation, schemas);
    }
}

pub(crate) async fn list(
    Acting(state): Acting,
    asker: Asker,
    paging: Paging,
) -> Result<Listed<CertificateBody>, Problem> {
    let of = (!asker.sees_everything()).then_some(asker.account);
    let snapshot = state.control.snapshot();
    let all = state.control.client_certificates(of, (state.clock)());
    Ok(paging.of(all, |summary| Reverse(summary.login.id.0))?.map(|summary| body(&snapshot, summary)))
}

pub(crate) async fn make(
    Acting(state): Acting,
    asker: Asker,
    Source(source): Source,
    Body(new): Body<NewBody>,
) -> Result<Created<Made>, Problem> {
    let account = match &new.person {
        None => asker.account,
        Some(name) => asker.person(&state.control.snapshot(), name)?.id,
    };
    let length = new.length.as_deref().map_or(Ok(USUAL_LENGTH), |text| parse_span(text).map_err(Problem::invalid))?;
    let request = ClientCertificateRequest { account, title: new.title, length, source };
    Ok(Created(Made(state.control.make_certificate(request, (state.clock)()).await?)))
}

pub(crate) async fn revoke(Acting(state): Acting, asker: Asker, At(id): At<i64>) -> Result<Done, Problem> {
    let (id, now) = (LoginId(id), (state.clock)());
    let of = (!asker.sees_everything()).then_some(asker.account);
    if !state.control.client_certificates(of, now).iter().any(|summary| summary.login.id == id) {
        return Err(Problem::unknown(format!("there is no client certificate {id}")));
    }
    state.control.end_login(of, id, now).await?;
    Ok(Done)
}

fn body(snapshot: &Snapshot, summary: LoginSummary) -> CertificateBody {
    let LoginSummary { login, seen_at } = summary;
    CertificateBody {
        id: login.id.0,
        person: snapshot.person(login.account).map(|person| person.name.clone()),
        title: login.title,
        since: login.since,
        until: login.until,
        used_at: seen_at,
    }
}
