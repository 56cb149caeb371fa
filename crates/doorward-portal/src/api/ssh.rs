use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::describe::Done;
use crate::paging::{Listed, Paging};
use axum::Json;
use doorward_control::{KeyFingerprint, NewHolder, PasswordNumber, Snapshot, SshHolder, SshPassword, SshStanding};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::person::PersonStanding;
use doorward_core::schema::Instant;
use doorward_core::ssh::PublicKey;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, JsonSchema)]
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
    #[schemars(with = "Instant")]
    added_at: Timestamp,
}

/// `keys`: the text of a .pub or authorized_keys file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AddBody {
    device: Option<String>,
    person: Option<String>,
    keys: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct AddedBody {
    added: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HostKeysBody {
    host: String,
    /// `null`: nothing is open for SSH.
    port: Option<u16>,
    /// As in .pub files.
    keys: Vec<String>,
}

/// Keys, and passwords as if they were keys.
pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<KeyBody>, Problem> {
    let snapshot = state.control.snapshot();
    let keys: Vec<_> = snapshot
        .ssh_keys()
        .filter(|key| gets_at_holder(&asker, &snapshot, &key.holder))
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
        .chain(
            snapshot
                .ssh_passwords()
                .filter(|password| gets_at_holder(&asker, &snapshot, &SshHolder::Device(password.device)))
                .map(|password| of_password(&snapshot, password)),
        )
        .collect();
    paging.of(keys, |key| {
        let name = |name: &Option<Label>| name.as_ref().map(Label::to_string).unwrap_or_default();
        (format!("{}~{}", name(&key.person), name(&key.device)), format!("{}~{}", key.added_at, key.fingerprint))
    })
}

fn gets_at_holder(asker: &Asker, snapshot: &Snapshot, holder: &SshHolder) -> bool {
    match holder {
        SshHolder::Device(id) => snapshot.device(*id).is_some_and(|device| asker.gets_at_part_of(&device, None)),
        SshHolder::Person(id) => asker.gets_at_account(*id),
    }
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
    Acting(state): Acting,
    asker: Asker,
    Body(body): Body<AddBody>,
) -> Result<Json<AddedBody>, Problem> {
    let label = |name: &str| Label::parse(name).map_err(|error| Problem::invalid(error.to_string()));
    let snapshot = state.control.snapshot();
    let holder = match (body.device, body.person) {
        (Some(name), None) => {
            let name = label(&name)?;
            if !asker.sees_everything() {
                asker.device(&snapshot, name.as_str())?;
            }
            NewHolder::Device(name)
        }
        (None, Some(name)) => {
            let name = label(&name)?;
            if !asker.sees_everything() {
                asker.person(&snapshot, name.as_str())?;
            }
            NewHolder::Person(name)
        }
        (Some(_), Some(_)) | (None, None) => return Err(Problem::invalid("name either a device or a person")),
    };
    let keys = PublicKey::read_lines(&body.keys).map_err(|error| Problem::invalid(error.to_string()))?;
    let added = state.control.add_ssh_keys(holder, keys, (state.clock)()).await?;
    Ok(Json(AddedBody { added }))
}

pub(crate) async fn remove(Acting(state): Acting, asker: Asker, At(fingerprint): At<String>) -> Result<Done, Problem> {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let theirs = |holder: &SshHolder| gets_at_holder(&asker, &snapshot, holder);
    if let Ok(password) = fingerprint.parse::<PasswordNumber>() {
        let mut held = snapshot.ssh_passwords().filter(|held| held.number == password);
        if !asker.sees_everything() && !held.any(|held| theirs(&SshHolder::Device(held.device))) {
            return Err(Problem::unknown(format!("there is no SSH password {fingerprint}")));
        }
        state.control.remove_ssh_password(password, now).await?;
    } else {
        let parsed = fingerprint.parse::<KeyFingerprint>()?;
        let mut held = snapshot.ssh_keys().filter(|held| held.fingerprint == parsed);
        if !asker.sees_everything() && !held.any(|held| theirs(&held.holder)) {
            return Err(Problem::unknown(format!("there is no SSH key {fingerprint}")));
        }
        state.control.remove_ssh_key(parsed, now).await?;
    }
    Ok(Done)
}

pub(crate) async fn host_keys(Acting(state): Acting) -> Result<Json<HostKeysBody>, Problem> {
    let site = state.control.site();
    let keys = state.control.ssh_host_public_keys().await?;
    Ok(Json(HostKeysBody { host: site.port_host(), port: site.ssh_port, keys }))
}
