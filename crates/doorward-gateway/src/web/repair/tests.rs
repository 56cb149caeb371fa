use super::*;

const HOME: &str = "https://gw.test:8443";

/// `paths`: the visitor's and the target's; `knows`: whether the target was told of them.
fn repaired(name: &'static str, value: &[u8], paths: (&str, &str), knows: bool, rewrites: bool) -> Vec<u8> {
    let public = PublicOrigin { is_https: true, host: HeaderValue::from_static("gw.test:8443") };
    let target = TargetOrigin::try_from("http://localhost:5000".to_owned()).unwrap();
    let paths = Paths { visitor: paths.0.to_owned(), target: paths.1.to_owned() };
    let view = View { public: &public, target: &target, paths: &paths, knows_path: knows };
    let mut headers = HeaderMap::new();
    headers.append(name, HeaderValue::from_bytes(value).unwrap());
    answer(&mut headers, &view);
    if rewrites {
        rewritten(&mut headers, &view);
    }
    headers[name].as_bytes().to_vec()
}

#[test]
fn places_are_named_as_the_visitor_knows_them() {
    let (whole, cut, based) = (("", ""), ("/octo1", ""), ("/octo1", "/app"));
    let table = [
        (whole, "/login?next=/x", "/login?next=/x"),
        (whole, "login", "login"),
        (whole, "http://localhost:5000/a", "https://gw.test:8443/a"),
        (whole, "http://LOCALHOST:5000", "https://gw.test:8443"),
        (whole, "//localhost:5000/a", "https://gw.test:8443/a"),
        (whole, "http://localhost:5001/a", "http://localhost:5001/a"),
        (whole, "https://gw.test:8443/a", "https://gw.test:8443/a"),
        (whole, "https://elsewhere.test/?u=http://localhost:5000/", "https://elsewhere.test/?u=http://localhost:5000/"),
        (whole, "mailto:a@localhost", "mailto:a@localhost"),
        (cut, "/login", "/octo1/login"),
        (cut, "/", "/octo1/"),
        (cut, "/octo1x", "/octo1/octo1x"),
        (cut, "../a", "../a"),
        (cut, "http://localhost:5000/a#b", "https://gw.test:8443/octo1/a#b"),
        (cut, "http://localhost:5000?q", "https://gw.test:8443/octo1/?q"),
        (cut, "https://gw.test:8443/a", "https://gw.test:8443/octo1/a"),
        (cut, "//gw.test:8443/a", "//gw.test:8443/octo1/a"),
        (based, "/app/a", "/octo1/a"),
        (based, "/application", "/application"),
        (("", "/app"), "/app/a", "/a"),
    ];
    for (paths, given, wanted) in table {
        for name in ["location", "content-location"] {
            let got = repaired(name, given.as_bytes(), paths, true, false);
            assert_eq!(String::from_utf8_lossy(&got), wanted, "{paths:?} {given}");
        }
    }
    // Who was told of the prefix has put it there already; who was not means a path of its own.
    assert_eq!(repaired("location", b"/octo1/login", cut, true, false), b"/octo1/login");
    assert_eq!(repaired("location", b"/octo1/login", cut, false, false), b"/octo1/octo1/login");
    assert_eq!(repaired("refresh", b"5; URL=/next", cut, true, false), b"5; URL=/octo1/next");
    assert_eq!(repaired("refresh", b"5", cut, true, false), b"5");
}

#[test]
fn cookies_keep_their_names_to_the_byte_and_stay_on_their_host() {
    let (whole, cut) = (("", ""), ("/octo1", ""));
    let table: [(_, &[u8], &[u8]); 13] = [
        (whole, b"a=1", b"a=1"),
        (whole, b"session_P443|octo1=x; Path=/; HttpOnly", b"session_P443|octo1=x; Path=/; HttpOnly"),
        (whole, b"a=\"x y,z\";Path=/;SameSite=Lax", b"a=\"x y,z\";Path=/;SameSite=Lax"),
        (whole, b"caf\xe9=\xff; HttpOnly", b"caf\xe9=\xff; HttpOnly"),
        (whole, b"a=1; Domain=gw.test; Path=/", b"a=1; Path=/"),
        (whole, b"a=1; domain = .test", b"a=1"),
        (whole, b"a=1; Domain=localhost", b"a=1"),
        (whole, b"a=1;Domain;Domain=test; Secure", b"a=1; Secure"),
        (cut, b"a=1; Path=/", b"a=1; Path=/octo1/"),
        (cut, b"a=1; path=/api; HttpOnly", b"a=1; Path=/octo1/api; HttpOnly"),
        (cut, b"csrf_token_P443_R|octo1=y; Path=/octo1/", b"csrf_token_P443_R|octo1=y; Path=/octo1/"),
        (cut, b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure"),
        (("", "/app"), b"a=1; Path=/app", b"a=1; Path=/"),
    ];
    for (paths, given, wanted) in table {
        // Its own pages may have told the path to a target that we did not.
        let untold = repaired("set-cookie", given, paths, false, false);
        let got = repaired("set-cookie", given, paths, true, false);
        assert_eq!(got, untold);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(wanted),
            "{}",
            String::from_utf8_lossy(given)
        );
    }
}

#[test]
fn where_hosts_are_rewritten_cookies_are_as_safe_as_the_connection() {
    let over_https = |cookie: &[u8]| repaired("set-cookie", cookie, ("", ""), false, true);
    assert_eq!(over_https(b"a=1; Path=/"), b"a=1; Path=/; Secure");
    assert_eq!(over_https(b"a=1; secure; Path=/"), b"a=1; secure; Path=/");
    assert_eq!(secured(b"a=1; Secure; Path=/", false), b"a=1; Path=/");
    assert_eq!(secured(b"a=1; SameSite=Lax;secure", false), b"a=1; SameSite=Lax");
    assert_eq!(secured(b"__Secure-a=1; Secure", false), b"__Secure-a=1; Secure");
    assert_eq!(
        repaired("access-control-allow-origin", b"http://localhost:5000", ("", ""), false, true),
        HOME.as_bytes()
    );
    assert_eq!(repaired("access-control-allow-origin", b"*", ("", ""), false, true), b"*");
}

#[test]
fn several_cookies_stay_several_and_in_order() {
    let public = PublicOrigin { is_https: false, host: HeaderValue::from_static("gw.test") };
    let (target, paths) = (TargetOrigin::default(), Paths { visitor: "/x".into(), target: String::new() });
    let view = View { public: &public, target: &target, paths: &paths, knows_path: true };
    let mut headers = HeaderMap::new();
    for cookie in ["a=1; Path=/", "a=2", "b|c=3; Domain=test"] {
        headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    answer(&mut headers, &view);
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; Path=/x/", "a=2", "b|c=3"]);
}
