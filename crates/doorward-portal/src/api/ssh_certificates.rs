use crate::PortalState;
use crate::answer::{At, Body, Problem};
use axum::Json;
use axum::extract::State;
use doorward_control::CertificateWish;
use doorward_core::names::Label;
use doorward_core::ssh::PublicKey;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CertificateBody {
    serial: u64,
    person: Label,
    /// Of the key that it is about, as ssh-keygen writes it.
    fingerprint: String,
    created_at: Timestamp,
    until: Timestamp,
    counts: bool,
}

/// `key`: the line of a .pub file. `from`: where it counts, as CIDRs; empty: everywhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WishBody {
    person: String,
    key: String,
    seconds: i64,
    #[serde(default)]
    from: Vec<String>,
}

/// The line of an `id-cert.pub`.
#[derive(Serialize)]
pub(crate) struct MadeBody {
    certificate: String,
}

/// As in .pub files.
#[derive(Serialize)]
pub(crate) struct AuthorityBody {
    key: String,
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<CertificateBody>> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let mut certificates: Vec<_> = snapshot
        .ssh_certificates()
        .map(|known| CertificateBody {
            serial: known.issued.serial,
            person: known.issued.person.clone(),
            fingerprint: known.fingerprint.to_string(),
            created_at: known.created_at,
            until: known.until,
            counts: now < known.until,
        })
        .collect();
    certificates.sort_by_key(|body| body.serial);
    Json(certificates)
}

pub(crate) async fn certify(
    State(state): State<PortalState>,
    Body(body): Body<WishBody>,
) -> Result<Json<MadeBody>, Problem> {
    let wish = CertificateWish {
        person: person(&body.person)?,
        key: body.key.trim().parse::<PublicKey>().map_err(|error| Problem::invalid(error.to_string()))?,
        span: SignedDuration::from_secs(body.seconds),
        sources: body.from,
    };
    let certificate = state.control.certify(wish, (state.clock)()).await?;
    Ok(Json(MadeBody { certificate }))
}

pub(crate) async fn revoke(State(state): State<PortalState>, At(serial): At<u64>) -> Result<StatusCode, Problem> {
    state.control.revoke_ssh_certificate(serial, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn authority(State(state): State<PortalState>) -> Result<Json<AuthorityBody>, Problem> {
    let key = state.control.ssh_authority((state.clock)()).await?;
    Ok(Json(AuthorityBody { key: key.to_string() }))
}

fn person(name: &str) -> Result<Label, Problem> {
    Label::parse(name).map_err(|error| Problem::invalid(error.to_string()))
}
