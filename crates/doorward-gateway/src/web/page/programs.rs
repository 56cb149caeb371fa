//! What programs hear that come without what lets them in: a problem (RFC 9457), and never the way to a login page.

use super::super::door::is_script;
use super::super::{Body, body, grpc};
use doorward_core::service::Service;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

/// The same for every name, whatever it leads to, and for every token that does not count there.
pub(crate) fn token_needed(headers: &HeaderMap) -> Response<Body> {
    let mut response = problem(
        headers,
        StatusCode::UNAUTHORIZED,
        "Token needed",
        "There is nothing at this address that you may see without a token that counts here.",
        "Send a token for visiting in the header Doorward-Token, or as the password of HTTP Basic with any user name. Whoever \
         uses the service makes one on their account's page at the portal, or with: doorward tokens add NAME --may visit \
         --service DEVICE/SERVICE",
    );
    // In a browser the challenge of Basic would open a window that asks for a password, in the midst of a page.
    let basic = HeaderValue::from_static("Basic realm=\"Doorward\", charset=\"UTF-8\"");
    let challenges = (!is_script(headers)).then_some(basic);
    let own = HeaderValue::from_static("Doorward-Token realm=\"Doorward\"");
    for challenge in challenges.into_iter().chain([own]) {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Too many wrong ones from there: none is looked at.
pub(crate) fn too_many_tokens(headers: &HeaderMap) -> Response<Body> {
    let detail = "Too many tokens that do not count came from your network.";
    let remedy = "Try again in a minute.";
    let mut response = problem(headers, StatusCode::TOO_MANY_REQUESTS, "Too many attempts", detail, remedy);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    response
}

/// The token is right; what is missing is a session of its person.
pub(crate) fn session_needed_by_program(headers: &HeaderMap, service: &Service, portal: &str) -> Response<Body> {
    let path = service.path();
    let detail = format!("{path} is used in a session, and none is open for you. A token for visiting opens none.");
    let remedy = format!(
        "Open one at {portal}/, or with a token for sessions: POST {portal}/api/v1/sessions {{\"service\": \"{path}\", \"for\": \
         \"30m\"}}, or: doorward open {path} --for 30m. Then ask again."
    );
    problem(headers, StatusCode::FORBIDDEN, "Session needed", &detail, &remedy)
}

fn problem(headers: &HeaderMap, status: StatusCode, title: &str, detail: &str, remedy: &str) -> Response<Body> {
    if grpc::is_grpc(headers) {
        return grpc::answer(status, &format!("{title}: {detail} {remedy}"));
    }
    let problem = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "remedy": remedy,
    });
    let mut response = Response::new(body(problem.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
