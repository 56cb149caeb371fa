//! What a person may use.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::caller::SignedIn;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use doorward_control::ServiceRecord;
use doorward_core::access::{Denied, Proof, preview};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    tiles: Vec<Tile>,
}

struct Tile {
    title: String,
    ways: Vec<String>,
}

pub(super) async fn show(State(state): State<PortalState>, frame: Frame, signed_in: SignedIn) -> Response {
    let (snapshot, now) = (state.control.snapshot(), (state.clock)());
    let may_use = |record: &&std::sync::Arc<ServiceRecord>| {
        let session = snapshot.session_for(signed_in.person.id, record.service.id);
        let mut proofs = vec![Proof::Login(signed_in.login.id)];
        proofs.extend(session.map(|session| Proof::Session(session.id)));
        matches!(
            preview(&record.service, &proofs, &*snapshot, now),
            Ok(_) | Err(Denied::SessionNeeded | Denied::SessionOver | Denied::Closed { .. })
        )
    };
    let tile = |record: &std::sync::Arc<ServiceRecord>| Tile {
        title: record.service.title.clone(),
        ways: state.control.reach(record).iter().map(ToString::to_string).collect(),
    };
    let tiles = snapshot.services().filter(may_use).map(tile).collect();
    page(&Home { frame, tiles })
}
