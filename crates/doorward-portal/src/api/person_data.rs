//! All that is known of one person.

use crate::acting::Acting;
use crate::answer::{Asked, At, Problem};
use crate::asker::Asker;
use axum::Json;
use doorward_control::PersonData;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DataQuery {
    /// As the last answer's `audit-after` has it: its lines from there on.
    audit_after: Option<i64>,
}

pub(crate) async fn show(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Asked(query): Asked<DataQuery>,
) -> Result<Json<PersonData>, Problem> {
    let id = asker.person(&state.control.snapshot(), &name)?.id;
    Ok(Json(state.control.export_person(id, query.audit_after, (state.clock)()).await?))
}
