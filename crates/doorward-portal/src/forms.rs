//! Forms of our own pages. Each carries a token that is bound to the browser's login (or, before there is one, to a cookie
//! of its own), so that what another site's page sends is not taken for theirs, whatever a browser tells about origins.

use crate::answer::Problem;
use crate::caller::SignedIn;
use crate::cookies;
use aws_lc_rs::{constant_time, hmac};
use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::Secret;
use http::header::{AUTHORIZATION, SET_COOKIE};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the hidden field `form-token` of every form of this browser holds.
#[derive(Clone, Debug)]
pub(crate) struct FormToken(String);

/// A form of one of our own pages, sent by the browser that was given it.
pub(crate) struct Sent<T>(pub(crate) T);

#[derive(Deserialize)]
struct Carried {
    #[serde(rename = "form-token")]
    token: String,
}

impl FormToken {
    fn of(cookie: &Secret<String>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.expose().as_bytes());
        Self(BASE64URL_NOPAD.encode(hmac::sign(&key, b"doorward form").as_ref()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn is(&self, given: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }
}

/// Gives every browser something that its forms are bound to. A later layer than `recognise`.
pub(crate) async fn bind(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_signed_in = request.extensions().get::<SignedIn>().is_some();
    let held = cookies::read(headers, if is_signed_in { cookies::LOGIN } else { cookies::STRANGER });
    if let Some(held) = held.filter(|held| !held.expose().is_empty()) {
        request.extensions_mut().insert(FormToken::of(&held));
        return next.run(request).await;
    }
    if request.method() != Method::GET || headers.contains_key(AUTHORIZATION) {
        return next.run(request).await;
    }
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    let made = Secret::new(BASE64URL_NOPAD.encode(&bytes));
    request.extensions_mut().insert(FormToken::of(&made));
    let mut response = next.run(request).await;
    let is_page = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page {
        response.headers_mut().append(SET_COOKIE, cookies::set(cookies::STRANGER, &made, None));
    }
    response
}

impl<S: Send + Sync> FromRequestParts<S> for FormToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(not_ours)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let token = request.extensions().get::<FormToken>().cloned().ok_or_else(not_ours)?;
        let bytes: Bytes = request.extract().await.map_err(|_| {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form cannot be read or is too large", "send less")
        })?;
        let carried: Carried = read(&bytes).map_err(|_| not_ours())?;
        if !token.is(&carried.token) {
            return Err(not_ours());
        }
        read(&bytes).map(Self).map_err(|error| Problem::invalid(format!("the form: {error}")))
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_urlencoded::de::Error> {
    serde_urlencoded::from_bytes(bytes)
}

fn not_ours() -> Problem {
    let what = "this form was not made for this browser, or it was signed in or out meanwhile";
    Problem::new(StatusCode::FORBIDDEN, what, "go back, reload the page and send it again")
}
