//! What a device offers and could offer: its own services, which its own file says; those wished for here; and what it found
//! around it. The page only wishes: the device has the last word.

use super::frame::{Frame, page, page_with};
use crate::PortalState;
use crate::acting::Acting;
use crate::answer::{At, Problem};
use crate::api::adding::{AdditionState, AdditionsBody, ScanBody, body, scan_of};
use crate::asker::Asker;
use crate::caller::SignedIn;
use crate::forms::Sent;
use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use doorward_control::{Device, EditError};
use doorward_core::addition::Addition;
use doorward_core::authority::Action;
use doorward_core::names::Label;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "offering.html")]
struct Offering {
    frame: Frame,
    device: Arc<Device>,
    known: AdditionsBody,
    scan: ScanBody,
    form: Form,
    error: Option<String>,
}

/// What was typed, or is proposed.
#[derive(Clone, Default, Deserialize)]
struct Form {
    #[serde(default)]
    name: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    preset: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Nothing {}

/// As `doorward presets` has them.
const PRESETS: [&str; 8] =
    ["plain", "jupyter", "octoprint", "mainsail", "home-assistant", "code-server", "grafana", "karmen"];

pub(super) fn routes() -> Router<PortalState> {
    Router::new()
        .route("/devices/{name}/services", get(show).post(add))
        .route("/devices/{name}/services/remove", post(remove))
        .route("/devices/{name}/scan", post(ask_for_scan))
}

async fn show(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let device = Asker::at_page(&signed_in, Action::ListAdditions)?.device(&state.control.snapshot(), &name)?;
    Ok(page(&Offering::of(&state, frame, device)))
}

async fn add(
    Acting(state): Acting,
    frame: Frame,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(form): Sent<Form>,
) -> Result<Response, Problem> {
    let device = Asker::at_page(&signed_in, Action::AddService)?.device(&state.control.snapshot(), &name)?;
    let added = match form.read() {
        Ok(wish) => state.control.add_service(device.id, wish, (state.clock)()).await,
        Err(why) => Err(EditError::Invalid(why)),
    };
    match added {
        Ok(()) => Ok(to(&device)),
        Err(EditError::Invalid(why) | EditError::Taken(why)) => {
            let again = Offering { form, error: Some(why), ..Offering::of(&state, frame, device) };
            Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &again))
        }
        Err(error) => Err(error.into()),
    }
}

/// What is gone already is fine.
async fn remove(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(of): Sent<Named>,
) -> Result<Response, Problem> {
    let device = Asker::at_page(&signed_in, Action::RemoveAddition)?.device(&state.control.snapshot(), &name)?;
    let service = Label::parse(&of.name).map_err(|error| Problem::invalid(error.to_string()))?;
    match state.control.remove_addition(device.id, service, (state.clock)()).await {
        Ok(()) | Err(EditError::Unknown(_)) => Ok(to(&device)),
        Err(error) => Err(error.into()),
    }
}

async fn ask_for_scan(
    Acting(state): Acting,
    signed_in: SignedIn,
    At(name): At<String>,
    Sent(Nothing {}): Sent<Nothing>,
) -> Result<Response, Problem> {
    let device = Asker::at_page(&signed_in, Action::ScanDevice)?.device(&state.control.snapshot(), &name)?;
    state.control.ask_for_scan(device.id, (state.clock)()).await?;
    Ok(to(&device))
}

fn to(device: &Device) -> Response {
    Redirect::to(&format!("/devices/{}/services", device.name)).into_response()
}

impl Offering {
    fn of(state: &PortalState, frame: Frame, device: Arc<Device>) -> Self {
        let (known, scan) = (body(state, &device), scan_of(state, &device));
        Self { frame, device, known, scan, form: Form::default(), error: None }
    }

    fn is_running(&self) -> bool {
        matches!(self.scan, ScanBody::Running { .. })
    }

    /// Whether the device's answer is still to come.
    fn is_waiting(&self) -> bool {
        self.known.is_known && self.known.additions.iter().any(|addition| addition.state == AdditionState::Waiting)
    }

    fn is_wished(&self, target: &str) -> bool {
        self.known.additions.iter().any(|addition| addition.wish.target == target)
    }

    /// A name that no other service of the device has.
    fn free_name(&self, name: &Label) -> Label {
        let is_free = |name: &Label| {
            let own = self.known.own.iter().map(|own| &own.name);
            !own.chain(self.known.additions.iter().map(|addition| &addition.wish.name)).any(|taken| taken == name)
        };
        let numbered = (2..100).map(|n| name.numbered(n));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or_else(|| name.clone())
    }

    /// What stands in the device's own file, if it is to offer this.
    fn table(addition: &Addition) -> String {
        addition.table()
    }
}

impl Form {
    fn read(&self) -> Result<Addition, String> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let name = Label::parse(self.name.trim()).map_err(|error| error.to_string())?;
        let addition = Addition {
            name,
            title: some(&self.title),
            target: self.target.trim().to_owned(),
            preset: some(&self.preset),
        };
        addition.check().map_err(|error| error.to_string())?;
        Ok(addition)
    }
}
