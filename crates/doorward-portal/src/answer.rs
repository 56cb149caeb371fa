//! What every answer has in common: no caching, errors that say what to do next, versions for edits.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::{IntoResponse, Response};
use doorward_control::{EditError, StoreError};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An error (RFC 9457), with what to do next. Its `error` is what programs of the first release read.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    what: String,
    remedy: &'static str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { status, what: what.into(), remedy }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what, "correct the request and send it again")
    }

    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        let what = what.into();
        let remedy = if what.contains("no share link") {
            "list what there is with `doorward shares`"
        } else if what.contains("SSH certificate") {
            "list what there is with `doorward people certificates`"
        } else if what.contains("SSH key") || what.contains("SSH password") {
            "list what there is with `doorward ssh-keys`"
        } else if what.contains("no person") {
            "list what there is with `doorward people`"
        } else if what.contains("no group") {
            "list what there is with `doorward groups`"
        } else if what.contains("no request") {
            "list what there is with `doorward approvals`"
        } else if what.contains("no invitation") {
            "list what there is with `doorward people invitations`"
        } else if what.contains("no session") {
            "list what there is with `doorward sessions`"
        } else if what.contains("invite") {
            "list what there is with `doorward invites`"
        } else if what.contains("no device") {
            "list what there is with `doorward devices`"
        } else {
            "list what there is with `doorward services`"
        };
        Self::new(StatusCode::NOT_FOUND, what, remedy)
    }
}

#[derive(Serialize)]
struct ProblemBody<'p> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'p str,
    remedy: &'p str,
    error: &'p ProblemText,
}

/// Goes along with the answer, for whoever shows it as a page.
#[derive(Clone, Serialize)]
pub(crate) struct ProblemText {
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = ProblemText { what: self.what, remedy: self.remedy };
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: &text.what,
            remedy: text.remedy,
            error: &text,
        };
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], Json(body)).into_response();
        response.extensions_mut().insert(text);
        response
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        let what = error.to_string();
        match error {
            EditError::Unknown(_) => Self::unknown(what),
            EditError::Stale { .. } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                what,
                "read it again, then repeat the change if it still fits",
            ),
            EditError::Taken(_) => Self::new(StatusCode::CONFLICT, what, "choose another name"),
            EditError::Invalid(_) => Self::invalid(what),
            EditError::TooEarly(_) => Self::new(
                StatusCode::CONFLICT,
                what,
                "bring them online and wait for a moment, or say \"anyway\" (`--force`) and let them join anew",
            ),
            EditError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, remedy) = match &error {
            StoreError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "free some space on the gateway's disk"),
            StoreError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
            StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "wait until the gateway runs again"),
            StoreError::Strange(_) | StoreError::Failed(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "look at the gateway's log and its disk, then try again")
            }
        };
        Self::new(status, error.to_string(), remedy)
    }
}

pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Of a list of a few thousand people, the longest that anybody sends.
pub(crate) const MAX_LIST: usize = 1024 * 1024;

/// Nothing here may be kept by a browser or proxy, or be shown inside somebody else's page.
pub(crate) async fn harden(response: Response) -> Response {
    hardened(
        response,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "no-referrer",
    )
}

/// The same for pages with forms and small scripts of our own. Nothing inline: a text that slipped through as markup runs
/// nothing. With "no-referrer" browsers would say of these forms that they come from nowhere (Fetch, "append a request `Origin`
/// header"), as they say of forms that others forged; so our own pages are told where they were sent from, and nobody else.
pub(crate) async fn harden_site(response: Response) -> Response {
    hardened(
        response,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        "same-origin",
    )
}

fn hardened(mut response: Response, policy: &'static str, referrer: &'static str) -> Response {
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, referrer),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) async fn unknown_path(uri: Uri) -> Problem {
    let what = format!("there is nothing at {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, what, "look the path up in the API's description")
}

pub(crate) async fn unknown_method() -> Problem {
    let what = "this cannot be done here with this method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, what, "look the method up in the API's description")
}

/// A JSON body of at most so many bytes. Unknown keys are refused by the type itself and named in the answer.
pub(crate) struct Body<T, const MAX: usize = MAX_BODY>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const MAX: usize> FromRequest<S> for Body<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = to_bytes(request.into_body(), MAX).await.map_err(|_| {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request's body cannot be read or is too large",
                "send less",
            )
        })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|e| Problem::invalid(format!("the request's body: {e}")))
    }
}

/// The named parts of the path.
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named)).map_err(|e| Problem::invalid(e.body_text()))
    }
}

/// The query after `?`.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|e| Problem::invalid(e.body_text()))
    }
}

/// The version that the caller saw (`If-Match: "3"`, RFC 9110 13.1.1). Without one, whatever is there gets changed.
pub(crate) struct Seen(pub(crate) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        seen(&parts.headers).map(Self)
    }
}

fn seen(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::IF_MATCH) { Err(bad_version()) } else { Ok(None) };
    };
    let text = value.to_str().map_err(|_| bad_version())?.trim();
    if text == "*" {
        return Ok(None);
    }
    text.trim_matches('"').parse().map(Some).map_err(|_| bad_version())
}

fn bad_version() -> Problem {
    Problem::invalid("If-Match takes one version, as \"3\", the one that the object carried")
}

/// An object with its version as ETag.
pub(crate) struct Versioned<T>(pub(crate) i64, pub(crate) T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.0))], Json(self.1)).into_response()
    }
}
