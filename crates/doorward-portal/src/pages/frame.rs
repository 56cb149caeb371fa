//! What stands around every page of the portal, and what all of them know.

use crate::PortalState;
use crate::caller::SignedIn;
use crate::forms::FormToken;
use crate::words::Language;
use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Response};
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
        let token = parts.extensions.get::<FormToken>().map(|token| token.as_str().to_owned());
        Ok(Self {
            language: Language::wanted(&parts.headers),
            site: site.domain.as_ref().map_or_else(|| "Doorward".to_owned(), ToString::to_string),
            token: token.unwrap_or_default(),
            person: parts.extensions.get::<SignedIn>().map(|signed_in| signed_in.person.title.clone()),
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
    to: LocalPath,
}

/// After a form: on to another page by a navigation of its own. A redirect would be part of the form's, which may end on
/// our own pages alone (CSP, form-action), while the next page may lead to a service.
pub(crate) fn onward(frame: Frame, to: LocalPath) -> Response {
    page(&Onward { frame, to })
}
