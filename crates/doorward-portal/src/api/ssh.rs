use crate::PortalState;
use crate::answer::{At, Body, Problem};
use axum::Json;
use axum::extract::State;
use doorward_control::{KeyFingerprint, NewHolder, SshHolder, SshStanding};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::person::PersonStanding;
use doorward_core::ssh::PublicKey;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KeyBody {
    /// As ssh-keygen writes it.
    fingerprint: String,
    kind: &'static str,
    /// One of the two.
    device: Option<Label>,
    person: Option<Label>,
    counts: bool,
    added_at: Timestamp,
}

/// `keys`: the text of a .pub or authorized_keys file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AddBody {
    device: Option<String>,
    person: Option<String>,
    keys: String,
}

#[derive(Serialize)]
pub(crate) struct AddedBody {
    added: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HostKeysBody {
    host: String,
    /// `null`: nothing is open for SSH.
    port: Option<u16>,
    /// As in .pub files.
    keys: Vec<String>,
}

pub(crate) async fn list(State(state): State<PortalState>) -> Json<Vec<KeyBody>> {
    let snapshot = state.control.snapshot();
    let mut keys: Vec<_> = snapshot
        .ssh_keys()
        .map(|key| {
            let (device, person) = match &key.holder {
                SshHolder::Device(id) => (snapshot.device(*id).map(|device| device.name.clone()), None),
                SshHolder::Person(id) => (None, snapshot.person(*id).map(|person| person.name.clone())),
            };
            let counts = match snapshot.ssh_standing(&key.fingerprint) {
                SshStanding::Device(_) => true,
                SshStanding::Person(person) => person.standing((state.clock)()) == PersonStanding::Good,
                SshStanding::Refused | SshStanding::Unknown => false,
            };
            let (fingerprint, kind) = (key.fingerprint.to_string(), key.key.kind());
            KeyBody { fingerprint, kind, device, person, counts, added_at: key.added_at }
        })
        .collect();
    keys.sort_by(|a, b| (&a.person, &a.device, a.added_at).cmp(&(&b.person, &b.device, b.added_at)));
    Json(keys)
}

pub(crate) async fn add(
    State(state): State<PortalState>,
    Body(body): Body<AddBody>,
) -> Result<Json<AddedBody>, Problem> {
    let label = |name: &str| Label::parse(name).map_err(|error| Problem::invalid(error.to_string()));
    let holder = match (body.device, body.person) {
        (Some(name), None) => NewHolder::Device(label(&name)?),
        (None, Some(name)) => NewHolder::Person(label(&name)?),
        (Some(_), Some(_)) | (None, None) => return Err(Problem::invalid("name either a device or a person")),
    };
    let keys = PublicKey::read_lines(&body.keys).map_err(|error| Problem::invalid(error.to_string()))?;
    let added = state.control.add_ssh_keys(holder, keys, (state.clock)()).await?;
    Ok(Json(AddedBody { added }))
}

pub(crate) async fn remove(
    State(state): State<PortalState>,
    At(fingerprint): At<String>,
) -> Result<StatusCode, Problem> {
    let fingerprint: KeyFingerprint = fingerprint.parse()?;
    state.control.remove_ssh_key(fingerprint, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn host_keys(State(state): State<PortalState>) -> Result<Json<HostKeysBody>, Problem> {
    let site = state.control.site();
    let keys = state.control.ssh_host_public_keys().await?;
    Ok(Json(HostKeysBody { host: site.port_host(), port: site.ssh_port, keys }))
}
