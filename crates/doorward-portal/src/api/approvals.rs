//! Requests for somebody's consent. Looking changes nothing: every answer is a POST.

use super::sessions::{OpeningBody, opening_body};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::describe::Created;
use crate::paging::{Listed, Paging};
use axum::Json;
use doorward_control::{ApprovalRequest, Snapshot};
use doorward_core::access::Facts;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::span::write_span;
use doorward_core::{AccountId, ApprovalId, Secret};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ApprovalBody {
    id: ApprovalId,
    /// Who asks.
    person: Option<Label>,
    /// As `device/service`.
    service: Option<String>,
    /// As `30m`.
    #[serde(rename = "for")]
    length: String,
    #[schemars(with = "Instant")]
    asked_at: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    /// Of which group somebody must agree.
    by: Option<Label>,
}

/// In whose name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// Of whoever asks, unless said otherwise.
    #[serde(rename = "as")]
    person: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    token: String,
    approve: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct LinkBody {
    /// Shown once.
    token: String,
    /// Where people answer by it; `null`: the portal has no public address.
    url: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct AnsweredBody {
    approved: bool,
    /// Of an approved one.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<OpeningBody>,
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<ApprovalBody>, Problem> {
    let now = (state.clock)();
    let mut requests = state.control.approval_requests(now).await?;
    let snapshot = state.control.snapshot();
    requests.retain(|request| asker.gets_at_request(&snapshot, request, now));
    let listed = paging.of(requests, |request: &ApprovalRequest| request.id.0.unsigned_abs())?;
    Ok(listed.map(|request| approval_body(&snapshot, &request, now)))
}

pub(crate) async fn approve(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Body(asked): Body<AnswerBody>,
) -> Result<Json<AnsweredBody>, Problem> {
    answer(&state, &asker, id, asked, true).await
}

pub(crate) async fn refuse(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Body(asked): Body<AnswerBody>,
) -> Result<Json<AnsweredBody>, Problem> {
    answer(&state, &asker, id, asked, false).await
}

/// A link for one person to answer one request by.
pub(crate) async fn link(
    Acting(state): Acting,
    asker: Asker,
    At(id): At<i64>,
    Body(asked): Body<AnswerBody>,
) -> Result<Created<Json<LinkBody>>, Problem> {
    asker.request(&state, ApprovalId(id)).await?;
    let approver = voice(&state, &asker, asked)?;
    let token = state.control.approval_token(ApprovalId(id), approver, (state.clock)()).await?;
    let url = url(&state, &token).map(|url| url.expose().clone());
    Ok(Created(Json(LinkBody { token: token.expose().clone(), url })))
}

/// Behind `#`, which browsers send to nobody: no log, proxy or referrer learns it.
pub(crate) fn url(state: &PortalState, token: &Secret<String>) -> Option<Secret<String>> {
    let portal = state.control.site().portal_url()?;
    Some(Secret::new(format!("{portal}answer#{}", token.expose())))
}

pub(crate) async fn by_link(
    Acting(state): Acting,
    Body(asked): Body<TokenBody>,
) -> Result<Json<AnsweredBody>, Problem> {
    let (token, now) = (Secret::new(asked.token), (state.clock)());
    let opening = state.control.answer_by_token(&token, asked.approve, None, now).await?;
    Ok(Json(AnsweredBody {
        approved: opening.is_some(),
        opening: opening.map(|opening| opening_body(&state, opening)),
    }))
}

async fn answer(
    state: &PortalState,
    asker: &Asker,
    id: i64,
    asked: AnswerBody,
    is_yes: bool,
) -> Result<Json<AnsweredBody>, Problem> {
    asker.request(state, ApprovalId(id)).await?;
    let (approver, now) = (voice(state, asker, asked)?, (state.clock)());
    let opening = state.control.answer_request(ApprovalId(id), approver, is_yes, None, now).await?;
    Ok(Json(AnsweredBody { approved: is_yes, opening: opening.map(|opening| opening_body(state, opening)) }))
}

fn voice(state: &PortalState, asker: &Asker, asked: AnswerBody) -> Result<AccountId, Problem> {
    match asked.person {
        Some(name) => Ok(asker.person(&state.control.snapshot(), &name)?.id),
        None => Ok(asker.account),
    }
}

pub(super) fn approval_body(snapshot: &Snapshot, request: &ApprovalRequest, now: Timestamp) -> ApprovalBody {
    ApprovalBody {
        id: request.id,
        person: snapshot.person(request.account).map(|person| person.name.clone()),
        service: snapshot.service(request.service).map(|service| service.path()),
        length: write_span(request.length),
        asked_at: request.asked_at,
        until: request.until,
        by: request.stands(snapshot, now).map(|approval| approval.by),
    }
}
