//! Keeps other sites' pages from asking in the name of whoever is signed in here.

use crate::PortalState;
use crate::answer::Problem;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{COOKIE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode};

pub(super) async fn keep_out_other_sites(State(state): State<PortalState>, request: Request, next: Next) -> Response {
    let is_https = state.control.site().web.is_https;
    if is_own(request.method(), request.headers(), is_https) {
        return next.run(request).await;
    }
    let what = "another site's page asked for this";
    Problem::new(StatusCode::FORBIDDEN, what, "if you meant to, go to the page here and do it there").into_response()
}

fn is_own(method: &Method, headers: &HeaderMap, is_https: bool) -> bool {
    let is_safe = method == Method::GET || method == Method::HEAD;
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = told("sec-fetch-site");
    let site_is_fine = match site {
        None | Some("same-origin") => true,
        // By hand: from the address bar or a bookmark, which only ever gets.
        Some("none") => is_safe,
        Some(_) => is_safe && told("sec-fetch-mode") == Some("navigate"),
    };
    let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
    let origin_is_fine = origins.iter().all(|origin| is_own_origin(origin.as_bytes(), headers, is_https));
    // A program sends neither; then nothing of a browser's may come along by itself.
    let is_vouched_for = site.is_some() || !origins.is_empty() || !headers.contains_key(COOKIE);
    site_is_fine && (is_safe || (origin_is_fine && is_vouched_for))
}

fn is_own_origin(origin: &[u8], headers: &HeaderMap, is_https: bool) -> bool {
    let scheme: &[u8] = if is_https { b"https://" } else { b"http://" };
    let Some(host) = headers.get(HOST) else { return false };
    origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    type Headers = &'static [(&'static str, &'static str)];

    #[test]
    fn only_our_own_pages_send_and_only_links_lead_here() {
        let (get, post) = (Method::GET, Method::POST);
        let table: &[(&Method, Headers, bool)] = &[
            (&get, &[], true),
            (&get, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true),
            (&get, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], false),
            (&get, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")], false),
            (&get, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], true),
            (&post, &[("sec-fetch-site", "same-origin"), ("origin", "https://portal.test"), ("cookie", "a=b")], true),
            (&post, &[("sec-fetch-site", "same-origin"), ("cookie", "a=b")], true),
            (&post, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")], false),
            (&post, &[("sec-fetch-site", "none")], false),
            (&post, &[("origin", "https://portal.test"), ("cookie", "a=b")], true),
            (&post, &[("origin", "http://portal.test"), ("cookie", "a=b")], false),
            (&post, &[("origin", "https://portal.test:8443"), ("cookie", "a=b")], false),
            (&post, &[("origin", "https://cam.test"), ("cookie", "a=b")], false),
            (&post, &[("origin", "null"), ("cookie", "a=b")], false),
            (&post, &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")], false),
            (&post, &[("cookie", "a=b")], false),
            (&post, &[("authorization", "Bearer x")], true),
            (&Method::DELETE, &[("sec-fetch-site", "cross-site")], false),
            (&Method::OPTIONS, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")], false),
        ];
        for (method, pairs, expected) in table {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("portal.test"))]);
            headers.extend(
                pairs
                    .iter()
                    .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static(value))),
            );
            assert_eq!(is_own(method, &headers, true), *expected, "{method} {pairs:?}");
        }
    }
}
