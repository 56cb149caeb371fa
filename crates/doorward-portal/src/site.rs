//! The portal's public door: pages for people who sign in, and the API for them.
//!
//! What other sites' pages ask is refused (Fetch Metadata Request Headers, W3C; Origin where a browser sends none), except
//! that links from anywhere may lead to a page: looking changes nothing. Device pages are other sites, too.

mod guard;

use crate::answer::{self, Problem, ProblemText};
use crate::{PortalState, api, bearer, caller, forms, health, pages, seed};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use doorward_core::web::LocalPath;
use http::header::{ACCEPT, HOST, HeaderMap, HeaderValue};
use http::{Method, Uri};

/// A form has a few short fields.
const MAX_FORM: usize = 64 * 1024;
pub(crate) const SIGN_IN: &str = "/sign-in";

/// For the portal's public host. Whoever serves it says in a [`doorward_core::access::Visitor`] from where a request comes.
pub fn site(state: PortalState) -> Router {
    let pages = pages::site_routes().layer(from_fn(forms::bind)).layer(DefaultBodyLimit::max(MAX_FORM));
    Router::new()
        .merge(pages)
        .merge(for_programs(&state))
        .route("/healthz", get(health))
        .fallback(answer::unknown_path)
        .method_not_allowed_fallback(answer::unknown_method)
        .layer(from_fn_with_state(state.clone(), caller::recognise))
        .layer(from_fn_with_state(state.clone(), guard::keep_out_other_sites))
        .layer(from_fn(in_words))
        .layer(map_request(name_the_host))
        .layer(map_response(answer::harden_site))
        .with_state(state)
}

/// HTTP/2 has no Host but an authority (RFC 9113, 8.3.1); here both are looked for in one place.
async fn name_the_host(mut request: Request) -> Request {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority.filter(|_| !request.headers().contains_key(HOST)) {
        request.headers_mut().insert(HOST, authority);
    }
    request
}

/// What may also be asked with a token.
fn for_programs(state: &PortalState) -> Router<PortalState> {
    let router = Router::new().nest("/api/v1", api::router(state)).merge(seed::routes());
    router.layer(from_fn_with_state(state.clone(), bearer::recognise))
}

/// Whether a browser goes to a page, rather than a program or a script asking for something.
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_get = method == Method::GET || method == Method::HEAD;
    match text("sec-fetch-mode") {
        Some(mode) => is_get && mode == "navigate",
        None => is_get && text(ACCEPT.as_str()).is_some_and(|kinds| kinds.contains("text/html")),
    }
}

/// To the page where one signs in, and from there back to `uri`.
pub(crate) fn sign_in_first(uri: &Uri) -> Response {
    let here = uri.path_and_query().map_or("/", |path| path.as_str());
    let then = LocalPath::parse(here).unwrap_or_else(|_| LocalPath::root());
    if then == LocalPath::root() {
        return Redirect::to(SIGN_IN).into_response();
    }
    let query = serde_urlencoded::to_string([("then", then.as_str())]).expect("text is always encodable");
    Redirect::to(&format!("{SIGN_IN}?{query}")).into_response()
}

/// Whoever looks at pages gets errors as pages.
async fn in_words(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let is_for_programs = request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    let wants_page = headers.get(ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|k| k.contains("text/html"));
    match response.extensions().get::<ProblemText>().cloned() {
        Some(text) if wants_page && !is_for_programs => pages::problem(&headers, response.status(), &text),
        Some(_) | None => response,
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}
