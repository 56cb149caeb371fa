//! The REST API. Keys are in kebab-case, times in RFC 3339, unknown keys are refused.

mod alerts;
mod audit;
mod authority;
pub(crate) mod devices;
mod groups;
mod invites;
mod people;
pub(crate) mod services;
mod sessions;
mod site;
mod ssh;
mod ssh_certificates;
mod ssh_passwords;
pub(crate) mod status;
mod welcomes;

use crate::PortalState;
use crate::answer::Problem;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, patch, post, put};
use doorward_control::{Device, Snapshot};
use doorward_core::names::Label;
use std::sync::Arc;

const MAX_BODY: usize = 64 * 1024;

pub(crate) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/status", get(status::show))
        .route("/devices", get(devices::list))
        .route("/devices/{name}", patch(devices::edit))
        .route("/devices/{name}/revoke", post(devices::revoke))
        .route("/devices/{name}/replace", post(devices::replace))
        .route("/invites", get(invites::list).post(invites::create))
        .route("/invites/{id}", delete(invites::revoke))
        .route("/services", get(services::list))
        .route("/services/{device}/{service}/access", put(services::set_access).delete(services::give_access_back))
        .route("/services/{device}/{service}/people", get(sessions::who))
        .route("/people", get(people::list).post(people::add))
        .route("/people/{name}", patch(people::edit).delete(people::remove))
        .route("/people/{name}/link", post(welcomes::link))
        .route("/people/import", post(welcomes::import).layer(DefaultBodyLimit::max(welcomes::MAX_LIST)))
        .route("/owner-link", post(welcomes::owner_link))
        .route("/invitations", get(welcomes::list).post(welcomes::invite))
        .route("/invitations/{id}", delete(welcomes::revoke))
        .route("/groups", get(groups::list).post(groups::add))
        .route("/groups/{name}", patch(groups::edit).delete(groups::remove))
        .route("/sessions", get(sessions::list).post(sessions::open))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/sessions/{id}/extend", post(sessions::extend))
        .route("/reservations/hosts/{host}", delete(services::release_host))
        .route("/reservations/ports/{protocol}/{port}", delete(services::release_port))
        .route("/reservations/services/{device}/{service}", delete(services::release_service))
        .route("/alerts", get(alerts::list))
        .route("/alerts/test", post(alerts::test))
        .route("/audit", get(audit::list))
        .route("/audit/part", get(audit::part))
        .route("/audit/verify", get(audit::verify))
        .route("/site-key/successor", post(site::prepare_successor))
        .route("/site-key/activate", post(site::activate_successor))
        .route("/ssh-keys", get(ssh::list).post(ssh::add))
        .route("/ssh-keys/{fingerprint}", delete(ssh::remove))
        .route("/ssh-passwords", post(ssh_passwords::make))
        .route("/ssh-host-keys", get(ssh::host_keys))
        .route("/ssh-certificates", get(ssh_certificates::list).post(ssh_certificates::certify))
        .route("/ssh-certificates/{serial}", delete(ssh_certificates::revoke))
        .route("/ssh-authority", get(ssh_certificates::authority))
        .route("/authority", get(authority::show))
        .route("/authority/renew", post(authority::renew))
        .route("/backup", post(site::backup))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// For people who signed in.
pub(crate) fn public_routes() -> Router<PortalState> {
    Router::new()
}

/// A device by the name in a path.
fn device_named(snapshot: &Snapshot, name: &str) -> Result<Arc<Device>, Problem> {
    let found = Label::parse(name).ok().and_then(|label| snapshot.device_by_name(&label));
    found.ok_or_else(|| Problem::unknown(format!("there is no device \"{name}\"")))
}
