use super::support::*;
use axum::body::Body;
use http::Request;

const PORT: u16 = 4080;

async fn ask(portal: &Portal, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(crate::start_page(portal.state.clone(), PORT), request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_loopback_port_answers_only_under_its_own_names() {
    let portal = Portal::open().await;
    for own in ["localhost:4080", "LOCALHOST:4080", "127.0.0.1:4080", "[::1]:4080"] {
        assert_eq!(ask(&portal, "GET", "/", &[("host", own)]).await.status.as_u16(), 200, "{own}");
    }
    let foreign = [
        "evil.example:4080",
        "localhost:4081",
        "localhost",
        "127.0.0.2:4080",
        "localhost.evil.example:4080",
        "user@localhost:4080",
        "evil.example#localhost:4080",
        "",
        "0.0.0.0:4080",
        "localhost.:4080",
    ];
    for host in foreign {
        for path in ["/", "/api/v1/status", "/healthz", "/style.css", "/nothing"] {
            ask(&portal, "GET", path, &[("host", host)]).await.problem(403);
        }
    }
    ask(&portal, "GET", "/", &[]).await.problem(403);
    ask(&portal, "GET", "/", &[("host", "localhost:4080"), ("host", "evil.example")]).await.problem(403);
    ask(&portal, "GET", "http://evil.example/", &[("host", "localhost:4080")]).await.problem(403);
}

#[tokio::test]
async fn another_sites_page_can_only_lead_here() {
    let portal = Portal::open().await;
    let host = ("host", "localhost:4080");
    let table = [
        (vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], 200),
        (vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], 200),
        (vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 200),
        (vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
        (vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")], 403),
        (vec![("origin", "http://localhost:4080")], 200),
        (vec![("origin", "http://localhost:9999")], 403),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
    ];
    for (mut headers, status) in table {
        headers.push(host);
        assert_eq!(ask(&portal, "GET", "/", &headers).await.status.as_u16(), status, "{headers:?}");
    }
    let posted = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    ask(&portal, "POST", "/", &posted).await.problem(403);
}

#[tokio::test]
async fn nothing_on_the_loopback_port_changes_anything() {
    let portal = Portal::open().await;
    portal.join(1, "zumi01").await;
    let mut tried = 0;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for path in [
            "/",
            "/api/v1/status",
            "/api/v1/invites",
            "/api/v1/devices/zumi01",
            "/api/v1/devices/zumi01/revoke",
            "/api/v1/site-key/successor",
            "/api/v1/backup",
            "/healthz",
        ] {
            let answer = ask(&portal, method, path, &[("host", "localhost:4080")]).await;
            assert!(matches!(answer.status.as_u16(), 404 | 405), "{method} {path}: {}", answer.status);
            tried += 1;
        }
    }
    assert_eq!(tried, 32);
    for path in ["/api/v1/devices", "/api/v1/services", "/api/v1/audit", "/api/v1/invites"] {
        ask(&portal, "GET", path, &[("host", "localhost:4080")]).await.problem(404);
    }
}
