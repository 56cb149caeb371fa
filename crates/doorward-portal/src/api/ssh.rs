use crate::PortalState;
use crate::answer::{At, Body, Problem};
use axum::Json;
use axum::extract::State;
use doorward_control::{KeyFingerprint, NewHolder, PasswordNumber, Snapshot, SshHolder, SshPassword, SshStanding};
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
    /// As ssh-keygen writes it; of a password its number, as `password-7`.
    fingerprint: String,
    kind: &'static str,
    /// One of the two.
    device: Option<Label>,
    person: Option<Label>,
    /// The virtual port that a sender key is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
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

/// Keys, and passwords as if they were keys.
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
            KeyBody { fingerprint, kind, device, person, port: None, counts, added_at: key.added_at }
        })
        .chain(snapshot.ssh_passwords().map(|password| of_password(&snapshot, password)))
        .collect();
    keys.sort_by(|a, b| (&a.person, &a.device, a.added_at).cmp(&(&b.person, &b.device, b.added_at)));
    Json(keys)
}

fn of_password(snapshot: &Snapshot, password: &SshPassword) -> KeyBody {
    KeyBody {
        fingerprint: password.number.to_string(),
        kind: password.purpose.word(),
        device: snapshot.device(password.device).map(|device| device.name.clone()),
        person: None,
        port: password.purpose.port(),
        counts: snapshot.ssh_password_counts(&password.digest),
        added_at: password.added_at,
    }
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
    let now = (state.clock)();
    if let Ok(password) = fingerprint.parse::<PasswordNumber>() {
        state.control.remove_ssh_password(password, now).await?;
    } else {
        state.control.remove_ssh_key(fingerprint.parse::<KeyFingerprint>()?, now).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn host_keys(State(state): State<PortalState>) -> Result<Json<HostKeysBody>, Problem> {
    let site = state.control.site();
    let keys = state.control.ssh_host_public_keys().await?;
    Ok(Json(HostKeysBody { host: site.port_host(), port: site.ssh_port, keys }))
}
