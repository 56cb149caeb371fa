//! Keys by which people knock. Each is told once, when it is made.

use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{KnockKeyRequest, KnockKeySummary, NewKnockKey, Snapshot};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::{KnockKeyId, ServiceId};
use jiff::Timestamp;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KnockKeyBody {
    id: i64,
    person: Option<Label>,
    name: Label,
    /// As `device/service`.
    opens: Vec<String>,
    /// Whether knocks may leave open from where they come.
    may_be_seen: bool,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Option<Instant>")]
    used_at: Option<Timestamp>,
    /// From where, the last time.
    used_from: Option<IpAddr>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NewBody {
    /// What has it, as `phone`.
    name: Label,
    /// As `device/service`. Without any it opens nothing, and shows a portal that is hidden.
    #[serde(default)]
    opens: Vec<String>,
    /// Whether knocks may leave open from where they come. Whoever holds one back may then use it once from elsewhere.
    #[serde(default)]
    may_be_seen: bool,
    /// Whoever asks, unless said otherwise.
    person: Option<String>,
}

pub(crate) struct NewKey(NewKnockKey);

/// Serialised in place, so that no second copy of the text stays in memory.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NewKeyBody<'t> {
    id: i64,
    /// For `doorward knock --learn`.
    line: &'t str,
}

impl IntoResponse for NewKey {
    fn into_response(self) -> Response {
        let text = self.0.line.to_text();
        Json(NewKeyBody { id: self.0.id.0, line: text.expose() }).into_response()
    }
}

impl Given for NewKey {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<NewKeyBody>(operation, schemas);
    }
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<KnockKeyBody>, Problem> {
    let of = (!asker.sees_everything()).then_some(asker.account);
    let keys = state.control.knock_keys(of).await?;
    let snapshot = state.control.snapshot();
    Ok(paging.of(keys, |key| Reverse(key.id.0))?.map(|key| body(&snapshot, key)))
}

pub(crate) async fn make(
    Acting(state): Acting,
    asker: Asker,
    Body(new): Body<NewBody>,
) -> Result<Created<NewKey>, Problem> {
    let account = match &new.person {
        None => asker.account,
        Some(name) => asker.person(&state.control.snapshot(), name)?.id,
    };
    let found = |path: &String| {
        let (device, service) = path.split_once('/').unwrap_or((path, ""));
        asker.known_service(&state, (device, service)).map(|record| record.service.id)
    };
    let services = new.opens.iter().map(found).collect::<Result<Vec<_>, Problem>>()?;
    let request = KnockKeyRequest { account, name: new.name, services, may_be_seen: new.may_be_seen };
    Ok(Created(NewKey(state.control.make_knock_key(request, (state.clock)()).await?)))
}

pub(crate) async fn remove(Acting(state): Acting, asker: Asker, At(id): At<i64>) -> Result<Done, Problem> {
    let of = (!asker.sees_everything()).then_some(asker.account);
    state.control.remove_knock_key(of, KnockKeyId(id), (state.clock)()).await?;
    Ok(Done)
}

fn body(snapshot: &Snapshot, key: KnockKeySummary) -> KnockKeyBody {
    let path = |id: &ServiceId| snapshot.service(*id).map(|service| service.path());
    KnockKeyBody {
        id: key.id.0,
        person: snapshot.person(key.account).map(|person| person.name.clone()),
        name: key.name,
        opens: key.services.iter().filter_map(path).collect(),
        may_be_seen: key.may_be_seen,
        since: key.since,
        used_at: key.used_at,
        used_from: key.used_from,
    }
}
