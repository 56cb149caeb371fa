//! Links by which people come in, or come in again. Each answer with a link is the one time that it is known.

use super::people::label;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Body, MAX_LIST, Problem, Seen};
use crate::asker::Asker;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{
    ImportError, InvitationRequest, LineError, MadeWelcome, Newcomer, Usual, Welcome, WelcomeKind, read_list,
};
use doorward_core::names::Label;
use doorward_core::person::Role;
use doorward_core::schema::Instant;
use doorward_core::{Secret, WelcomeId};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

pub(crate) const USUAL_LENGTH: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OwnerLinkBody {
    /// Of an owner; the first account if left out.
    person: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LinkBody {
    /// `36h`, `90m`; at most a year.
    #[schemars(with = "Option<String>")]
    expires_in: Option<SignedDuration>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct InvitationBody {
    title: Option<String>,
    uses: Option<u32>,
    /// `36h`, `90m`; at most a year.
    #[schemars(with = "Option<String>")]
    expires_in: Option<SignedDuration>,
    role: Option<Role>,
    #[serde(default)]
    groups: Vec<String>,
    /// Of the accounts that it makes.
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImportBody {
    csv: String,
    role: Option<Role>,
    #[serde(default)]
    groups: Vec<String>,
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
    /// `36h`, `90m`; at most a year.
    #[schemars(with = "Option<String>")]
    expires_in: Option<SignedDuration>,
}

/// A link just made.
pub(crate) struct NewLink {
    id: WelcomeId,
    pub(crate) url: Secret<String>,
    pub(crate) expires_at: Timestamp,
}

/// Serialised in place, so that no second copy of the secret stays in memory.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NewLinkBody<'l> {
    id: WelcomeId,
    url: &'l str,
    #[schemars(with = "Instant")]
    expires_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImportedBody<'l> {
    line: u64,
    name: &'l Label,
    title: Option<&'l str>,
    url: &'l str,
    #[schemars(with = "Instant")]
    expires_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InvitationSummary {
    id: WelcomeId,
    title: String,
    role: Role,
    groups: Vec<Label>,
    #[schemars(with = "Option<Instant>")]
    ends_at: Option<Timestamp>,
    uses: u32,
    uses_left: u32,
    is_usable: bool,
    #[schemars(with = "Instant")]
    created_at: Timestamp,
    #[schemars(with = "Instant")]
    expires_at: Timestamp,
    #[schemars(with = "Option<Instant>")]
    revoked_at: Option<Timestamp>,
    version: i64,
}

impl NewLink {
    fn body(&self) -> NewLinkBody<'_> {
        NewLinkBody { id: self.id, url: self.url.expose(), expires_at: self.expires_at }
    }
}

impl IntoResponse for NewLink {
    fn into_response(self) -> Response {
        Json(self.body()).into_response()
    }
}

impl Given for NewLink {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<NewLinkBody>(operation, schemas);
    }
}

/// Everybody of a list, each with a link.
pub(crate) struct Imported(Vec<(Newcomer, NewLink)>);

impl IntoResponse for Imported {
    fn into_response(self) -> Response {
        let each = self.0.iter().map(|(newcomer, link)| ImportedBody {
            line: newcomer.line,
            name: &newcomer.name,
            title: newcomer.title.as_deref(),
            url: link.url.expose(),
            expires_at: link.expires_at,
        });
        Json(each.collect::<Vec<_>>()).into_response()
    }
}

impl Given for Imported {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<Vec<ImportedBody>>(operation, schemas);
    }
}

/// For an owner who is locked out; before there was a first owner, theirs. Whoever is at the gateway's shell may.
pub(crate) async fn owner_link(
    Acting(state): Acting,
    Body(body): Body<OwnerLinkBody>,
) -> Result<Created<NewLink>, Problem> {
    let portal = portal(&state)?;
    let name = body.person.as_deref().map(label).transpose()?;
    let made = state.control.make_owner_link(name, (state.clock)()).await?;
    Ok(Created(portal.link(made)))
}

pub(crate) async fn link(
    Acting(state): Acting,
    asker: Asker,
    At(name): At<String>,
    Body(body): Body<LinkBody>,
) -> Result<Created<NewLink>, Problem> {
    let portal = portal(&state)?;
    let account = asker.person(&state.control.snapshot(), &name)?.id;
    let length = body.expires_in.unwrap_or(USUAL_LENGTH);
    Ok(Created(portal.link(state.control.make_own_welcome(account, length, (state.clock)()).await?)))
}

pub(crate) async fn invite(
    Acting(state): Acting,
    Body(body): Body<InvitationBody>,
) -> Result<Created<NewLink>, Problem> {
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
    Ok(Created(portal.link(state.control.invite_people(request, (state.clock)()).await?)))
}

pub(crate) async fn list(Acting(state): Acting, paging: Paging) -> Result<Listed<InvitationSummary>, Problem> {
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
    let invitations = invitations.into_iter().filter(|welcome| welcome.kind == WelcomeKind::Invitation).collect();
    Ok(paging.of(invitations, |welcome: &Welcome| Reverse(welcome.id.0))?.map(summary))
}

pub(crate) async fn revoke(Acting(state): Acting, At(id): At<i64>, Seen(version): Seen) -> Result<Done, Problem> {
    state.control.revoke_invitation(WelcomeId(id), version, (state.clock)()).await?;
    Ok(Done)
}

pub(crate) async fn import(
    Acting(state): Acting,
    Body(body): Body<ImportBody, MAX_LIST>,
) -> Result<Created<Imported>, Problem> {
    let portal = portal(&state)?;
    let role = body.role.unwrap_or(Role::Member);
    let usual = Usual { role, groups: labels(&body.groups)?, ends_at: body.ends_at };
    let newcomers = read_list(&body.csv, &usual).map_err(ImportError::Lines)?;
    let length = body.expires_in.unwrap_or(USUAL_LENGTH);
    let made = state.control.import_people(newcomers, length, (state.clock)()).await?;
    Ok(Created(Imported(made.into_iter().map(|(newcomer, made)| (newcomer, portal.link(made))).collect())))
}

/// Where people sign in.
pub(crate) struct Portal(String);

pub(crate) fn portal(state: &PortalState) -> Result<Portal, Problem> {
    let remedy = "give it a name of its own with [portal] host in gateway.toml";
    let missing = || Problem::new(StatusCode::CONFLICT, "the portal has no public address for such a link", remedy);
    state.control.site().portal_url().map(Portal).ok_or_else(missing)
}

impl Portal {
    /// Behind `#`, which browsers send to nobody: no log, proxy or referrer learns it.
    pub(crate) fn link(&self, made: MadeWelcome) -> NewLink {
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
