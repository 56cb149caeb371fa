//! What may be kept of a request that its service's owner looks at. Credentials are left out where they are met, before
//! anything is kept: who runs a service need not learn its visitors' passwords, and what was never kept cannot leak.

/// In place of what is not kept.
pub const HIDDEN: &str = "(hidden)";
/// Characters of a value.
const MOST: usize = 1024;
/// In names of headers, of cookies and of parameters that carry credentials.
const TELLING: [&str; 14] = [
    "auth",
    "token",
    "secret",
    "passw",
    "pwd",
    "key",
    "session",
    "csrf",
    "xsrf",
    "credential",
    "signature",
    "jwt",
    "cookie",
    "otp",
];
/// Whole names of parameters that do.
const TELLING_WHOLE: [&str; 6] = ["sig", "code", "sid", "pin", "pass", "state"];

/// A value as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// Whether something of it was left out.
    pub is_hidden: bool,
}

/// A header's value.
pub fn header(name: &str, value: &[u8]) -> Shown {
    let text = String::from_utf8_lossy(value);
    match name {
        "cookie" => hidden(text.split(';').map(name_of).collect::<Vec<_>>().join("; ")),
        "set-cookie" => hidden(name_of(&text)),
        "referer" | "location" | "content-location" => url(&text),
        // Between browser and gateway alone it counts for anything.
        "sec-websocket-key" | "sec-websocket-accept" => plain(&text),
        name if is_telling(name) => hidden(HIDDEN.to_owned()),
        _ => plain(&text),
    }
}

/// A path with its query, or a whole URL.
pub fn url(text: &str) -> Shown {
    let (text, has_fragment) = text.split_once('#').map_or((text, false), |(before, _)| (before, true));
    let Some((path, query)) = text.split_once('?') else {
        return Shown { is_hidden: has_fragment, ..plain(text) };
    };
    let mut is_hidden = has_fragment;
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_telling_parameter(name) => {
            is_hidden = true;
            format!("{name}={HIDDEN}")
        }
        Some(_) | None => pair.to_owned(),
    });
    let pairs = pairs.collect::<Vec<_>>().join("&");
    Shown { is_hidden, ..plain(&format!("{path}?{pairs}")) }
}

fn plain(text: &str) -> Shown {
    Shown { text: text.chars().filter(|c| !c.is_control()).take(MOST).collect(), is_hidden: text.len() > MOST }
}

fn hidden(text: String) -> Shown {
    Shown { is_hidden: true, ..plain(&text) }
}

fn name_of(cookie: &str) -> String {
    let name = cookie.split('=').next().unwrap_or_default().trim();
    format!("{name}={HIDDEN}")
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|telling| name.contains(telling))
}

fn is_telling_parameter(name: &str) -> bool {
    is_telling(name) || TELLING_WHOLE.iter().any(|whole| name.eq_ignore_ascii_case(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_is_kept() {
        let table = [
            ("authorization", "Bearer s3cret", HIDDEN),
            ("proxy-authorization", "Basic s3cret", HIDDEN),
            ("x-api-key", "s3cret", HIDDEN),
            ("x-csrftoken", "s3cret", HIDDEN),
            ("x-amz-signature", "s3cret", HIDDEN),
            ("cookie", "a=s3cret; b=s3cret=2", "a=(hidden); b=(hidden)"),
            ("set-cookie", "a=s3cret; Path=/", "a=(hidden)"),
            ("referer", "https://x.test/a?token=s3cret&page=2#s3cret", "https://x.test/a?token=(hidden)&page=2"),
            ("location", "/login?code=s3cret", "/login?code=(hidden)"),
            ("accept", "text/html", "text/html"),
        ];
        for (name, value, expected) in table {
            let shown = header(name, value.as_bytes());
            assert_eq!((shown.text.as_str(), shown.is_hidden), (expected, value.contains("s3cret")), "{name}");
        }
    }

    #[test]
    fn an_address_keeps_all_but_its_secrets() {
        for (given, expected, is_hidden) in [
            ("/a/b", "/a/b", false),
            ("/a?x=1&y", "/a?x=1&y", false),
            ("/a?access_token=s3cret&x=1", "/a?access_token=(hidden)&x=1", true),
            ("/a?Password=s3cret", "/a?Password=(hidden)", true),
            ("/a?sig=s3cret&design=1", "/a?sig=(hidden)&design=1", true),
            ("/a?token=", "/a?token=", false),
        ] {
            assert_eq!(url(given), Shown { text: expected.to_owned(), is_hidden }, "{given}");
        }
        assert_eq!(header("accept", &[b'x'; 5000]).text.len(), MOST);
        assert_eq!(header("x", b"a\r\nb\x1b[1m").text, "ab[1m");
    }
}
