//! A request with an Idempotency-Key does what it does once: a repetition within a day gets the answer of the first.

use crate::PortalState;
use crate::answer::{MAX_LIST, Problem};
use crate::caller::Caller;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use doorward_control::{GivenAnswer, request_digest};
use doorward_core::Secret;
use doorward_core::authority::TokenLimits;
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH};
use http::request::Parts;
use http::{Method, StatusCode};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY: usize = 100;

pub(crate) async fn answer_once(State(state): State<PortalState>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    match caller.filter(|_| request.method() == Method::POST && request.headers().contains_key(KEY)) {
        Some(caller) => answer(&state, &caller, request, next).await.unwrap_or_else(IntoResponse::into_response),
        None => next.run(request).await,
    }
}

async fn answer(state: &PortalState, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(&request)?;
    let (head, body) = request.into_parts();
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large", "send less");
    // The handler knows how much of it it takes.
    let body = to_bytes(body, MAX_LIST).await.map_err(|_| too_large())?;
    let digest = digest(caller, &head, &body);
    let Some(answering) = state.control.begin_answer(caller.account(), &key) else {
        let what = "the first request with this Idempotency-Key is not answered yet";
        return Err(Problem::new(StatusCode::CONFLICT, what, "wait for a moment, then send it again"));
    };
    match answering.given((state.clock)()).await? {
        Some(given) if given.digest == digest => return Ok(again(&given)),
        Some(_) => {
            let what = "this Idempotency-Key was used for another request";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what, "choose another key for another request"));
        }
        None => {}
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    // What was refused did nothing: it may be tried again with the same key.
    if !response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let unread =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be kept", "look whether it was done");
    let body = to_bytes(body, usize::MAX).await.map_err(unread)?;
    let etag = head.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let given = GivenAnswer { digest, status: head.status.as_u16(), etag, body: Secret::new(body.to_vec()) };
    // It was done; that a repetition would do it again is the smaller harm.
    let _ = answering.give(given, (state.clock)()).await;
    Ok(Response::from_parts(head, Body::from(body)))
}

fn key(request: &Request) -> Result<String, Problem> {
    let mut keys = request.headers().get_all(KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(bad_key()) };
    let is_fine =
        |key: &&str| !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(|byte| byte.is_ascii_graphic());
    key.to_str().ok().filter(is_fine).map(str::to_owned).ok_or_else(bad_key)
}

fn bad_key() -> Problem {
    Problem::invalid("Idempotency-Key: one, of 1 to 100 characters of ASCII without blanks")
}

/// Of all that decides what a request does, and of who asks with which rights: nobody gets another's answer by its key.
fn digest(caller: &Caller, head: &Parts, body: &[u8]) -> String {
    let seen = head.headers.get(IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
    let limits = head.extensions.get::<TokenLimits>();
    let caller = format!("{caller:?} {limits:?}");
    let (method, target) = (head.method.as_str().as_bytes(), head.uri.to_string());
    request_digest(&[caller.as_bytes(), method, target.as_bytes(), seen, body])
}

fn again(given: &GivenAnswer) -> Response {
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let mut response = (status, given.body.expose().clone()).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    if !given.body.expose().is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(etag) = given.etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
        headers.insert(ETAG, etag);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
