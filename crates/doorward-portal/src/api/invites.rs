use super::device_named;
use crate::PortalState;
use crate::answer::{At, Body, Problem, Seen};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use doorward_control::{EditError, InviteRequest, InviteSummary, accounts};
use doorward_core::invite::{Invite, SECRET_LENGTH};
use doorward_core::names::Label;
use doorward_core::{InviteId, Secret};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RequestBody {
    uses: Option<u32>,
    /// `36h`, `90m`; at most a year.
    expires_in: Option<SignedDuration>,
    name: Option<String>,
    /// The name of the device whose place the machine takes.
    replaces: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InviteBody {
    id: InviteId,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    name: Option<Label>,
    replaces: Option<Label>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    version: i64,
}

/// An invite just made: the one time that its text is known.
pub(crate) struct NewInvite {
    id: InviteId,
    text: Secret<String>,
}

/// Serialised in place, so that no second copy of the text stays in memory.
#[derive(Serialize)]
struct NewInviteBody<'i> {
    id: InviteId,
    invite: &'i str,
}

impl IntoResponse for NewInvite {
    fn into_response(self) -> Response {
        let body = NewInviteBody { id: self.id, invite: self.text.expose() };
        (StatusCode::CREATED, Json(body)).into_response()
    }
}

pub(crate) async fn list(State(state): State<PortalState>) -> Result<Json<Vec<InviteBody>>, Problem> {
    let (now, snapshot) = ((state.clock)(), state.control.snapshot());
    let body = |invite: InviteSummary| InviteBody {
        id: invite.id,
        uses: invite.uses,
        uses_left: invite.uses_left,
        is_usable: invite.is_usable(now),
        replaces: invite.replaces.and_then(|id| snapshot.device(id)).map(|device| device.name.clone()),
        name: invite.name,
        created_at: invite.created_at,
        expires_at: invite.expires_at,
        revoked_at: invite.revoked_at,
        version: invite.version,
    };
    Ok(Json(state.control.invites().await?.into_iter().map(body).collect()))
}

pub(crate) async fn create(
    State(state): State<PortalState>,
    Body(body): Body<RequestBody>,
) -> Result<NewInvite, Problem> {
    let name = body.name.map(|name| Label::parse(&name)).transpose().map_err(|e| Problem::invalid(e.to_string()))?;
    let replaces = body.replaces.map(|name| device_named(&state.control.snapshot(), &name)).transpose()?;
    let usual = InviteRequest::default();
    let request = InviteRequest {
        uses: body.uses.unwrap_or(usual.uses),
        expires_in: body.expires_in.unwrap_or(usual.expires_in),
        name,
        replaces: replaces.map(|device| device.id),
    };
    hand_over(&state, async || state.control.create_invite(accounts::OWNER, request, (state.clock)()).await).await
}

pub(crate) async fn revoke(
    State(state): State<PortalState>,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<StatusCode, Problem> {
    state.control.revoke_invite(InviteId(id), version, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

type Made = Result<(InviteId, Secret<[u8; SECRET_LENGTH]>), EditError>;

/// Makes an invite and its text. Without an address to put into it none is made.
pub(super) async fn hand_over(state: &PortalState, make: impl AsyncFnOnce() -> Made) -> Result<NewInvite, Problem> {
    let addresses = state.addresses.borrow().clone();
    if addresses.is_empty() {
        let remedy = "set the gateway's public address in its settings";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "the gateway does not know by which address agents reach it",
            remedy,
        ));
    }
    let (id, secret) = make().await?;
    let site = state.control.site_keys().active.fingerprint;
    Ok(NewInvite { id, text: Invite { addresses, site, secret }.to_text() })
}
