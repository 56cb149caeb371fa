//! The share links of somebody's own services: who looks, and one more.

use super::frame::{Frame, page, page_with};
use super::qr::picture;
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::asker::owned;
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{MadeShare, ServiceRecord, ShareError, ShareSummary};
use doorward_core::authority::{Action, Relation, may};
use doorward_core::share::ShareWish;
use doorward_core::span::{parse_span, write_span};
use doorward_core::{ServiceId, ShareId};
use http::StatusCode;
use serde::Deserialize;
use std::num::NonZeroU32;

#[derive(Template)]
#[template(path = "shares.html")]
struct SharesPage {
    frame: Frame,
    standing: Vec<ShareSummary>,
    /// Of the last month.
    over: Vec<ShareSummary>,
    services: Vec<Choice>,
    error: Option<String>,
}

/// A service of theirs that may be shared.
struct Choice {
    id: ServiceId,
    path: String,
    title: String,
    longest: String,
}

#[derive(Template)]
#[template(path = "share_made.html")]
struct MadePage {
    frame: Frame,
    made: MadeShare,
    service: String,
    picture: String,
}

#[derive(Deserialize)]
struct Wished {
    service: i64,
    length: String,
    #[serde(default)]
    uses: String,
    #[serde(default)]
    title: String,
    read_only: Option<String>,
    pin: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/shares", get(show).post(make)).route("/shares/{id}/revoke", post(revoke))
}

async fn show(Acting(state): Acting, frame: Frame, signed_in: SignedIn) -> Result<Response, Problem> {
    Ok(page(&SharesPage::of(&state, frame, &signed_in).await?))
}

async fn make(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Sent(wished): Sent<Wished>,
) -> Result<Response, Problem> {
    let record = state.control.snapshot().service_record(ServiceId(wished.service));
    let record = record.filter(|record| may_share(&state, &signed_in, record, Action::MakeShare));
    let record = record.ok_or_else(|| Problem::unknown("there is no such service"))?;
    let wish = wished.read()?;
    match state.control.make_share(record.service.id, signed_in.person.id, wish, (state.clock)()).await {
        Ok(made) => {
            let (service, picture) = (record.service.title.clone(), picture(made.url.expose()).unwrap_or_default());
            Ok(page(&MadePage { frame, made, service, picture }))
        }
        Err(ShareError::Refused(refusal)) => {
            let again = SharesPage::of(&state, frame, &signed_in).await?;
            let error = Some(refusal.to_string());
            Ok(page_with(StatusCode::CONFLICT, &SharesPage { error, ..again }))
        }
        Err(error @ (ShareError::Credential(_) | ShareError::Edit(_))) => Err(error.into()),
    }
}

async fn revoke(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(id): At<i64>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let share = state.control.share(ShareId(id));
    let record = share.and_then(|share| state.control.snapshot().service_record(share.service));
    // What is not theirs looks like what is revoked already.
    if record.is_some_and(|record| may_share(&state, &signed_in, &record, Action::RevokeShare)) {
        state.control.revoke_share(ShareId(id), None, (state.clock)()).await?;
    }
    Ok(Redirect::to("/shares").into_response())
}

impl SharesPage {
    async fn of(state: &PortalState, frame: Frame, signed_in: &SignedIn) -> Result<Self, Problem> {
        let snapshot = state.control.snapshot();
        let is_theirs = |share: &ShareSummary| {
            let record = snapshot.service_record(share.share.service);
            record.is_some_and(|record| may_share(state, signed_in, &record, Action::ListShares))
        };
        let shares = state.control.shares((state.clock)()).await?.into_iter().filter(is_theirs);
        let (standing, over) = shares.partition(|share| share.standing.until().is_some());
        let theirs = snapshot.shareable_services();
        let theirs = theirs.filter(|record| may_share(state, signed_in, record, Action::MakeShare));
        let mut services: Vec<_> = theirs.filter_map(|record| choice(&record)).collect();
        services.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { frame, standing, over, services, error: None })
    }
}

fn choice(record: &ServiceRecord) -> Option<Choice> {
    let service = &record.service;
    let longest = service.policy.longest_share().filter(|_| service.kind.has_web_address())?;
    let (path, title) = (service.path(), service.title.clone());
    Some(Choice { id: service.id, path, title, longest: write_span(longest) })
}

fn may_share(state: &PortalState, signed_in: &SignedIn, record: &ServiceRecord, action: Action) -> bool {
    let relation = owned(signed_in.person.id, &state.control.snapshot(), record).unwrap_or(Relation::Others);
    may(signed_in.person.role, relation, action)
}

impl Wished {
    fn read(self) -> Result<ShareWish, Problem> {
        let uses = match self.uses.trim() {
            "" => None,
            uses => Some(uses.parse::<NonZeroU32>().map_err(|_| Problem::invalid("uses are a number from 1"))?),
        };
        Ok(ShareWish {
            title: self.title,
            length: parse_span(&self.length).map_err(Problem::invalid)?,
            uses,
            is_read_only: self.read_only.is_some(),
            has_pin: self.pin.is_some(),
        })
    }
}

/// `512 B`, `1.5 MB`.
fn size(bytes: &u64) -> String {
    let (mut number, mut unit) = (*bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if number < 1000.0 {
            break;
        }
        (number, unit) = (number / 1000.0, larger);
    }
    let digits = usize::from(unit != "B" && number < 100.0);
    format!("{number:.digits$} {unit}")
}
