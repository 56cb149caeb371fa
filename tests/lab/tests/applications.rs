//! Applications as they are, behind a gateway: which host they hear of, what becomes of their answers, what is mounted
//! beside them.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_agent::{Service, Settings, Target};
use doorward_core::access::PolicyDocument;
use doorward_core::names::HostName;
use doorward_core::web::Page;
use doorward_lab::visitor::{self, get, http1, http2, request, request2, send, send_over, send2};
use doorward_lab::web::{Answer, WebTarget, ok, web};
use doorward_lab::{Lab, service, until, websocket};
use http::StatusCode;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

const HOST: &str = "app-pi.gw.test";

/// A public service "app", as agent.toml has it.
fn app(target: &str, keys: &str) -> Service {
    let text = format!("[[service]]\nname = \"app\"\ntarget = \"{target}\"\n{keys}\n");
    let mut service = Settings::parse(&text, Path::new("agent.toml")).unwrap().services.remove(0);
    service.offer.access = PolicyDocument::public();
    service
}

async fn answering(head: &'static str) -> WebTarget {
    web(move |_| Answer::Whole(format!("HTTP/1.1 302 Found\r\n{head}\r\ncontent-length: 0\r\n\r\n").into_bytes())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_knows_only_itself_is_asked_as_itself() {
    let lab = Lab::start().await;
    let page = answering(
        "set-cookie: a|b=1; Domain=localhost; Path=/\r\nlocation: http://localhost/next\r\n\
         access-control-allow-origin: *",
    )
    .await;
    let _device = lab.device("pi", vec![app(&page.url(), "headers = \"rewrite\"")]).await;
    let two = http2(lab.https(), HOST).await;
    let post = request2(HOST, "/login")
        .method("POST")
        .header("origin", format!("https://{HOST}"))
        .header("referer", format!("https://{HOST}/login?x=1"))
        .header("sec-fetch-site", "same-origin")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6");
    let answer = send2(&two, post.body(visitor::nothing()).unwrap()).await;
    let (own, got) = (page.url(), page.last());
    assert_eq!(got.header("host"), Some(page.address.to_string().as_str()));
    assert_eq!(got.header("origin"), Some(own.as_str()));
    assert_eq!(got.header("referer"), Some(format!("{own}/login?x=1").as_str()));
    for gone in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip"] {
        assert_eq!(got.header(gone), None, "{gone}");
    }
    assert_eq!(answer.headers["set-cookie"], "a|b=1; Path=/; Secure");
    assert_eq!(answer.headers["location"], "http://localhost/next", "that is another port's");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_to_the_targets_own_address_lead_back_to_the_service() {
    let lab = Lab::start().await;
    let page = web(|request| {
        let host = request.header("host").unwrap();
        let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{host}/next\r\ncontent-length: 0\r\n\r\n");
        Answer::Whole(head.into_bytes())
    })
    .await;
    let keys =
        "headers = \"rewrite\"\nforwarded = true\nentrances = [{ path = { prefix = \"/octo/\", strip = true } }]";
    let _device = lab.device("pi", vec![app(&page.url(), keys)]).await;
    assert_eq!(get(lab.http(), HOST, "/").await.headers["location"], format!("http://{HOST}/next"));
    assert_eq!(page.last().header("x-forwarded-host"), Some(HOST), "it was asked for");
    let under_path = get(lab.http(), "gw.test", "/octo/").await;
    assert_eq!(under_path.headers["location"], "http://gw.test/octo/next");
    assert_eq!(page.last().header("x-script-name"), Some("/octo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_is_taken_off_comes_back_in_places_and_cookies() {
    let lab = Lab::start().await;
    let page = answering(
        "location: /login\r\nset-cookie: session_P443|x=1; Path=/; HttpOnly\r\nset-cookie: b=2; Domain=gw.test",
    )
    .await;
    let keys = "preset = \"octoprint\"\nentrances = [{ path = { prefix = \"/octo/\" } }]";
    let _device = lab.device("pi", vec![app(&page.url(), keys)]).await;
    let answer = get(lab.http(), "gw.test", "/octo/").await;
    assert_eq!(answer.headers["location"], "/octo/login");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["session_P443|x=1; Path=/octo/; HttpOnly", "b=2"], "gw.test stands above every service");
    assert_eq!(page.last().header("host"), Some("gw.test"));
    assert_eq!(page.last().header("x-script-name"), Some("/octo"), "the preset takes the prefix off");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_may_look_but_not_act_where_the_target_cannot_tell() {
    let lab = Lab::start().await;
    let (page, echo) = (web(|_| ok("done")).await, websocket::echo().await);
    let mut live = app(&echo.url(), "preset = \"jupyter\"");
    live.offer.name = doorward_core::names::Label::parse("live").unwrap();
    let mut kept = app(&page.url(), "");
    kept.offer.name = doorward_core::names::Label::parse("kept").unwrap();
    let _device = lab.device("pi", vec![app(&page.url(), "headers = \"rewrite\""), live, kept]).await;
    let (home, evil) = (format!("http://{HOST}"), "https://evil.example".to_owned());
    let mut one = http1(lab.http()).await;
    for (method, host, origin, status) in [
        ("GET", HOST, &evil, StatusCode::OK),
        ("OPTIONS", HOST, &evil, StatusCode::OK),
        ("POST", HOST, &home, StatusCode::OK),
        ("POST", HOST, &evil, StatusCode::FORBIDDEN),
        ("DELETE", HOST, &evil, StatusCode::FORBIDDEN),
        ("POST", "kept-pi.gw.test", &evil, StatusCode::OK),
    ] {
        let asking = request(host, "/").method(method).header("origin", origin);
        let answer = send_over(&mut one, asking.body(visitor::nothing()).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {host} from {origin}");
    }
    assert_eq!(page.requests().len(), 4, "what is refused reaches nobody");
    assert_eq!(page.requests()[0].header("origin"), Some("https://evil.example"), "the target judges who looks");

    let open = async |origin: &str| {
        let mut asking = "ws://live-pi.gw.test/".into_client_request().unwrap();
        asking.headers_mut().insert("origin", origin.parse().unwrap());
        let socket = TcpStream::connect(lab.http()).await.unwrap();
        tokio_tungstenite::client_async(asking, socket).await
    };
    let (mut own, _) = open("http://live-pi.gw.test").await.unwrap();
    assert!(websocket::is_answered(&mut own, Message::text("hello")).await);
    let Err(Error::Http(refused)) = open("https://evil.example").await else { panic!("a stranger's page came in") };
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_lead_to_their_own_targets_under_the_services_policy() {
    let lab = Lab::start().await;
    let (printer, camera, raw) =
        (web(|_| ok("printer")).await, answering("location: /mjpeg/next").await, web(|_| ok("raw")).await);
    let keys = format!(
        "mounts = {{ \"/webcam/\" = \"{}/mjpeg/\", \"/webcam/raw/\" = \"{}\" }}\n\
         entrances = [{{ path = {{ prefix = \"/octo/\", strip = true }} }}]",
        camera.url(),
        raw.url()
    );
    let _device = lab.device("pi", vec![app(&printer.url(), &keys)]).await;
    let mut one = http1(lab.http()).await;
    let mut ask =
        async |host: &str, path: &str| send_over(&mut one, request(host, path).body(visitor::nothing()).unwrap()).await;
    assert_eq!(ask(HOST, "/").await.text(), "printer");
    let answer = ask(HOST, "/webcam/?action=stream").await;
    assert_eq!(answer.headers["location"], "/webcam/next");
    assert_eq!(camera.last().path(), "/mjpeg/?action=stream");
    assert_eq!(camera.last().header("x-forwarded-prefix"), Some("/webcam"));
    assert_eq!(ask(HOST, "/webcam/raw/1").await.text(), "raw");
    assert_eq!(raw.last().path(), "/1");
    assert_eq!(ask(HOST, "/webcamera").await.text(), "printer");
    assert_eq!(ask("gw.test", "/octo/webcam/").await.headers["location"], "/octo/webcam/next");
    // One visitor, one connection, three targets: none gets what is another's.
    assert_eq!((printer.accepted(), camera.accepted(), raw.accepted()), (1, 1, 1));
    assert_eq!(printer.requests().len(), 2);

    lab.set_access("pi", "app", PolicyDocument::default()).await;
    for path in ["/", "/webcam/", "/webcam/raw/1"] {
        assert_eq!(get(lab.http(), HOST, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_ends_with_the_policy_as_the_service_does() {
    let lab = Lab::start().await;
    let (page, camera) =
        (web(|_| ok("page")).await, web(|_| Answer::Endless(doorward_lab::web::ENDLESS.to_vec())).await);
    let keys = format!("mounts = {{ \"/webcam/\" = \"{}\" }}", camera.url());
    let _device = lab.device("pi", vec![app(&page.url(), &keys)]).await;
    let asking = request(HOST, "/webcam/").body(visitor::nothing()).unwrap();
    let stream = http1(lab.http()).await.send_request(asking).await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let started = std::time::Instant::now();
    lab.set_access("pi", "app", PolicyDocument::default()).await;
    assert!(http_body_util::BodyExt::collect(stream.into_body()).await.is_err(), "the stream is broken off");
    assert!(started.elapsed().as_secs_f32() < 1.0, "{:?}", started.elapsed());
}

/// TLS before a target, with a certificate of its own making; returns its port and that certificate's SHA-256.
async fn secured(target: &WebTarget) -> (u16, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let made = rcgen::CertificateParams::new(vec!["printer.local".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pin = rustls::crypto::aws_lc_rs::default_provider();
    let private = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(pin.into()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.der().clone()], private).unwrap();
    let (acceptor, listener) = (
        tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)),
        tokio::net::TcpListener::bind((doorward_lab::LOOPBACK, 0)).await.unwrap(),
    );
    let (port, address) = (listener.local_addr().unwrap().port(), target.address);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(socket).await else { return };
                let mut far = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, made.der());
    (port, data_encoding::HEXLOWER.encode(digest.as_ref()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_tls_is_asked_only_if_its_certificate_is_the_right_one() {
    let lab = Lab::start().await;
    let page = web(|_| ok("secret")).await;
    let (port, digest) = secured(&page).await;
    let target = format!("https://127.0.0.1:{port}");
    let (right, wrong) =
        (format!("verify = \"pin:sha256:{digest}\""), format!("verify = \"pin:sha256:{}\"", "0".repeat(64)));
    let device = lab.device("pi", vec![app(&target, &wrong)]).await;
    for (keys, status) in [
        (wrong.as_str(), StatusCode::BAD_GATEWAY),
        ("", StatusCode::BAD_GATEWAY),
        ("verify = \"off\"", StatusCode::OK),
        (right.as_str(), StatusCode::OK),
    ] {
        device.offer(vec![app(&target, keys)]).await;
        assert_eq!(get(lab.http(), HOST, "/").await.status, status, "{keys}");
    }
    assert_eq!(page.requests().len(), 2, "nothing is sent to whom nobody vouches for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_own_page_is_there_when_its_device_is_not_and_strangers_see_nothing_of_it() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let mut service = app(&page.url(), "title = \"Küche\"");
    service.offer.web.pages.offline = Some(Page::parse("<p>{{service}} sleeps".to_owned()).unwrap());
    service.offer.web.pages.unreachable = Some(Page::parse("<p>{{service}} is broken".to_owned()).unwrap());
    let device = lab.device("pi", vec![service.clone()]).await;
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "page");
    service.target = Target::parse("http://127.0.0.1:9").unwrap();
    device.offer(vec![service]).await;
    let broken = get(lab.http(), HOST, "/").await;
    assert_eq!((broken.status, broken.text().as_str()), (StatusCode::BAD_GATEWAY, "<p>Küche is broken"));

    device.stop().await;
    // It rests in the store.
    let lab = lab.restart_gateway().await;
    let asleep = get(lab.http(), HOST, "/").await;
    assert_eq!((asleep.status, asleep.text().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "<p>Küche sleeps"));
    assert!(asleep.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(asleep.headers["cache-control"], "no-store");
    let asking = request(HOST, "/").header("accept", "application/json").body(visitor::nothing()).unwrap();
    assert!(send(lab.http(), asking).await.text().contains("\"status\":503"));
    lab.set_access("pi", "app", PolicyDocument::default()).await;
    let stranger = get(lab.http(), HOST, "/").await;
    assert_eq!(stranger.text(), get(lab.http(), "unknown-pi.gw.test", "/").await.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_with_tls_may_be_checked_in_another_way_than_its_service() {
    let lab = Lab::start().await;
    let (page, camera) = (web(|_| ok("page")).await, web(|_| ok("camera")).await);
    let ((page_port, _), (camera_port, digest)) = (secured(&page).await, secured(&camera).await);
    let keys = |verify: &str| {
        format!(
            "verify = \"off\"\nmounts = {{ \"/cam/\" = {{ target = \"https://127.0.0.1:{camera_port}\", \
             verify = \"{verify}\" }} }}"
        )
    };
    let target = format!("https://127.0.0.1:{page_port}");
    let device = lab.device("pi", vec![app(&target, &keys("system"))]).await;
    assert_eq!(get(lab.http(), HOST, "/").await.text(), "page");
    assert_eq!(get(lab.http(), HOST, "/cam/").await.status, StatusCode::BAD_GATEWAY);
    device.offer(vec![app(&target, &keys(&format!("pin:sha256:{digest}")))]).await;
    assert_eq!(get(lab.http(), HOST, "/cam/").await.text(), "camera");
    assert_eq!(camera.requests().len(), 1, "nothing is sent to whom nobody vouches for");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket_the_web_server_says_who_the_visitor_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let text = format!(
        "domain = \"gw.test\"\nbehind = \"unix:{}\"\n[listen]\noperations = \"127.0.0.1:0\"\nports = [\"127.0.0.1\"]\n\
         [built-in]\nname = \"pi\"\nconfig = \"{}\"\n",
        path.display(),
        directory.path().join("agent.toml").display()
    );
    let page = web(|_| Answer::Endless(doorward_lab::web::ENDLESS.to_vec())).await;
    let agent = format!(
        "[[service]]\nname = \"app\"\ntarget = \"{}\"\naccess = {{ who = \"public\", from = [\"192.0.2.7\"] }}\n",
        page.url()
    );
    std::fs::write(directory.path().join("agent.toml"), agent).unwrap();
    let file: doorward::serve::settings::File = toml::from_str(&text).unwrap();
    let gateway = doorward::serve::start(file.into_settings(directory.path().join("gateway")).unwrap()).await.unwrap();
    let bound = gateway.gateway.bound().clone();
    assert_eq!((bound.local.as_deref(), bound.http.len(), bound.https.len()), (Some(path.as_path()), 0, 0));

    let ask = async |source: &str| {
        let mut socket = UnixStream::connect(&path).await.unwrap();
        let asked = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-forwarded-for: {source}\r\n\r\n");
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut head = vec![0; 12];
        socket.read_exact(&mut head).await.unwrap();
        (socket, String::from_utf8(head).unwrap())
    };
    until("the visitor is admitted", async || ask("192.0.2.7").await.1.ends_with("200")).await;
    assert_eq!(ask("192.0.2.8").await.1, "HTTP/1.1 401");
    let (mut stream, head) = ask("192.0.2.7").await;
    assert_eq!(head, "HTTP/1.1 200");
    assert_eq!(page.last().header("x-forwarded-for"), Some("192.0.2.7"));

    let started = std::time::Instant::now();
    let control = &gateway.control;
    let service = control.snapshot().web(&HostName::parse(HOST).unwrap(), "/").unwrap().0;
    let nobody = Some(PolicyDocument::default());
    control.set_access(service.device, &service.name, nobody, None, jiff::Timestamp::now()).await.unwrap();
    let cut = tokio::time::timeout(doorward_lab::LIMIT, stream.read_to_end(&mut Vec::new())).await;
    assert!(cut.is_ok() && started.elapsed().as_secs_f32() < 1.0, "{:?}", started.elapsed());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_requests_counts_from_its_next_registration_on() {
    let lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let device = lab.device("pi", vec![service("app", &page.url())]).await;
    get(lab.http(), HOST, "/").await;
    assert_eq!(page.last().header("host"), Some(HOST));
    device.offer(vec![app(&page.url(), "headers = \"rewrite\"")]).await;
    until("the gateway asks the target as itself", async || {
        send(lab.http(), request(HOST, "/").body(visitor::nothing()).unwrap()).await;
        page.last().header("host") == Some(page.address.to_string().as_str())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_web_server_nobody_but_that_server_is_heard() {
    for (proxy, is_heard) in [("127.0.0.1", true), ("192.0.2.1", false)] {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "domain = \"gw.test\"\nbehind = \"127.0.0.1:0\"\nproxies = [\"{proxy}\"]\n\
             [listen]\noperations = \"127.0.0.1:0\"\nports = [\"127.0.0.1\"]\n"
        );
        let file: doorward::serve::settings::File = toml::from_str(&text).unwrap();
        let gateway = doorward::serve::start(file.into_settings(directory.path().to_owned()).unwrap()).await.unwrap();
        let bound = gateway.gateway.bound().clone();
        assert!(bound.https.is_empty() && bound.quic.is_empty(), "{bound:?}");
        let asked = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        let mut socket = TcpStream::connect(bound.http[0]).await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, asked.as_bytes()).await;
        assert_eq!(visitor::heard(&mut socket).await.contains("401 Unauthorized"), is_heard, "{proxy}");
        gateway.stop().await;
    }
}
