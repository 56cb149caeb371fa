//! Links by which people come in, or come in again. Each answer with a link is the one time that it is known.

use super::people::{label, person_named};
use crate::PortalState;
use crate::answer::{At, Body, Problem, Seen};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use doorward_control::{
    ImportError, InvitationRequest, LineError, MadeWelcome, Newcomer, Usual, Welcome, WelcomeKind, read_list,
};
use doorward_core::names::Label;
use doorward_core::person::Role;
use doorward_core::{Secret, WelcomeId};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A list of a few thousand people.
pub(super) const MAX_LIST: usize = 1024 * 1024;
const USUAL_LENGTH: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OwnerLinkBody {
    /// Of an owner; the first account if left out.
    person: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LinkBody {
    expires_in: Option<SignedDuration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct InvitationBody {
    title: Option<String>,
    uses: Option<u32>,
    expires_in: Option<SignedDuration>,
    role: Option<Role>,
    #[serde(default)]
    groups: Vec<String>,
    /// Of the accounts that it makes.
    ends_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImportBody {
    csv: String,
    role: Option<Role>,
    #[serde(default)]
    groups: Vec<String>,
    ends_at: Option<Timestamp>,
    expires_in: Option<SignedDuration>,
}

/// A link just made.
pub(crate) struct NewLink {
    id: WelcomeId,
    url: Secret<String>,
    expires_at: Timestamp,
}

/// Serialised in place, so that no second copy of the secret stays in memory.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct NewLinkBody<'l> {
    id: WelcomeId,
    url: &'l str,
    expires_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImportedBody<'l> {
    line: u64,
    name: &'l Label,
    title: Option<&'l str>,
    url: &'l str,
    expires_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InvitationSummary {
    id: WelcomeId,
    title: String,
    role: Role,
    groups: Vec<Label>,
    ends_at: Option<Timestamp>,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
    version: i64,
}

impl IntoResponse for NewLink {
    fn into_response(self) -> Response {
        let body = NewLinkBody { id: self.id, url: self.url.expose(), expires_at: self.expires_at };
        (StatusCode::CREATED, Json(body)).into_response()
    }
}

/// For an owner who is locked out; before there was a first owner, theirs. Whoever is at the gateway's shell may.
pub(crate) async fn owner_link(
    State(state): State<PortalState>,
    Body(body): Body<OwnerLinkBody>,
) -> Result<NewLink, Problem> {
    let portal = portal(&state)?;
    let name = body.person.as_deref().map(label).transpose()?;
    let made = state.control.make_owner_link(name, (state.clock)()).await?;
    Ok(portal.link(made))
}

pub(crate) async fn link(
    State(state): State<PortalState>,
    At(name): At<String>,
    Body(body): Body<LinkBody>,
) -> Result<NewLink, Problem> {
    let portal = portal(&state)?;
    let account = person_named(&state.control.snapshot(), &name)?.id;
    let length = body.expires_in.unwrap_or(USUAL_LENGTH);
    Ok(portal.link(state.control.make_own_welcome(account, length, (state.clock)()).await?))
}

pub(crate) async fn invite(
    State(state): State<PortalState>,
    Body(body): Body<InvitationBody>,
) -> Result<NewLink, Problem> {
    let portal = portal(&state)?;
    let usual = InvitationRequest::default();
    let request = InvitationRequest {
        title: body.title.unwrap_or_default(),
        uses: body.uses.unwrap_or(usual.uses),
        expires_in: body.expires_in.unwrap_or(usual.expires_in),
        role: body.role.unwrap_or(usual.role),
        groups: labels(&body.groups)?,
        account_ends_at: body.ends_at,
    };
    Ok(portal.link(state.control.invite_people(request, (state.clock)()).await?))
}

pub(crate) async fn list(State(state): State<PortalState>) -> Result<Json<Vec<InvitationSummary>>, Problem> {
    let now = (state.clock)();
    let summary = |welcome: Welcome| InvitationSummary {
        is_usable: welcome.is_usable(now),
        id: welcome.id,
        title: welcome.title,
        role: welcome.role,
        groups: welcome.groups,
        ends_at: welcome.account_ends_at,
        uses: welcome.uses,
        uses_left: welcome.uses_left,
        created_at: welcome.created_at,
        expires_at: welcome.expires_at,
        revoked_at: welcome.revoked_at,
        version: welcome.version,
    };
    let invitations = state.control.invitations().await?;
    let invitations = invitations.into_iter().filter(|welcome| welcome.kind == WelcomeKind::Invitation);
    Ok(Json(invitations.map(summary).collect()))
}

pub(crate) async fn revoke(
    State(state): State<PortalState>,
    At(id): At<i64>,
    Seen(version): Seen,
) -> Result<StatusCode, Problem> {
    state.control.revoke_invitation(WelcomeId(id), version, (state.clock)()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn import(
    State(state): State<PortalState>,
    Body(body): Body<ImportBody>,
) -> Result<Response, Problem> {
    let portal = portal(&state)?;
    let role = body.role.unwrap_or(Role::Member);
    let usual = Usual { role, groups: labels(&body.groups)?, ends_at: body.ends_at };
    let newcomers = read_list(&body.csv, &usual).map_err(ImportError::Lines)?;
    let length = body.expires_in.unwrap_or(USUAL_LENGTH);
    let made = state.control.import_people(newcomers, length, (state.clock)()).await?;
    let links: Vec<_> = made.into_iter().map(|(newcomer, made)| (newcomer, portal.link(made))).collect();
    let imported = |(newcomer, link): &(Newcomer, NewLink)| -> serde_json::Value {
        let body = ImportedBody {
            line: newcomer.line,
            name: &newcomer.name,
            title: newcomer.title.as_deref(),
            url: link.url.expose(),
            expires_at: link.expires_at,
        };
        serde_json::to_value(body).expect("plain values")
    };
    Ok((StatusCode::CREATED, Json(links.iter().map(imported).collect::<Vec<_>>())).into_response())
}

/// Where people sign in.
struct Portal(String);

fn portal(state: &PortalState) -> Result<Portal, Problem> {
    let remedy = "give it a name of its own with [portal] host in gateway.toml";
    let missing = || Problem::new(StatusCode::CONFLICT, "the portal has no public address for such a link", remedy);
    state.control.site().portal_url().map(Portal).ok_or_else(missing)
}

impl Portal {
    /// Behind `#`, which browsers send to nobody: no log, proxy or referrer learns it.
    fn link(&self, made: MadeWelcome) -> NewLink {
        let url = Secret::new(format!("{}welcome#{}", self.0, made.secret.expose()));
        NewLink { id: made.id, url, expires_at: made.expires_at }
    }
}

fn labels(names: &[String]) -> Result<Vec<Label>, Problem> {
    names.iter().map(|name| label(name)).collect()
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let what = error.to_string();
        match error {
            ImportError::Lines(errors) => {
                let told: Vec<_> = errors.iter().map(|LineError { line, why }| format!("line {line}: {why}")).collect();
                Self::invalid(format!("{what}\n{}", told.join("\n")))
            }
            ImportError::Edit(error) => error.into(),
        }
    }
}
