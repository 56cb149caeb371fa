//! Making passwords by SSH. They are listed and removed with the keys.

use crate::acting::Acting;
use crate::answer::{Body, Problem};
use crate::asker::Asker;
use axum::Json;
use doorward_core::names::Label;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// With `port` a sender key for that virtual port, else a token of the device's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeBody {
    device: String,
    port: Option<u16>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct MadeBody {
    /// As in the list: `password-7`.
    number: String,
    /// In clear, this once.
    password: String,
}

pub(crate) async fn make(
    Acting(state): Acting,
    asker: Asker,
    Body(body): Body<MakeBody>,
) -> Result<Json<MadeBody>, Problem> {
    let device = Label::parse(&body.device).map_err(|error| Problem::invalid(error.to_string()))?;
    if !asker.sees_everything() {
        asker.device(&state.control.snapshot(), device.as_str())?;
    }
    let now = (state.clock)();
    let made = match body.port {
        None => state.control.make_device_token(device, now).await?,
        Some(port) => state.control.make_sender_key(device, port, now).await?,
    };
    Ok(Json(MadeBody { number: made.number.to_string(), password: made.text.expose().clone() }))
}
