//! `doorward site-key`: the key that devices trust, and its rotation in two steps. First the successor is announced
//! and every device stores it; then it takes over, and no device need be visited.

use super::status::{self, Status};
use super::{AskError, Owner};
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

#[derive(Deserialize)]
struct Key {
    fingerprint: String,
}

pub async fn show(owner: &Owner) -> Result<String, AskError> {
    let status = status::read(owner).await?;
    let mut text = format!("site key     {}\n", status.site_key);
    match &status.site_key_successor {
        None => text += "\nNo next key is prepared. `doorward site-key rotate` makes one and tells the devices.\n",
        Some(successor) => text += &format!("next key     {successor}\n\n{}", progress(&status)),
    }
    Ok(text)
}

/// The first step.
pub async fn rotate(owner: &Owner) -> Result<String, AskError> {
    let key: Key = owner.ask(Method::POST, "/site-key/successor", None).await?.read()?;
    let status = heard(owner).await?;
    Ok(format!(
        "The next site key is announced:\n{}\nDevices store it as soon as they are online; the old key stays in use.\n\n{}",
        key.fingerprint,
        progress(&status)
    ))
}

/// Those who are online answer within a moment, which is worth waiting for.
async fn heard(owner: &Owner) -> Result<Status, AskError> {
    const EVERY: Duration = Duration::from_millis(200);
    const TIMES: usize = 15;
    for _ in 0..TIMES {
        let status = status::read(owner).await?;
        if status.site_key_awaited.len() + status.devices_online <= status.devices {
            return Ok(status);
        }
        tokio::time::sleep(EVERY).await;
    }
    status::read(owner).await
}

/// The second step. `anyway`: though some devices do not know the new key.
pub async fn activate(owner: &Owner, anyway: bool) -> Result<String, AskError> {
    let key: Key = owner.ask(Method::POST, "/site-key/activate", Some(json!({ "anyway": anyway }))).await?.read()?;
    Ok(format!(
        "The site key from now on:\n{}\nInvites made before name the old one: make those anew.\n",
        key.fingerprint
    ))
}

fn progress(status: &Status) -> String {
    if status.site_key_awaited.is_empty() {
        return "Every device has stored it: `doorward site-key activate` puts it in use.\n".to_owned();
    }
    format!(
        "Not known to be stored by: {}\nOnce they were online: `doorward site-key activate` (with --force they must join anew).\n",
        status.site_key_awaited.join(", ")
    )
}
