//! Cameras: all that a person may look at side by side, and one alone. The pictures come from the gateway's `/frames/`, which
//! decides for itself who sees them; here is only which ones to ask for.

use super::door::nothing;
use super::frame::{Frame, page};
use super::tile::{Lapses, Standing, Tile};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Problem};
use crate::caller::{SignedIn, Source};
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use doorward_control::ServiceRecord;
use doorward_core::ServiceId;
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

/// One that a browser can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Camera {
    pub(super) title: String,
    /// As `device/service`.
    pub(super) service: String,
    /// Where it is mounted, if it is a part of a service.
    pub(super) mount: Option<PathPrefix>,
    /// Its own page.
    pub(super) page: String,
}

impl Camera {
    /// What the service, or what is mounted in it, offers to be seen.
    pub(super) fn all_of(record: &ServiceRecord) -> Vec<Self> {
        let service = &record.service;
        let page = format!("/cameras/{}", service.id);
        let mounted = service.web.mounts.iter().filter(|mount| mount.camera).map(|mount| Self {
            title: format!("{} {}", service.title, mount.path.as_str().trim_matches('/')),
            service: service.path(),
            mount: Some(mount.path.clone()),
            page: format!("{page}?mount={}", mount.path),
        });
        let own = (service.kind == ServiceKind::Camera).then(|| Self {
            title: service.title.clone(),
            service: service.path(),
            mount: None,
            page: page.clone(),
        });
        own.into_iter().chain(mounted).collect()
    }

    /// Where its pictures are; `stream` or `snapshot` follows.
    pub(super) fn frames(&self) -> String {
        format!("/frames/{}{}", self.service, self.mount.as_ref().map_or("/", |mount| mount.as_str()))
    }

    pub(super) fn mounted_at(&self) -> &str {
        self.mount.as_ref().map_or("", PathPrefix::as_str)
    }
}

#[derive(Template)]
#[template(path = "cameras.html")]
struct Wall {
    frame: Frame,
    cameras: Vec<Camera>,
}

#[derive(Template)]
#[template(path = "camera.html")]
struct One {
    frame: Frame,
    camera: Camera,
    /// The service that it belongs to.
    id: ServiceId,
    is_only: bool,
    /// What it does wrong is for whoever has the device.
    shows_faults: bool,
}

#[derive(Deserialize)]
struct Which {
    mount: Option<String>,
}

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/cameras", get(wall))
        .route("/cameras/{id}", get(one))
        .route("/assets/cameras.css", get(style))
        .route("/assets/cameras.js", get(script))
}

async fn wall(Acting(state): Acting, frame: Frame, signed_in: SignedIn, source: Source) -> Result<Response, Problem> {
    let cameras = theirs(&state, &signed_in, source).await?;
    Ok(page(&Wall { frame, cameras }))
}

async fn one(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    source: Source,
    At(id): At<i64>,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let id = ServiceId(id);
    let Some(record) = state.control.snapshot().service_record(id) else { return Ok(nothing(frame)) };
    let mut lapses = Lapses::of(&state, &signed_in).await?;
    let Some(tile) = Tile::of(&state, &signed_in, &record, &mut lapses, source) else { return Ok(nothing(frame)) };
    let mount = which.mount.unwrap_or_default();
    let found = Camera::all_of(&record).into_iter().find(|camera| camera.mounted_at() == mount);
    let Some(camera) = found else { return Ok(nothing(frame)) };
    if !may_look(&tile.standing) {
        // There it says what comes first.
        return Ok(Redirect::to(&format!("/services/{id}")).into_response());
    }
    let is_only = theirs(&state, &signed_in, source).await?.len() == 1;
    Ok(page(&One { frame, camera, id, is_only, shows_faults: tile.figures.is_some() }))
}

/// Those that somebody may look at now.
async fn theirs(state: &PortalState, signed_in: &SignedIn, source: Source) -> Result<Vec<Camera>, Problem> {
    let snapshot = state.control.snapshot();
    let mut records: Vec<_> = snapshot.services_naming(&signed_in.person).collect();
    records.retain(|record| !Camera::all_of(record).is_empty());
    records.sort_by_cached_key(|record| record.service.path());
    let mut lapses = Lapses::of(state, signed_in).await?;
    let mut tile = |record| Tile::of(state, signed_in, record, &mut lapses, source);
    let tiles = records.iter().filter_map(|record| Some((record, tile(record)?)));
    let open = tiles.filter(|(_, tile)| may_look(&tile.standing));
    Ok(open.flat_map(|(record, _)| Camera::all_of(record)).collect())
}

pub(super) fn may_look(standing: &Standing) -> bool {
    match standing {
        Standing::Free(_) | Standing::Open { .. } => true,
        Standing::Shut(..) | Standing::Closed(_) => false,
    }
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/cameras.css"))
}

async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/cameras.js"))
}
