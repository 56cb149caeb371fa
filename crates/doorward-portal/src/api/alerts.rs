//! Where notices go, how that fares, and whether one arrives.

use crate::acting::Acting;
use crate::answer::Problem;
use axum::Json;
use doorward_control::AlertDestination;
use doorward_core::notice::Notice;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Delivered {
    name: String,
    kind: String,
    arrived: bool,
    trouble: Option<String>,
}

/// A mail server may take its time.
const LIMIT: Duration = Duration::from_secs(25);

pub(crate) async fn list(Acting(state): Acting) -> Json<BTreeMap<String, AlertDestination>> {
    Json(state.control.alert_destinations().borrow().clone())
}

/// Sends one to every destination, and says what came of it.
pub(crate) async fn test(Acting(state): Acting) -> Result<Json<Vec<Delivered>>, Problem> {
    let mut board = state.control.alert_destinations();
    if board.borrow().is_empty() {
        return Err(Problem::invalid("nobody is told anything: [[alert]] in gateway.toml says who"));
    }
    let id = state.control.alert(Notice::Test, (state.clock)()).unwrap_or_default();
    let is_done = |known: &AlertDestination| known.tested.as_ref().is_some_and(|tested| tested.id == id);
    let all_done = board.wait_for(|board| board.values().all(is_done));
    // Whoever is not done by then says so below.
    let _ = timeout(LIMIT, all_done).await;
    let delivered = |(name, known): (&String, &AlertDestination)| {
        let trouble = match known.tested.as_ref().filter(|tested| tested.id == id) {
            Some(tested) => tested.trouble.clone(),
            None => Some(format!("it is not through after {} s", LIMIT.as_secs())),
        };
        Delivered { name: name.clone(), kind: known.kind.clone(), arrived: trouble.is_none(), trouble }
    };
    let delivered = board.borrow().iter().map(delivered).collect();
    Ok(Json(delivered))
}
