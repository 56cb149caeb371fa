//! The services whose policies somebody may change.

use super::frame::{Frame, page};
use super::policy;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::paging::Paging;
use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use doorward_control::{AccessHome, ServiceRecord};
use doorward_core::authority::Action;
use doorward_core::service::Standing;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "policies.html")]
struct PoliciesPage {
    frame: Frame,
    find: String,
    services: Vec<Listed>,
    next: Option<String>,
}

struct Listed {
    path: String,
    title: String,
    /// Of whom it is said, in words.
    who: &'static str,
    is_of_device: bool,
    is_offered: bool,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    find: String,
    after: Option<String>,
}

const AT_ONCE: usize = 50;

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/policies", get(show))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Asked(search): Asked<Search>,
) -> Result<Response, Problem> {
    let asker = Asker::at_page(&signed_in, Action::SetAccess)?;
    let snapshot = state.control.snapshot();
    let find = search.find.trim().to_lowercase();
    let is_meant = |record: &&Arc<ServiceRecord>| {
        let (path, title) = (record.service.path(), record.service.title.to_lowercase());
        asker.manages(&snapshot, record) && (path.contains(&find) || title.contains(&find))
    };
    let all: Vec<_> = snapshot.services().filter(is_meant).cloned().collect();
    let place = |record: &Arc<ServiceRecord>| (record.service.device_name.to_string(), record.service.name.to_string());
    let (services, next) = Paging::new(Some(AT_ONCE), search.after).of(all, place)?.map(listed).into_parts();
    let next = next.map(|after| frame_query(&search.find, &after));
    Ok(page(&PoliciesPage { frame, find: search.find, services, next }))
}

pub(super) fn frame_query(find: &str, after: &str) -> String {
    serde_urlencoded::to_string([("find", find), ("after", after)]).expect("text is always encodable")
}

fn listed(record: Arc<ServiceRecord>) -> Listed {
    Listed {
        path: record.service.path(),
        title: record.service.title.clone(),
        who: policy::in_short(record.access.who),
        is_of_device: record.access_home == AccessHome::Device,
        is_offered: record.service.standing == Standing::Offered,
    }
}
