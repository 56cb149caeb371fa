use crate::BackupRequest;
use crate::acting::Acting;
use crate::answer::{Body, Problem};
use crate::describe::Done;
use axum::Json;
use doorward_control::Activation;
use doorward_core::Secret;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KeyBody {
    fingerprint: String,
}

/// Agents learn it over their links; once all have, it may take over.
pub(crate) async fn prepare_successor(Acting(state): Acting) -> Result<Json<KeyBody>, Problem> {
    let fingerprint = state.control.prepare_successor((state.clock)()).await?.to_string();
    Ok(Json(KeyBody { fingerprint }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivationBody {
    /// Even if some devices do not know the new key; they must join anew.
    #[serde(default)]
    anyway: bool,
}

pub(crate) async fn activate_successor(
    Acting(state): Acting,
    Body(body): Body<ActivationBody>,
) -> Result<Json<KeyBody>, Problem> {
    let how = if body.anyway { Activation::Anyway } else { Activation::OnceStored };
    let fingerprint = state.control.activate_successor(how, (state.clock)()).await?.to_string();
    Ok(Json(KeyBody { fingerprint }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupBody {
    path: PathBuf,
    passphrase: Option<String>,
}

pub(crate) async fn backup(Acting(state): Acting, Body(body): Body<BackupBody>) -> Result<Done, Problem> {
    if !body.path.is_absolute() {
        return Err(Problem::invalid("path: write it from the root on; it is a file on the gateway's machine"));
    }
    let request = BackupRequest { path: body.path, passphrase: body.passphrase.map(Secret::new) };
    let made = (state.backup)(request).await;
    let remedy = "choose a path that does not exist yet, on a disk with room for it";
    made.map_err(|what| Problem::new(StatusCode::CONFLICT, what, remedy))?;
    Ok(Done)
}
