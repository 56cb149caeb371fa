//! What people see: the REST API and the start page, on control. No listener of its own and no decisions.
//!
//! Three routers, for three doors. [`site`] is the public one, for people who sign in. [`owner`] does everything and belongs on a unix socket that only the owner can open
//! (mode 0600 is its authorisation). [`start_page`] only shows, and belongs on a loopback port; since any web page can
//! make a browser talk to loopback, it refuses foreign names and origins (DNS rebinding, CSRF).

mod acting;
mod adding;
mod answer;
mod api;
mod asker;
mod bearer;
mod builds;
mod caller;
mod cookies;
mod describe;
mod entering;
mod figures;
mod foresight;
mod forms;
mod guard;
mod idempotent;
mod pages;
mod paging;
mod routes;
mod seed;
mod site;
mod words;

#[cfg(test)]
mod tests;

pub use caller::Caller;
pub use site::site;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::get;
use doorward_control::Control;
use doorward_core::Secret;
use doorward_core::site::Address;
use doorward_oidc::Providers;
use jiff::Timestamp;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone)]
pub struct PortalState {
    pub control: Control,
    /// Where agents reach the site; it stands in every invite.
    pub addresses: watch::Receiver<Vec<Address>>,
    /// Of the running program.
    pub release: &'static str,
    pub backup: BackupHook,
    /// Where people may sign in besides here.
    pub providers: Providers,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// Writes a backup; the binary knows how to encrypt one. The error is told to the caller as it is.
pub type BackupHook =
    Arc<dyn Fn(BackupRequest) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

#[derive(Debug)]
pub struct BackupRequest {
    /// Absolute, on the gateway's machine, not existing yet.
    pub path: PathBuf,
    /// Encrypt with this; `None`: not at all.
    pub passphrase: Option<Secret<String>>,
}

/// Everything, for whoever may open the unix socket.
pub fn owner(state: PortalState) -> Router {
    let router = Router::new()
        .nest("/api/v1", api::router(&state))
        .merge(seed::routes())
        .merge(pages::routes())
        .route("/healthz", get(health));
    finish(router).layer(from_fn(caller::is_owner)).with_state(state)
}

/// The start page and what it shows as JSON, for a loopback listener on `port`. Nothing here changes state.
pub fn start_page(state: PortalState, port: u16) -> Router {
    let router = Router::new().merge(pages::routes()).route("/api/v1/status", get(api::status::show));
    finish(router.route("/healthz", get(health)))
        .layer(from_fn_with_state(guard::Loopback { port }, guard::keep_out_foreigners))
        .layer(map_response(answer::harden))
        .with_state(state)
}

fn finish(router: Router<PortalState>) -> Router<PortalState> {
    router
        .fallback(answer::unknown_path)
        .method_not_allowed_fallback(answer::unknown_method)
        .layer(map_response(answer::harden))
}

/// Alive; says nothing else.
async fn health() -> &'static str {
    "ok\n"
}
