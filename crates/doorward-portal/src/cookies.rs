//! Our cookies on the portal's host. `__Host-` means: set by this very host, over HTTPS, for all of its paths (RFC 6265bis,
//! 4.1.3), so no neighbour can toss one in. The gateway keeps every cookie of such a name from targets.

use doorward_core::Secret;
use http::header::{COOKIE, HeaderMap, HeaderValue};

/// A signed-in browser: the token of its login.
pub(crate) use doorward_core::login::LOGIN_COOKIE as LOGIN;
/// A browser that left for an identity provider: what it must bring back.
pub(crate) const JOURNEY: &str = "__Host-doorward-journey";
/// A browser before it is signed in: what its forms are bound to.
pub(crate) const STRANGER: &str = "__Host-doorward-form";

/// `None` if it is not there, or there twice: then somebody else set one as well.
pub(crate) fn read(headers: &HeaderMap, name: &str) -> Option<Secret<String>> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => Some(Secret::new(value.to_owned())),
        (_, _) => None,
    }
}

/// `seconds`: how long it is kept; `None`: until the browser closes.
pub(crate) fn set(name: &str, value: &Secret<String>, seconds: Option<i64>) -> HeaderValue {
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let text = format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax{age}", value.expose());
    let mut value = HeaderValue::try_from(text).expect("our own values are letters and digits");
    value.set_sensitive(true);
    value
}

pub(crate) fn take_back(name: &str) -> HeaderValue {
    set(name, &Secret::new(String::new()), Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_if_it_is_there_once() {
        let table = [
            (&["a=1; __Host-doorward=x"][..], Some("x")),
            (&["a=1", "__Host-doorward=x; b=2"], Some("x")),
            (&["__Host-doorward-form=x"], None),
            (&["__Host-doorward=x; __Host-doorward=y"], None),
            (&["__Host-doorward=x", "__Host-doorward=x"], None),
            (&[], None),
        ];
        for (lines, expected) in table {
            let headers: HeaderMap = lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect();
            let found = read(&headers, LOGIN);
            assert_eq!(found.as_ref().map(|value| value.expose().as_str()), expected, "{lines:?}");
        }
    }
}
