//! What is asked of a device itself.

use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::Asker;
use crate::describe::{Done, Given, Operation, gives_json};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{Errand, ErrandError};
use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

#[derive(Serialize, JsonSchema)]
pub(crate) struct LogBody {
    /// The last two hundred at most, the oldest first.
    lines: Vec<String>,
}

/// The device said it.
pub(crate) struct Told(LogBody);

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl Given for Told {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<LogBody>(operation, schemas);
        operation.refuses(StatusCode::CONFLICT, "the device is offline, or its agent does not do it");
    }
}

pub(crate) async fn log(Acting(state): Acting, asker: Asker, At(name): At<String>) -> Result<Told, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    let lines = state.control.ask_device(device.id, Errand::Log, (state.clock)()).await?;
    Ok(Told(LogBody { lines }))
}

pub(crate) async fn restart(Acting(state): Acting, asker: Asker, At(name): At<String>) -> Result<Done, Problem> {
    let device = asker.device(&state.control.snapshot(), &name)?;
    state.control.ask_device(device.id, Errand::Restart, (state.clock)()).await?;
    Ok(Done)
}

impl From<ErrandError> for Problem {
    fn from(error: ErrandError) -> Self {
        let what = error.to_string();
        match error {
            ErrandError::Offline => Self::new(StatusCode::CONFLICT, what, "look why with `doorward doctor`"),
            ErrandError::Refused(_) | ErrandError::TooOld => {
                Self::new(StatusCode::CONFLICT, what, "do it on the device itself")
            }
            ErrandError::Busy | ErrandError::Silent => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, what, "try again in a moment")
            }
            ErrandError::Store(error) => error.into(),
        }
    }
}
