//! The editor of one policy: as fields, and as the text that stands in files. Looking ahead changes nothing; what would cut somebody is
//! saved by a second press; whoever was faster is shown beside one's own.

mod ahead;
mod conflict;
mod draft;
mod form;
mod text;

use super::fields::Fields;
use super::frame::{Frame, page, page_with};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{Asked, At, Problem};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use ahead::{Ahead, Questions};
use askama::Template;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use conflict::Conflict;
use doorward_control::{AccessHome, EditError, ServiceRecord, Toll};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::authority::Action;
use draft::{Draft, mark};
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use text::Fault;

#[derive(Template)]
#[template(path = "policy.html")]
struct Editor {
    frame: Frame,
    title: String,
    path: String,
    is_of_device: bool,
    /// Where on its device it is written, if the device told.
    written_at: Option<String>,
    /// What the device says, where that does not count.
    declared: String,
    /// Whether it can be changed here; else it is only shown.
    is_open: bool,
    version: i64,
    mark: String,
    draft: Draft,
    questions: Questions,
    ahead: Option<Ahead>,
    /// It was not saved yet, since that ends so much.
    toll: Option<Toll>,
    conflict: Option<Conflict>,
    done: Option<(&'static str, u32)>,
}

#[derive(Deserialize)]
struct Here {
    /// Whether what the device says shall be decided here from now on.
    here: Option<String>,
}

const SAVED: &str = "Saved. Open visits that it cut:";
const GIVEN_BACK: &str = "From now on the device decides. Open visits that it cut:";
const UNCHANGED: &str = "It was so already. Open visits that it cut:";

/// Each that no template holds, for the test that asks for them in every language.
#[cfg(test)]
pub(crate) static SENTENCES: std::sync::LazyLock<Vec<&str>> = std::sync::LazyLock::new(|| {
    use doorward_core::access::{Denied, Need};
    let who =
        [WhoDocument::Nobody, WhoDocument::Public, WhoDocument::Password, WhoDocument::People, WhoDocument::Senders];
    let denied = [
        Denied::NotOffered,
        Denied::DeviceRevoked,
        Denied::Nobody,
        Denied::SourceNetwork,
        Denied::Closed { opens: None },
        Denied::PasswordNeeded,
        Denied::NotOneOfThem,
        Denied::NotASender,
        Denied::LoginOver,
        Denied::AccountDisabled,
        Denied::AccountEnded,
        Denied::SessionNeeded,
        Denied::SessionOver,
        Denied::NeedsMore(Need::Totp),
        Denied::ApprovalNeeded,
        Denied::InUse,
        Denied::BudgetSpent { until: jiff::Timestamp::MIN },
        Denied::ReadOnly,
        Denied::Full,
    ];
    let said = [SAVED, GIVEN_BACK, UNCHANGED].into_iter().chain(ahead::SENTENCES);
    said.chain(who.map(in_short)).chain(denied.iter().map(ahead::in_words)).collect()
});

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/policies/{device}/{service}", get(show).post(send))
        .route("/policies/{device}/{service}/back", post(give_back))
}

/// Of whom a policy is, for lists.
pub(super) fn in_short(who: WhoDocument) -> &'static str {
    match who {
        WhoDocument::Nobody => "Nobody",
        WhoDocument::Public => "Everybody",
        WhoDocument::Password => "Whoever has a password",
        WhoDocument::People => "Certain people and groups",
        WhoDocument::Senders => "Senders by SSH",
    }
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
    Asked(asked): Asked<Here>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, (&device, &service))?;
    let mut editor = Editor::of(&state, frame, &record, Draft::of(&record.access));
    editor.is_open |= asked.here.is_some();
    editor.look_ahead(&state, &record)?;
    Ok(page(&editor))
}

/// Looks ahead, or saves.
async fn send(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, (&device, &service))?;
    let draft = Draft::sent(&state, &record, &fields).await?;
    let mut editor = Editor::of(&state, frame, &record, draft);
    editor.questions = Questions::sent(&fields);
    (editor.is_open, editor.version, editor.mark) = (true, fields.version()?, fields.text("mark").to_owned());
    let Some(access) = editor.draft.good() else {
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &editor));
    };
    editor.look_ahead(&state, &record)?;
    let toll = editor.ahead.as_ref().map(|ahead| ahead.toll).unwrap_or_default();
    match fields.text("do") {
        "save" if toll.cut_visits + toll.cut_sessions > 0 => editor.toll = Some(toll),
        "save" | "cut" => return editor.save(&state, &record, access, toll).await,
        _ => {}
    }
    Ok(page(&editor))
}

