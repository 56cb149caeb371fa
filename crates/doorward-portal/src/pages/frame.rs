//! What stands around every page of the portal, and what all of them know.

use crate::PortalState;
use crate::caller::SignedIn;
use crate::forms::FormToken;
use crate::words::Language;
use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Response};
use doorward_core::authority::{Action, Reach, reach};
use doorward_core::person::Role;
use doorward_core::web::LocalPath;
use http::StatusCode;
use http::request::Parts;
use std::convert::Infallible;

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) language: Language,
    /// What this site is called.
    pub(crate) site: String,
    /// For the hidden field of forms.
    pub(crate) token: String,
    /// Who is signed in, as people call them.
    pub(crate) person: Option<String>,
    /// Where they may go from every page.
    pub(crate) places: Vec<Place>,
}

/// A page that others lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) path: &'static str,
    pub(crate) title: &'static str,
    /// Whoever may never do this is not led there; `None`: it is everybody's.
    action: Option<Action>,
}

const PLACES: &[Place] = &[
    Place { path: "/", title: "Services", action: None },
    Place { path: "/approvals", title: "Requests", action: Some(Action::ApproveRequest) },
    Place { path: "/policies", title: "Policies", action: Some(Action::SetAccess) },
    Place { path: "/people", title: "People", action: Some(Action::EditPerson) },
    Place { path: "/audit", title: "Audit", action: Some(Action::ListAudit) },
];

/// What this person's role leaves; where there is but one page, no way leads to it.
fn places(role: Role) -> Vec<Place> {
    let is_theirs = |place: &&Place| place.action.is_none_or(|action| reach(role, action) != Reach::Nothing);
    let theirs: Vec<_> = PLACES.iter().filter(is_theirs).copied().collect();
    if theirs.len() > 1 { theirs } else { Vec::new() }
}

impl Frame {
    pub(crate) fn say<'t>(&self, english: &'t str) -> &'t str {
        self.language.say(english)
    }
}

impl FromRequestParts<PortalState> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &PortalState) -> Result<Self, Infallible> {
        let site = state.control.site();
        let signed_in = parts.extensions.get::<SignedIn>();
        let token = parts.extensions.get::<FormToken>().map(|token| token.as_str().to_owned());
        Ok(Self {
            language: Language::wanted(&parts.headers),
            site: site.domain.as_ref().map_or_else(|| "Doorward".to_owned(), ToString::to_string),
            token: token.unwrap_or_default(),
            person: signed_in.map(|signed_in| signed_in.person.title.clone()),
            places: signed_in.map(|signed_in| places(signed_in.person.role)).unwrap_or_default(),
        })
    }
}

pub(crate) fn page(template: &impl Template) -> Response {
    page_with(StatusCode::OK, template)
}

pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "onward.html")]
struct Onward {
    frame: Frame,
    to: String,
}

/// After a form: on to another page by a navigation of its own. A redirect would be part of the form's, which may end on
/// our own pages alone (CSP, form-action), while the next page may lead to a service.
pub(crate) fn onward(frame: Frame, to: LocalPath) -> Response {
    onward_to(frame, to.as_str().to_owned())
}

/// The same, to a service of ours.
pub(crate) fn onward_to(frame: Frame, to: String) -> Response {
    page(&Onward { frame, to })
}
