use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::describe::Done;
use crate::paging::{Listed, Paging};
use axum::Json;
use doorward_control::{CertificateWish, Snapshot};
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::ssh::PublicKey;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CertificateBody {
    serial: u64,
    person: Label,
    /// Of the key that it is about, as ssh-keygen writes it.
    fingerprint: String,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    counts: bool,
}

/// `key`: the line of a .pub file. `from`: where it counts, as CIDRs; empty: everywhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WishBody {
    person: String,
    key: String,
    seconds: i64,
    #[serde(default)]
    from: Vec<String>,
}

/// The line of an `id-cert.pub`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeBody {
    certificate: String,
}

/// As in .pub files.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuthorityBody {
    key: String,
}

pub(crate) async fn list(
    Acting(state): Acting,
    asker: Asker,
    paging: Paging,
) -> Result<Listed<CertificateBody>, Problem> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let certificates: Vec<_> = snapshot
        .ssh_certificates()
        .filter(|known| is_theirs(&asker, &snapshot, &known.issued.person))
        .map(|known| CertificateBody {
            serial: known.issued.serial,
            person: known.issued.person.clone(),
            fingerprint: known.fingerprint.to_string(),
            created_at: known.created_at,
            until: known.until,
            counts: now < known.until,
        })
        .collect();
    paging.of(certificates, |body| body.serial)
}

fn is_theirs(asker: &Asker, snapshot: &Snapshot, person: &Label) -> bool {
    let person = snapshot.person_by_name(person);
    asker.sees_everything() || person.is_some_and(|person| asker.gets_at_account(person.id))
}

pub(crate) async fn certify(
    Acting(state): Acting,
    asker: Asker,
    Body(body): Body<WishBody>,
) -> Result<Json<MadeBody>, Problem> {
    if !asker.sees_everything() {
        asker.person(&state.control.snapshot(), &body.person)?;
    }
    let wish = CertificateWish {
        person: person(&body.person)?,
        key: body.key.trim().parse::<PublicKey>().map_err(|error| Problem::invalid(error.to_string()))?,
        span: SignedDuration::from_secs(body.seconds),
        sources: body.from,
    };
    let certificate = state.control.certify(wish, (state.clock)()).await?;
    Ok(Json(MadeBody { certificate }))
}

pub(crate) async fn revoke(Acting(state): Acting, asker: Asker, At(serial): At<u64>) -> Result<Done, Problem> {
    let snapshot = state.control.snapshot();
    let mut held = snapshot.ssh_certificates().filter(|known| known.issued.serial == serial);
    if !asker.sees_everything() && !held.any(|known| is_theirs(&asker, &snapshot, &known.issued.person)) {
        return Err(Problem::unknown(format!("there is no SSH certificate {serial}")));
    }
    state.control.revoke_ssh_certificate(serial, (state.clock)()).await?;
    Ok(Done)
}

pub(crate) async fn authority(Acting(state): Acting) -> Result<Json<AuthorityBody>, Problem> {
    let key = state.control.ssh_authority((state.clock)()).await?;
    Ok(Json(AuthorityBody { key: key.to_string() }))
}

fn person(name: &str) -> Result<Label, Problem> {
    Label::parse(name).map_err(|error| Problem::invalid(error.to_string()))
}
