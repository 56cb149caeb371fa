use crate::PortalState;
use crate::answer::{Asked, Problem};
use axum::Json;
use axum::extract::State;
use doorward_control::AuditEntry;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct EntryBody {
    id: i64,
    at: Timestamp,
    deed: String,
    subject: String,
    detail: String,
    source: String,
    count: u64,
}

const USUAL: u32 = 100;
const MOST: u32 = 10_000;

/// The newest first.
pub(crate) async fn list(
    State(state): State<PortalState>,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<EntryBody>>, Problem> {
    // What happened a second ago is looked for most.
    state.control.flush_audit().await?;
    let entries = state.control.audit(page.limit.unwrap_or(USUAL).min(MOST)).await?;
    let body = |entry: AuditEntry| EntryBody {
        id: entry.id,
        at: entry.at,
        deed: entry.deed,
        subject: entry.subject,
        detail: entry.detail,
        source: entry.source,
        count: entry.count,
    };
    Ok(Json(entries.into_iter().map(body).collect()))
}
