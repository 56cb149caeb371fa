//! API tokens: `Authorization: Bearer dw_…` (RFC 6750). Never in a URL, which histories and logs keep.

use crate::PortalState;
use crate::answer::Problem;
use crate::asker::sign_in_first;
use crate::caller::Caller;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use doorward_core::Secret;
use doorward_core::login::LoginKind;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap};

pub(crate) const PREFIX: &str = doorward_core::login::TOKEN_PREFIX;
/// What follows it, in characters.
const LENGTH: usize = 43;

enum Shown {
    Nothing,
    Token(Secret<String>),
    SomethingElse,
}

/// Finds out by the header who asks. A token that does not count is nobody's, whatever cookie came along.
pub(crate) async fn recognise(State(state): State<PortalState>, mut request: Request, next: Next) -> Response {
    if holds_token(request.uri().path()) || request.uri().query().is_some_and(holds_token) {
        let what = "a token does not belong into an address: others may read it there";
        let remedy = "send it as `Authorization: Bearer …`; revoke this one if anybody could have seen it";
        return Problem::new(StatusCode::BAD_REQUEST, what, remedy).into_response();
    }
    let token = match shown(request.headers()) {
        Shown::Nothing => return next.run(request).await,
        Shown::SomethingElse => return sign_in_first(),
        Shown::Token(token) => token,
    };
    let found = state.control.signed_in(&token, (state.clock)());
    let Some((person, login)) = found.filter(|(_, login)| login.kind == LoginKind::Token) else {
        return sign_in_first();
    };
    let Some(limits) = state.control.snapshot().token_limits(login.id).cloned() else { return sign_in_first() };
    request.extensions_mut().insert(Caller::of(&person, &login));
    request.extensions_mut().insert(limits);
    next.run(request).await
}

fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(AUTHORIZATION) { Shown::SomethingElse } else { Shown::Nothing };
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim().strip_prefix(PREFIX)?)
    });
    token.map_or(Shown::SomethingElse, |token| Shown::Token(Secret::new(token.to_owned())))
}

fn holds_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.match_indices(PREFIX).any(|(start, _)| {
        let rest = &text.as_bytes()[start + PREFIX.len()..];
        rest.iter().take_while(|byte| is_of_token(**byte)).count() >= LENGTH
    })
}
