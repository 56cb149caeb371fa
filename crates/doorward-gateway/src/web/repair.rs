//! Answers as the visitor must see them: where a target names itself or its own paths, it means the service.
//!
//! Cookies are looked at from their first semicolon on. Names and values are the application's own and pass as they
//! are, whatever stands in them.

use super::origin::{PublicOrigin, same_authority};
use super::passage::Paths;
use doorward_core::web::TargetOrigin;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

pub(crate) struct View<'a> {
    pub(crate) public: &'a PublicOrigin,
    pub(crate) target: &'a TargetOrigin,
    pub(crate) paths: &'a Paths,
    /// Whether the target may have added the visitor's part of the path by itself.
    pub(crate) knows_path: bool,
}

/// What is repaired for every service.
pub(crate) fn answer(headers: &mut HeaderMap, view: &View<'_>) {
    for name in [LOCATION, CONTENT_LOCATION] {
        let value = headers.get(&name).and_then(|value| value.to_str().ok());
        if let Some(repaired) =
            value.and_then(|value| view.reference(value)).and_then(|r| HeaderValue::try_from(r).ok())
        {
            headers.insert(name, repaired);
        }
    }
    let refresh = headers.get(REFRESH).and_then(|value| value.to_str().ok());
    if let Some(repaired) = refresh.and_then(|value| view.refresh(value)).and_then(|r| HeaderValue::try_from(r).ok()) {
        headers.insert(REFRESH, repaired);
    }
    each_cookie(headers, |cookie| view.cookie(cookie));
}

/// What is repaired where the target believes that it is asked under its own name.
pub(crate) fn rewritten(headers: &mut HeaderMap, view: &View<'_>) {
    let names_target = |value: &HeaderValue| value == view.target.to_string().as_str();
    if headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(names_target) {
        let public = format!("{}://{}", view.public.scheme(), view.public.authority());
        if let Ok(public) = HeaderValue::try_from(public) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, public);
        }
    }
    each_cookie(headers, |cookie| secured(cookie, view.public.is_https));
}

fn each_cookie(headers: &mut HeaderMap, repair: impl Fn(&[u8]) -> Vec<u8>) {
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        let repaired = HeaderValue::from_bytes(&repair(cookie.as_bytes())).unwrap_or(cookie);
        headers.append(SET_COOKIE, repaired);
    }
}

impl View<'_> {
    /// A URI reference (RFC 3986, 4.1); `None`: it is right as it is.
    fn reference(&self, text: &str) -> Option<String> {
        if text.starts_with('/') && !text.starts_with("//") {
            return self.paths.to_visitor(text, self.knows_path);
        }
        let (scheme, rest) = text.split_once("//")?;
        let is_https = match scheme {
            "" => self.public.is_https,
            scheme if scheme.eq_ignore_ascii_case("https:") => true,
            scheme if scheme.eq_ignore_ascii_case("http:") => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let of_target = same_authority(authority, is_https, &self.target.authority(), self.target.is_https());
        if !of_target && !self.public.is_authority(authority, is_https) {
            return None;
        }
        let moved = self.paths.to_visitor(path, self.knows_path);
        if !of_target && moved.is_none() {
            return None;
        }
        let origin = format!("{}://{}", self.public.scheme(), self.public.authority());
        let origin = if of_target { origin } else { format!("{scheme}//{authority}") };
        Some(format!("{origin}{}", moved.as_deref().unwrap_or(path)))
    }

    /// `5; url=/next`, a header that browsers know (HTML, 7.6 "refresh").
    fn refresh(&self, text: &str) -> Option<String> {
        let at = text.to_ascii_lowercase().find("url=")? + 4;
        let (before, reference) = text.split_at(at);
        self.reference(reference.trim()).map(|repaired| format!("{before}{repaired}"))
    }

    /// `Domain` goes: a service's host may stand above other services, and a cookie for one's own host needs none.
    fn cookie(&self, cookie: &[u8]) -> Vec<u8> {
        let mut parts = cookie.split(|&byte| byte == b';');
        let pair = parts.next().unwrap_or_default();
        // RFC 6265bis, 4.1.3.2: such a cookie stands and falls with `Path=/`.
        let keeps_path = starts_with(pair.trim_ascii(), b"__host-");
        let mut repaired = pair.to_vec();
        for part in parts {
            match attribute(part) {
                (b"domain", _) => continue,
                (b"path", path) if !keeps_path => match self.cookie_path(path) {
                    Some(path) => repaired.extend_from_slice(format!("; Path={path}").as_bytes()),
                    None => push(&mut repaired, part),
                },
                _ => push(&mut repaired, part),
            }
        }
        repaired
    }

    /// `/zumi01/` for a root: what is set under one prefix is no business of the next. Its own pages in the browser may
    /// have told the path to a target that we did not tell it (code-server's log-in does).
    fn cookie_path(&self, path: &[u8]) -> Option<String> {
        self.paths.to_visitor(std::str::from_utf8(path).ok()?, true)
    }
}

/// `Secure` as the visitor's connection is, which the target cannot know.
fn secured(cookie: &[u8], is_https: bool) -> Vec<u8> {
    let is_secure = |part: &[u8]| attribute(part).0 == b"secure";
    let has = cookie.split(|&byte| byte == b';').skip(1).any(is_secure);
    if is_https {
        return if has { cookie.to_vec() } else { [cookie, b"; Secure"].concat() };
    }
    let pair = cookie.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if !has || starts_with(pair, b"__host-") || starts_with(pair, b"__secure-") {
        return cookie.to_vec();
    }
    let mut kept = Vec::with_capacity(cookie.len());
    for (n, part) in cookie.split(|&byte| byte == b';').enumerate() {
        match n {
            0 => kept.extend_from_slice(part),
            _ if is_secure(part) => {}
            _ => push(&mut kept, part),
        }
    }
    kept
}

fn push(cookie: &mut Vec<u8>, part: &[u8]) {
    cookie.push(b';');
    cookie.extend_from_slice(part);
}

/// Name in lower case, and value; borrowed where the name is one that matters here.
fn attribute(part: &[u8]) -> (&'static [u8], &[u8]) {
    let at = part.iter().position(|&byte| byte == b'=');
    let (name, value) = at.map_or((part, &b""[..]), |at| (&part[..at], &part[at + 1..]));
    let name = name.trim_ascii();
    let known: [&'static [u8]; 3] = [b"domain", b"path", b"secure"];
    let known = known.into_iter().find(|known| name.eq_ignore_ascii_case(known));
    (known.unwrap_or_default(), value.trim_ascii())
}

fn starts_with(text: &[u8], lower: &[u8]) -> bool {
    text.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

#[cfg(test)]
mod tests;
