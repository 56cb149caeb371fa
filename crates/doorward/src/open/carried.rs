//! One connection to the gateway for one visit.

use crate::admin::portal::{Portal, Stream};
use crate::admin::{AskError, ServicePath};
use doorward_core::site::CARRY_PATH;
use doorward_tunnel::{Carried, carried_config};
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) portal: Arc<Portal>,
    pub(super) service: ServicePath,
    pub(super) tell: mpsc::Sender<CarryError>,
}

#[derive(Debug, Error)]
pub enum CarryError {
    #[error(transparent)]
    Unreachable(#[from] AskError),
    #[error("{what}{}", remedy.as_ref().map(|remedy| format!(" ({remedy})")).unwrap_or_default())]
    Refused { status: StatusCode, what: String, remedy: Option<String> },
    #[error("the portal does not carry services: {0}")]
    Strange(String),
    #[error("the gateway did not answer within {} s", LIMIT.as_secs())]
    Silent,
}

/// Longer than a device may take to answer; one that is made ready first may take this long.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) type Carrying = Carried<Box<dyn Stream>>;

impl Way {
    pub(super) async fn connect(&self) -> Result<Carrying, CarryError> {
        timeout(LIMIT, self.ask()).await.unwrap_or(Err(CarryError::Silent))
    }

    async fn ask(&self) -> Result<Carrying, CarryError> {
        let strange = |error: &dyn std::fmt::Display| CarryError::Strange(error.to_string());
        let ServicePath { device, service } = &self.service;
        // The scheme is for the library alone: the connection stands already.
        let url = format!("ws://{}{CARRY_PATH}{device}/{service}", self.portal.authority());
        let mut request = url.into_client_request().map_err(|error| strange(&error))?;
        let authorization = HeaderValue::try_from(self.portal.authorization().expose().as_str());
        let mut authorization = authorization.map_err(|error| strange(&error))?;
        authorization.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, authorization);
        let stream = self.portal.connect().await?;
        match client_async_with_config(request, stream, Some(carried_config())).await {
            Ok((socket, _)) => Ok(Carried::new(socket)),
            Err(WebSocketError::Http(answer)) => Err(refusal(answer.status(), answer.body().as_deref())),
            Err(error) => Err(strange(&error)),
        }
    }

    /// Nobody waits for whoever does not listen.
    pub(super) fn tell(&self, trouble: CarryError) {
        let _ = self.tell.try_send(trouble);
    }
}

#[derive(Default, Deserialize)]
struct Problem {
    detail: Option<String>,
    remedy: Option<String>,
}

fn refusal(status: StatusCode, body: Option<&[u8]>) -> CarryError {
    let problem: Problem = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let what = problem.detail.unwrap_or_else(|| match status {
        StatusCode::NOT_FOUND => "there is no such service that you may use now".to_owned(),
        status => format!("the gateway answered {status}"),
    });
    CarryError::Refused { status, what, remedy: problem.remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_gateway_said() {
        let told = refusal(StatusCode::FORBIDDEN, Some(br#"{"detail":"no session","remedy":"open one"}"#));
        assert_eq!(told.to_string(), "no session (open one)");
        assert!(refusal(StatusCode::NOT_FOUND, Some(b"<html>")).to_string().contains("no such service"));
        assert!(refusal(StatusCode::BAD_GATEWAY, None).to_string().contains("502"));
    }
}
