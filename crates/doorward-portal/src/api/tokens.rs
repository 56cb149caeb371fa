//! API tokens of people. Each is told once, when it is made.

use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::bearer::PREFIX;
use crate::caller::Source;
use crate::describe::{Created, Done, Given, Operation, gives_json};
use crate::paging::{Listed, Paging};
use axum::Json;
use axum::response::{IntoResponse, Response};
use doorward_control::{NewLogin, Snapshot, TokenRequest, TokenSummary};
use doorward_core::LoginId;
use doorward_core::access::Facts;
use doorward_core::authority::{Scope, TokenLimits};
use doorward_core::login::USUAL_LOGIN;
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use doorward_core::span::parse_span;
use jiff::Timestamp;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TokenBody {
    id: i64,
    person: Option<Label>,
    title: String,
    scope: Scope,
    /// As `device/service`; `null`: all that its person gets at.
    services: Option<Vec<String>>,
    #[schemars(with = "Instant")]
    since: Timestamp,
    #[schemars(with = "Instant")]
    until: Timestamp,
    #[schemars(with = "Instant")]
    used_at: Timestamp,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    /// What it is for.
    title: String,
    scope: Scope,
    /// As `device/service`.
    services: Option<Vec<String>>,
    /// As `30d`; 90 days unless said otherwise.
    #[serde(rename = "for")]
    length: Option<String>,
    /// Whoever asks, unless said otherwise.
    person: Option<String>,
}

pub(crate) struct NewToken(NewLogin);

/// Serialised in place, so that no second copy of the text stays in memory.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewTokenBody<'t> {
    id: i64,
    token: &'t str,
    #[schemars(with = "Instant")]
    until: Timestamp,
}

impl IntoResponse for NewToken {
    fn into_response(self) -> Response {
        let NewLogin { id, token, until } = self.0;
        let text = doorward_core::Secret::new(format!("{PREFIX}{}", token.expose()));
        Json(NewTokenBody { id: id.0, token: text.expose(), until }).into_response()
    }
}

impl Given for NewToken {
    fn describe(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        gives_json::<NewTokenBody>(operation, schemas);
    }
}

pub(crate) async fn list(Acting(state): Acting, asker: Asker, paging: Paging) -> Result<Listed<TokenBody>, Problem> {
    let of = (!asker.sees_everything()).then_some(asker.account);
    let snapshot = state.control.snapshot();
    let tokens = state.control.tokens(of, (state.clock)());
    Ok(paging.of(tokens, |token| Reverse(token.login.id.0))?.map(|token| body(&snapshot, token)))
}

pub(crate) async fn make(
    Acting(state): Acting,
    asker: Asker,
    Source(source): Source,
    Body(new): Body<NewBody>,
) -> Result<Created<NewToken>, Problem> {
    let account = match &new.person {
        None => asker.account,
        Some(name) => asker.person(&state.control.snapshot(), name)?.id,
    };
    let services = new.services.map(|paths| {
        let found = |path: &String| {
            let (device, service) = path.split_once('/').unwrap_or((path, ""));
            asker.known_service(&state, (device, service)).map(|record| record.service.id)
        };
        paths.iter().map(found).collect::<Result<Vec<_>, Problem>>()
    });
    let limits = TokenLimits { scope: new.scope, services: services.transpose()? };
    let length = new.length.as_deref().map_or(Ok(USUAL_LOGIN), |text| parse_span(text).map_err(Problem::invalid))?;
    let request = TokenRequest { account, title: new.title, limits, length, source };
    Ok(Created(NewToken(state.control.make_token(request, (state.clock)()).await?)))
}

pub(crate) async fn revoke(Acting(state): Acting, asker: Asker, At(id): At<i64>) -> Result<Done, Problem> {
    let (id, now) = (LoginId(id), (state.clock)());
    let of = (!asker.sees_everything()).then_some(asker.account);
    if !state.control.tokens(of, now).iter().any(|token| token.login.id == id) {
        return Err(Problem::unknown(format!("there is no token {id}")));
    }
    state.control.end_login(of, id, now).await?;
    Ok(Done)
}

fn body(snapshot: &Snapshot, token: TokenSummary) -> TokenBody {
    let TokenSummary { login, limits, seen_at } = token;
    let path = |id: &doorward_core::ServiceId| snapshot.service(*id).map(|service| service.path());
    TokenBody {
        id: login.id.0,
        person: snapshot.person(login.account).map(|person| person.name.clone()),
        title: login.title,
        scope: limits.scope,
        services: limits.services.map(|ids| ids.iter().filter_map(path).collect()),
        since: login.since,
        until: login.until,
        used_at: seen_at,
    }
}
