//! A request as if somebody on the target's own machine had sent it: for targets that refuse every other host.

use super::origin::PublicOrigin;
use super::passage::Paths;
use doorward_core::web::TargetOrigin;
use http::header::{HOST, ORIGIN, REFERER};
use http::{HeaderMap, HeaderValue};

pub(crate) fn request(headers: &mut HeaderMap, public: &PublicOrigin, target: &TargetOrigin, paths: &Paths) {
    if let Ok(host) = HeaderValue::try_from(target.authority()) {
        headers.insert(HOST, host);
    }
    // A foreign page that only looks keeps its own: whether it may is for the target to say (CORS).
    let is_own = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).is_some_and(|origin| public.is(origin));
    if is_own && let Ok(origin) = HeaderValue::try_from(target.to_string()) {
        headers.insert(ORIGIN, origin);
    }
    let referer = headers.get(REFERER).and_then(|referer| referer.to_str().ok());
    if let Some(referer) = referer.and_then(|referer| translated(referer, public, target, paths)) {
        headers.insert(REFERER, referer);
    }
}

fn translated(referer: &str, public: &PublicOrigin, target: &TargetOrigin, paths: &Paths) -> Option<HeaderValue> {
    let start = referer.find("://")? + 3;
    let end = referer[start..].find(['/', '?', '#']).map_or(referer.len(), |at| start + at);
    let (origin, path) = referer.split_at(end);
    if !public.is(origin) {
        return None;
    }
    // From another part of the same host: there is no such page at the target.
    let path = paths.to_target(path).unwrap_or_else(|| "/".to_owned());
    HeaderValue::try_from(format!("{target}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(referer: &str, origin: &str, visitor_path: &str) -> (String, String) {
        let public = PublicOrigin { is_https: true, host: HeaderValue::from_static("gw.test") };
        let target = TargetOrigin::try_from("http://localhost:8888".to_owned()).unwrap();
        let paths = Paths { visitor: visitor_path.to_owned(), target: String::new() };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("gw.test"));
        headers.insert(REFERER, HeaderValue::try_from(referer).unwrap());
        headers.insert(ORIGIN, HeaderValue::try_from(origin).unwrap());
        request(&mut headers, &public, &target, &paths);
        assert_eq!(headers[HOST], "localhost:8888");
        let text = |name| headers[name].to_str().unwrap().to_owned();
        (text(REFERER.as_str()), text(ORIGIN.as_str()))
    }

    #[test]
    fn the_target_hears_its_own_names_and_foreign_ones_stay() {
        let own = ("http://localhost:8888/tree?x=1".to_owned(), "http://localhost:8888".to_owned());
        assert_eq!(passed("https://gw.test/tree?x=1", "https://gw.test", ""), own);
        assert_eq!(passed("https://gw.test:443/zumi01/tree?x=1", "https://gw.test", "/zumi01"), own);
        assert_eq!(passed("https://gw.test/elsewhere", "https://gw.test", "/zumi01").0, "http://localhost:8888/");
        assert_eq!(passed("https://gw.test", "https://gw.test", "").0, "http://localhost:8888/");
        let foreign = ("https://evil.test/x".to_owned(), "https://evil.test".to_owned());
        assert_eq!(passed("https://evil.test/x", "https://evil.test", ""), foreign);
    }
}
