//! Share links: what is made here lets whoever has it come to one service.

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Seen};
use crate::asker::Asker;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{EditError, MadeShare, ShareError, ShareSummary, Viewer};
use doorward_core::ShareId;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::share::{ShareRefusal, ShareWish, USUAL_LENGTH};
use doorward_core::span::parse_span;
use http::StatusCode;
use jiff::Timestamp;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::num::NonZeroU32;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ShareBody {
    id: ShareId,
    /// As `device/service`; `null`: it is gone.
    service: Option<String>,
    /// Who made it; `null`: they are gone.
    maker: Option<Label>,
    title: String,
    /// `open`, `used-up` (whoever came may stay), `over` or `revoked`.
    standing: &'static str,
    #[schemars(with = "Instant")]
    made_at: Timestamp,
    /// Sooner than it was made for, where policy or account have come to allow less.
    #[schemars(with = "Instant")]
    until: Timestamp,
    read_only: bool,
    pin: bool,
    /// How many browsers it lets in; `null`: as many as come.
    uses: Option<u32>,
    used: u32,
    viewers: Vec<ViewerBody>,
    version: i64,
}

/// A browser that came by it since the gateway started.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ViewerBody {
    /// The first that used the link has number 1.
    number: u32,
    source: IpAddr,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Instant")]
    seen_at: Timestamp,
    looking: bool,
    /// From them and to them.
    bytes_up: u64,
    bytes_down: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NewBody {
    /// As `device/service`.
    service: String,
    /// As `30m`; 4 hours unless said otherwise, and never longer than the service's policy allows.
    #[serde(rename = "for")]
    length: Option<String>,
    /// How many browsers it lets in; as many as come unless said otherwise.
    uses: Option<NonZeroU32>,
    /// GET, HEAD and OPTIONS, and nothing else.
    #[serde(default)]
    read_only: bool,
    /// One is made, and told this once.
    #[serde(default)]
    pin: bool,
    /// For whom or what it is.
    title: Option<String>,
}

pub(crate) struct NewShare(MadeShare);

/// Serialised in place, so that no second copy of the secrets stays in memory.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewShareBody<'s> {
    id: ShareId,
    url: &'s str,
    pin: Option<&'s str>,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

impl IntoResponse for NewShare {
    fn into_response(self) -> Response {
        let MadeShare { share, url, pin } = &self.0;
        let pin = pin.as_ref().map(|pin| pin.expose().as_str());
        Json(NewShareBody { id: share.id, url: url.expose(), pin, until: share.until }).into_response()
    }
}

impl Given for NewShare {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<NewShareBody>(operation, schemas);
    }
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<ShareBody>, Problem> {
    let mut shares = state.control.shares((state.clock)()).await?;
    shares.retain(|share| is_theirs(&state, &asker, share));
    Ok(paging.of(shares, |share: &ShareSummary| Reverse(share.share.id.0))?.map(body))
}

pub(crate) async fn make(
    Acting(state): Acting,
    asker: Asker,
    Body(new): Body<NewBody>,
) -> Result<Created<NewShare>, Problem> {
    let path = new.service.split_once('/');
    let path = path.ok_or_else(|| Problem::invalid("write the service as DEVICE/SERVICE"))?;
    let service = asker.service(&state, path)?.service.id;
    let length = new.length.as_deref().map_or(Ok(USUAL_LENGTH), |text| parse_span(text).map_err(Problem::invalid))?;
    let wish = ShareWish {
        title: new.title.unwrap_or_default(),
        length,
        uses: new.uses,
        is_read_only: new.read_only,
        has_pin: new.pin,
    };
    Ok(Created(NewShare(state.control.make_share(service, asker.account, wish, (state.clock)()).await?)))
}

pub(crate) async fn revoke(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<Done, Problem> {
    let now = (state.clock)();
    let known = state.control.shares(now).await?;
    if !known.iter().any(|share| share.share.id.0 == id && is_theirs(&state, &asker, share)) {
        return Err(EditError::Unknown(format!("share link {id}")).into());
    }
    state.control.revoke_share(ShareId(id), version, now).await?;
    Ok(Done)
}

/// It goes with its service; where that is gone, owners of the gateway see it still.
fn is_theirs(state: &PortalState, asker: &Asker, share: &ShareSummary) -> bool {
    let snapshot = state.control.snapshot();
    match snapshot.service_record(share.share.service) {
        Some(record) => asker.gets_at_service(&snapshot, &record, (state.clock)()),
        None => asker.sees_everything(),
    }
}

fn body(summary: ShareSummary) -> ShareBody {
    let ShareSummary { share, standing, service, maker, viewers } = summary;
    ShareBody {
        id: share.id,
        service,
        maker,
        title: share.title,
        standing: standing.word(),
        made_at: share.made_at,
        until: standing.until().unwrap_or(share.until),
        read_only: share.is_read_only,
        pin: share.has_pin,
        uses: share.uses.map(NonZeroU32::get),
        used: share.used,
        viewers: viewers.into_iter().map(viewer).collect(),
        version: share.version,
    }
}

fn viewer(viewer: Viewer) -> ViewerBody {
    let Viewer { number, source, since, seen_at, is_looking, up, down } = viewer;
    ViewerBody { number, source, since, seen_at, looking: is_looking, bytes_up: up, bytes_down: down }
}

impl From<ShareError> for Problem {
    fn from(error: ShareError) -> Self {
        let what = error.to_string();
        match error {
            ShareError::Refused(ShareRefusal::NoTime) => Self::invalid(what),
            ShareError::Refused(
                ShareRefusal::NotWeb
                | ShareRefusal::Public
                | ShareRefusal::NotAllowed
                | ShareRefusal::DeviceRevoked
                | ShareRefusal::NotTheirs,
            ) => Self::new(
                StatusCode::CONFLICT,
                what,
                "look at who may use it with `doorward access DEVICE/SERVICE`, and allow links with `set … --share-links 7d`",
            ),
            ShareError::Credential(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, what, "try again in a moment"),
            ShareError::Edit(error) => error.into(),
        }
    }
}
