//! What visitors prove to us is not for targets: our cookies are taken out on the way in, and no target can set one.

use super::request::Malformed;
use doorward_core::Secret;
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// Cookies of this name, whatever follows, are ours. With `__Host-` no other host can set them (RFC 6265bis, 4.1.3).
const OWN: &[u8] = b"__Host-doorward";

/// A cookie of ours that came twice was set by somebody else as well.
pub(crate) fn check_cookies(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut seen = Vec::new();
    for name in headers.get_all(COOKIE).iter().flat_map(|value| cookies(value).map(name_of)).filter(|n| is_own(n)) {
        if seen.contains(&name) {
            return Err(Malformed("it has a cookie of ours twice"));
        }
        seen.push(name);
    }
    Ok(())
}

/// Headers without a cookie of ours stay as they are, to the byte.
pub(crate) fn take_out_cookies(headers: &mut HeaderMap) {
    let has_own = |value: &HeaderValue| cookies(value).any(|cookie| is_own(name_of(cookie)));
    if !headers.get_all(COOKIE).iter().any(has_own) {
        return;
    }
    let rest = headers.get_all(COOKIE).iter().flat_map(cookies).filter(|cookie| !is_own(name_of(cookie)));
    let rest: Vec<&[u8]> = rest.map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty()).collect();
    let rest = HeaderValue::from_bytes(&rest.join(&b"; "[..]));
    headers.remove(COOKIE);
    if let Ok(rest) = rest
        && !rest.is_empty()
    {
        headers.insert(COOKIE, rest);
    }
}

/// A target that sets a cookie of ours is not heard.
pub(crate) fn take_out_set_cookies(headers: &mut HeaderMap) {
    let sets_own = |value: &HeaderValue| is_own(name_of(value.as_bytes()));
    if !headers.get_all(SET_COOKIE).iter().any(sets_own) {
        return;
    }
    let rest: Vec<_> = headers.get_all(SET_COOKIE).iter().filter(|value| !sets_own(value)).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in rest {
        headers.append(SET_COOKIE, value);
    }
}

/// One of ours. `None` if it did not come; that none comes twice, `check_cookies` saw to.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret<String>> {
    let mut all = headers.get_all(COOKIE).iter().flat_map(cookies);
    let found = all.find(|cookie| name_of(cookie) == name.as_bytes())?;
    let value = found.splitn(2, |byte| *byte == b'=').nth(1)?.trim_ascii();
    String::from_utf8(value.to_vec()).ok().map(Secret::new)
}

fn cookies(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

fn name_of(cookie: &[u8]) -> &[u8] {
    cookie.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn is_own(name: &[u8]) -> bool {
    name.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: http::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn all(headers: &HeaderMap, name: http::HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn our_cookies_are_taken_out_and_others_stay_as_they_are() {
        let strange = "session|P443=\"x y\"; z;;  doorward=1";
        let table = [
            (vec![strange], vec![strange]),
            (vec!["a=1; __Host-doorward=x; b=2"], vec!["a=1; b=2"]),
            (vec!["a=1", " __host-Doorward-site =x;b|c=2; "], vec!["a=1; b|c=2"]),
            (vec!["__Host-doorward=x"], vec![]),
        ];
        for (given, left) in table {
            let mut headers = with(COOKIE, &given);
            take_out_cookies(&mut headers);
            assert_eq!(all(&headers, COOKIE), left, "{given:?}");
        }
    }

    #[test]
    fn a_cookie_of_ours_that_comes_twice_is_refused() {
        assert!(check_cookies(&with(COOKIE, &["__Host-doorward=a; __Host-doorward-b=b; a=1; a=1"])).is_ok());
        assert!(check_cookies(&with(COOKIE, &["__Host-doorward=a; __Host-doorward=a"])).is_err());
        assert!(check_cookies(&with(COOKIE, &["__Host-doorward=a", "__Host-doorward"])).is_err());
    }

    #[test]
    fn a_target_cannot_set_a_cookie_of_ours() {
        let mut headers = with(SET_COOKIE, &["a=1; Path=/", " __Host-doorward=x; Secure", "b|c=2"]);
        take_out_set_cookies(&mut headers);
        assert_eq!(all(&headers, SET_COOKIE), ["a=1; Path=/", "b|c=2"]);
    }
}