/// From now on what the device says counts.
async fn give_back(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At((device, service)): At<(String, String)>,
    Sent(fields): Sent<Fields>,
) -> Result<Response, Problem> {
    let record = found(&state, &signed_in, (&device, &service))?;
    let now = (state.clock)();
    let supposed = state.control.suppose(&record, record.declared_access());
    let toll = supposed.map(|supposed| state.control.toll(&supposed, now)).unwrap_or_default();
    let (of, name) = (record.service.device, &record.service.name);
    match state.control.set_access(of, name, None, Some(fields.version()?), now).await {
        Ok(changed) => {
            let mut editor = Editor::of(&state, frame, &changed, Draft::of(&changed.access));
            editor.done = Some((GIVEN_BACK, toll.cut_visits));
            editor.look_ahead(&state, &changed)?;
            Ok(page(&editor))
        }
        Err(EditError::Stale { .. }) => {
            let record = found(&state, &signed_in, (&device, &service))?;
            let mut editor = Editor::of(&state, frame, &record, Draft::of(&record.access));
            editor.conflict = Some(Conflict::of(&state, &record, record.declared_access()).await?);
            Ok(page_with(StatusCode::PRECONDITION_FAILED, &editor))
        }
        Err(error) => Err(error.into()),
    }
}

fn found(state: &PortalState, signed_in: &SignedIn, path: (&str, &str)) -> Result<Arc<ServiceRecord>, Problem> {
    Asker::at_page(signed_in, Action::SetAccess)?.service(state, path)
}

impl Editor {
    fn of(state: &PortalState, frame: Frame, record: &ServiceRecord, draft: Draft) -> Self {
        let is_of_device = record.access_home == AccessHome::Device;
        Self {
            frame,
            title: record.service.title.clone(),
            path: record.service.path(),
            is_of_device,
            written_at: state.control.presence().written_at(record.service.id),
            declared: text::write(&record.declared_access().without_hashes()),
            is_open: !is_of_device,
            version: record.version,
            mark: mark(&record.access),
            draft,
            questions: Questions::default(),
            ahead: None,
            toll: None,
            conflict: None,
            done: None,
        }
    }

    fn look_ahead(&mut self, state: &PortalState, record: &ServiceRecord) -> Result<(), Problem> {
        if let Some(access) = self.draft.good() {
            self.ahead = Some(Ahead::of(state, record, &access, &mut self.questions)?);
        }
        Ok(())
    }

    async fn save(
        mut self,
        state: &PortalState,
        record: &ServiceRecord,
        access: PolicyDocument,
        toll: Toll,
    ) -> Result<Response, Problem> {
        let (device, name, now) = (record.service.device, &record.service.name, (state.clock)());
        // A service has other sides than its policy; where only those changed, nobody was overtaken.
        let seen = if self.mark == mark(&record.access) { record.version } else { self.version };
        match state.control.set_access(device, name, Some(access.clone()), Some(seen), now).await {
            Ok(changed) => {
                let mut saved = Self::of(state, self.frame, &changed, Draft::of(&changed.access));
                (saved.questions, saved.done) = (self.questions, Some((SAVED, toll.cut_visits)));
                saved.look_ahead(state, &changed)?;
                Ok(page(&saved))
            }
            Err(EditError::Stale { .. }) => self.overtaken(state, record, &access).await,
            Err(EditError::Invalid(what)) => {
                self.draft.fault = Some(Fault { at: None, key: None, what });
                Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &self))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing of either is lost: theirs stands, one's own stays in the form, and a further press is about both.
    async fn overtaken(
        mut self,
        state: &PortalState,
        record: &ServiceRecord,
        access: &PolicyDocument,
    ) -> Result<Response, Problem> {
        let newest = state.control.snapshot().service_record(record.service.id);
        let newest = newest.ok_or_else(|| Problem::unknown("there is no such service any more"))?;
        (self.version, self.mark) = (newest.version, mark(&newest.access));
        if newest.access == access.clone().with_kept_hashes(&newest.access) {
            self.done = Some((UNCHANGED, 0));
            return Ok(page(&self));
        }
        self.conflict = Some(Conflict::of(state, &newest, access).await?);
        self.look_ahead(state, &newest)?;
        Ok(page_with(StatusCode::PRECONDITION_FAILED, &self))
    }

    /// What is wrong with a field.
    fn wrong(&self, key: &str) -> bool {
        self.draft.fault.as_ref().and_then(|fault| fault.key.as_deref()).is_some_and(|wrong| wrong == key)
    }
}
