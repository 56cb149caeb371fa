//! The session at the portal: begun, watched, ended.

use crate::admin::sessions::Reach;
use crate::admin::{AskError, Owner, ServicePath};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Session {
    owner: Owner,
    id: i64,
    until: Timestamp,
    reach: Option<Reach>,
}

#[derive(Deserialize)]
struct Row {
    id: i64,
    until: Timestamp,
    reach: Option<Reach>,
}

/// It may be ended or extended elsewhere.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

impl Session {
    pub(super) async fn open(owner: &Owner, service: &ServicePath, length: &str) -> Result<Self, AskError> {
        let body = json!({ "service": service.to_string(), "for": length });
        let Row { id, until, reach } = owner.ask(Method::POST, "/sessions", Some(body)).await?.read()?;
        Ok(Self { owner: owner.clone(), id, until, reach })
    }

    pub fn id(&self) -> i64 {
        self.id
    }

    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Where foreign software comes in by it, without this program.
    pub fn reach(&self) -> Option<&Reach> {
        self.reach.as_ref()
    }

    /// Resolves when it stands until another instant: `None`, if it is over. Where the portal does not answer, what was known
    /// counts: the gateway cuts by itself.
    pub async fn changed(&mut self) -> Option<Timestamp> {
        loop {
            tokio::time::sleep(LOOKS_EVERY).await;
            let Ok(answer) = self.owner.get("/sessions").await else { continue };
            let Ok(rows) = answer.read::<Vec<Row>>() else { continue };
            let until = rows.into_iter().find(|row| row.id == self.id).map(|row| row.until);
            if until != Some(self.until) {
                self.until = until.unwrap_or(self.until);
                return until;
            }
        }
    }

    /// One that is over already is fine.
    pub async fn end(&self) -> Result<(), AskError> {
        match self.owner.ask(Method::DELETE, &format!("/sessions/{}", self.id), None).await {
            Ok(_) => Ok(()),
            Err(AskError::Refused { status, .. }) if status == http::StatusCode::NOT_FOUND => Ok(()),
            Err(error) => Err(error),
        }
    }
}
