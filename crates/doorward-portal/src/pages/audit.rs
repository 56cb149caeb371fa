//! The audit, for those who own the gateway: looked through, taken along, and held against its chain.

use super::frame::{Frame, page};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use askama::Template;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use doorward_control::{Anchor, AuditChoice, Control, Soundness, StoreError};
use doorward_core::audit::Line;
use doorward_core::authority::Action;
use futures_util::{Stream, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    search: Search,
    lines: Vec<Line>,
    /// What the older lines are asked for by.
    older: Option<String>,
    soundness: Option<Soundness>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Search {
    person: String,
    device: String,
    service: String,
    deed: String,
    /// In UTC, as a browser's field has it.
    since: String,
    until: String,
    before: String,
    /// Whether the whole chain shall be looked at.
    verify: String,
}

const AT_ONCE: u32 = 100;
/// Read at a time.
const PIECE: u32 = 1_000;

pub(super) fn routes() -> Router<PortalState> {
    Router::new().route("/audit", get(show)).route("/audit/export", get(export))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    Asked(search): Asked<Search>,
) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::ListAudit)?;
    let choice = search.choice()?;
    // What happened a second ago is looked for most.
    state.control.flush_audit().await?;
    let lines = state.control.audit_of(&choice, AT_ONCE).await?;
    let is_full = lines.len() >= AT_ONCE as usize;
    let lines: Vec<_> = lines.into_iter().map(|chained| chained.line).collect();
    let older = lines.last().filter(|_| is_full).map(|last| search.older_than(last.id));
    let soundness = if search.verify.is_empty() { None } else { Some(state.control.verify_audit().await?) };
    Ok(page(&AuditPage { frame, search, lines, older, soundness }))
}

/// All of the chain, a line of JSON each, as `doorward audit export` writes it.
async fn export(Acting(state): Acting, signed_in: SignedIn) -> Result<Response, Problem> {
    Asker::at_page(&signed_in, Action::CopyAudit)?;
    state.control.flush_audit().await?;
    let headers =
        [(CONTENT_TYPE, "application/jsonl"), (CONTENT_DISPOSITION, "attachment; filename=\"doorward-audit.jsonl\"")];
    Ok((headers, Body::from_stream(pieces(state.control))).into_response())
}

/// How far a copy is. No more of it is in memory at once than a piece.
enum Place {
    Beginning,
    After(Anchor),
    End,
}

fn pieces(control: Control) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream::try_unfold(Place::Beginning, move |place| {
        let control = control.clone();
        async move {
            let mut text = Vec::new();
            let from = match place {
                Place::Beginning => 0,
                Place::After(head) => head.id + 1,
                Place::End => return Ok(None),
            };
            let (after, lines) = control.audit_part(from, PIECE).await?;
            let mut head = after;
            match place {
                Place::Beginning => write(&mut text, &json!({ "audit-after": after })),
                Place::After(known) => head = known,
                Place::End => {}
            }
            for line in &lines {
                write(&mut text, line);
                head = Anchor { id: line.line.id, hash: line.hash };
            }
            if lines.is_empty() {
                write(&mut text, &json!({ "audit-ends": head }));
                return Ok(Some((Bytes::from(text), Place::End)));
            }
            Ok(Some((Bytes::from(text), Place::After(head))))
        }
    })
}

fn write(text: &mut Vec<u8>, line: &impl serde::Serialize) {
    serde_json::to_writer(&mut *text, line).expect("lines can be written as JSON");
    text.push(b'\n');
}

impl Search {
    fn choice(&self) -> Result<AuditChoice, Problem> {
        let name = |given: &str| match given.trim() {
            name if name.contains(['%', '_']) => Err(Problem::invalid(format!("{name:?} is no name"))),
            name => Ok(name.to_owned()),
        };
        let before = Some(self.before.as_str()).filter(|text| !text.is_empty());
        let before = before.map(|text| text.parse().map_err(|_| Problem::invalid("before: take it from the link")));
        Ok(AuditChoice {
            person: name(&self.person)?,
            service: name(&self.service)?,
            device: name(&self.device)?,
            deed: name(&self.deed)?,
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            before: before.transpose()?,
        })
    }

    fn older_than(&self, id: i64) -> String {
        let Self { person, device, service, deed, since, until, before: _, verify: _ } = self;
        let said = [("person", person), ("device", device), ("service", service), ("deed", deed)];
        let said = said.into_iter().chain([("since", since), ("until", until)]);
        let before = id.to_string();
        let all = said.filter(|(_, value)| !value.is_empty()).chain([("before", &before)]);
        serde_urlencoded::to_string(all.collect::<Vec<_>>()).expect("text is always encodable")
    }
}

fn moment(text: &str) -> Result<Option<Timestamp>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let wrong = || Problem::invalid(format!("\"{text}\" is no moment as 2026-11-23T17:00"));
    local().map(|zoned| Some(zoned.timestamp())).ok_or_else(wrong)
}
