use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem, Seen};
use crate::asker::Asker;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{EditError, InviteRequest, InviteSummary};
use doorward_core::invite::{Invite, SECRET_LENGTH};
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::{InviteId, Secret};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RequestBody {
    uses: Option<u32>,
    /// `36h`, `90m`; at most a year.
    #[schemars(with = "Option<String>")]
    expires_in: Option<SignedDuration>,
    name: Option<String>,
    /// The name of the device whose place the machine takes.
    replaces: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InviteBody {
    id: InviteId,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    name: Option<Label>,
    replaces: Option<Label>,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Instant")]
    expires_at: Timestamp,
    #[schemars(with = "Option<Instant>")]
    revoked_at: Option<Timestamp>,
    version: i64,
}

/// An invite just made: the one time that its text is known.
pub(crate) struct NewInvite {
    pub(crate) id: InviteId,
    pub(crate) text: Secret<String>,
}

/// Serialised in place, so that no second copy of the text stays in memory.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewInviteBody<'i> {
    id: InviteId,
    invite: &'i str,
}

impl IntoResponse for NewInvite {
    fn into_response(self) -> Response {
        Json(NewInviteBody { id: self.id, invite: self.text.expose() }).into_response()
    }
}

impl Given for NewInvite {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<NewInviteBody>(operation, schemas);
    }
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<InviteBody>, Problem> {
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
    let mut invites = state.control.invites().await?;
    invites.retain(|invite| asker.gets_at_account(invite.account));
    Ok(paging.of(invites, |invite| Reverse(invite.id.0))?.map(body))
}

pub(crate) async fn create(
    Acting(state): Acting,
    asker: Asker,
    Body(body): Body<RequestBody>,
) -> Result<Created<NewInvite>, Problem> {
    let name = body.name.map(|name| Label::parse(&name)).transpose().map_err(|e| Problem::invalid(e.to_string()))?;
    let replaces = body.replaces.map(|name| asker.device(&state.control.snapshot(), &name)).transpose()?;
    let usual = InviteRequest::default();
    let request = InviteRequest {
        uses: body.uses.unwrap_or(usual.uses),
        expires_in: body.expires_in.unwrap_or(usual.expires_in),
        name,
        replaces: replaces.map(|device| device.id),
    };
    hand_over(&state, async || state.control.create_invite(asker.account, request, (state.clock)()).await).await
}

pub(crate) async fn revoke(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<Done, Problem> {
    let invites = if asker.sees_everything() { Vec::new() } else { state.control.invites().await? };
    let is_theirs = |invite: &InviteSummary| invite.id == InviteId(id) && asker.gets_at_account(invite.account);
    if !asker.sees_everything() && !invites.iter().any(is_theirs) {
        return Err(Problem::unknown(format!("there is no invite {id}")));
    }
    state.control.revoke_invite(InviteId(id), version, (state.clock)()).await?;
    Ok(Done)
}

type Made = Result<(InviteId, Secret<[u8; SECRET_LENGTH]>), EditError>;

/// Makes an invite and its text. Without an address to put into it none is made.
pub(crate) async fn hand_over(
    state: &PortalState,
    make: impl AsyncFnOnce() -> Made,
) -> Result<Created<NewInvite>, Problem> {
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
    Ok(Created(NewInvite { id, text: Invite { addresses, site, secret }.to_text() }))
}
