//! Services that speak TLS themselves, with real software at both ends: openssl, curl, and an ACME server.

#![expect(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use doorward_gateway::{DnsSettings, IssuingSettings, Way};
use doorward_lab::authority::{Bind, Manners, Names, Pebble, free, held, issuing, until_held, until_reported};
use doorward_lab::tls::{TlsTarget, passing};
use doorward_lab::{LIMIT, Lab, Shape, service, until, visitor, web};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const VAULT: &str = "vault.gw.test";

fn shape(issuing: IssuingSettings) -> Shape {
    Shape { issuing: Some(issuing), hsts: Duration::from_secs(60), ..Shape::default() }
}

async fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.expect("it ends in time");
    output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"))
}

/// A key and a certificate that this name signed itself.
async fn make_certificate(folder: &Path, file: &str, name: &str) {
    let (key, certificate, subject) = (format!("{file}.key"), format!("{file}.crt"), format!("/CN={name}"));
    let alternative = format!("subjectAltName=DNS:{name}");
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let rest = ["-subj", &subject, "-addext", &alternative, "-keyout", &key, "-out", &certificate];
    let made = run(folder, "openssl", &[&["req", "-x509"], &curve[..], &rest[..]].concat()).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// An HTTPS server that insists on a certificate of its visitors.
async fn openssl_server(folder: &Path, address: SocketAddr) -> Child {
    let accept = address.to_string();
    let insisting = ["-Verify", "1", "-verify_return_error", "-CAfile", "visitor.crt"];
    let own = ["s_server", "-accept", &accept, "-cert", "own.crt", "-key", "own.key", "-www", "-quiet"];
    let mut command = Command::new("openssl");
    command.args(own).args(insisting).current_dir(folder).kill_on_drop(true);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("openssl listens", async || TcpStream::connect(address).await.is_ok()).await;
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_trust_each_other_alone_by_certificates_that_the_gateway_never_saw() {
    let (lab, folder, address) = (Lab::start().await, tempfile::tempdir().unwrap(), free());
    let folder = folder.path();
    make_certificate(folder, "own", VAULT).await;
    make_certificate(folder, "visitor", "anna").await;
    make_certificate(folder, "stranger", "mallory").await;
    let _server = openssl_server(folder, address).await;
    let _device = lab.device("pi", vec![passing("vault", address, VAULT)]).await;

    let port = lab.https().port();
    let (url, resolve) = (format!("https://{VAULT}:{port}/"), format!("{VAULT}:{port}:127.0.0.1"));
    let curl = async |further: &[&str]| {
        let usual = ["-sS", "--http1.1", "--cacert", "own.crt", "--resolve", &resolve, &url];
        run(folder, "curl", &[&usual[..], further].concat()).await
    };
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let served = curl(&[&["--cert", "visitor.crt", "--key", "visitor.key"], version].concat()).await;
        let page = String::from_utf8_lossy(&served.stdout);
        assert!(served.status.success() && page.contains("s_server"), "{version:?}: {served:?}");
        assert!(page.contains("CN=anna") || page.contains("CN = anna"), "the service knows its visitor: {page}");
    }
    for stranger in [&["--cert", "stranger.crt", "--key", "stranger.key"][..], &[]] {
        let refused = curl(stranger).await;
        assert!(!refused.status.success(), "{stranger:?}: {refused:?}");
    }
    let beside = run(
        folder,
        "curl",
        &[
            "-sS",
            "--cacert",
            "own.crt",
            "--resolve",
            &format!("other.gw.test:{port}:127.0.0.1"),
            &format!("https://other.gw.test:{port}/"),
        ],
    )
    .await;
    assert_eq!(beside.status.code(), Some(60), "another name is the gateway's, whose certificate is not this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_proves_its_name_to_an_authority_through_the_gateway() {
    // The service is a gateway of its own: it orders certificates and answers `acme-tls/1` by itself.
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let outer = Lab::start().await;
    let inner = Lab::of(shape(issuing(&[&pebble], &[Way::TlsAlpn], names.dns))).await;
    let page = web::web(|_| web::ok("from within")).await;
    let _within = inner.device("in", vec![service("page", &page.url())]).await;
    let _device = outer.device("pi", vec![passing("inner", inner.https(), "page-in.gw.test")]).await;
    let manners = Manners { http: 1, https: outer.https().port(), dns: names.dns, bad_nonces: 0, life: 90 * 86_400 };
    pebble.start(manners).await;
    until_held(inner.control(), "page-in.gw.test").await;
    assert!(
        held(inner.control(), "gw.test").is_none(),
        "that name leads to the gateway in front, which proves nothing"
    );

    let ask = async || {
        let socket = TcpStream::connect(outer.https()).await.unwrap();
        let secured = visitor::tls(socket, "page-in.gw.test", &["http/1.1"]).await.unwrap();
        let request = visitor::request("page-in.gw.test", "/").body(visitor::nothing()).unwrap();
        visitor::send_over(&mut visitor::http1_over(secured).await, request).await
    };
    assert_eq!(ask().await.text(), "from within");
    // It is held before it is shown.
    until("its certificate is an authority's", async || {
        ask().await.headers.get("strict-transport-security").is_some_and(|value| value == "max-age=60")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_is_ordered_for_a_name_that_is_passed_through() {
    let (names, mut pebble) = (Names::start().await, Pebble::new());
    let lab = Lab::of(shape(issuing(&[&pebble], &[Way::Http], names.dns))).await;
    let bound = lab.gateway.gateway.bound();
    let (http, https) = (bound.redirect[0].port(), bound.https[0].port());
    pebble.start(Manners { http, https, dns: names.dns, bad_nonces: 0, life: 90 * 86_400 }).await;
    let (own, page) = (TlsTarget::start(VAULT).await, web::web(|_| web::ok("here")).await);
    let services = vec![passing("vault", own.address(), VAULT), service("page", &page.url())];
    let _device = lab.device("pi", services).await;
    until_held(lab.control(), "page-pi.gw.test").await;
    let sets = |report: &doorward_control::CertificateReport| {
        report.sets.iter().map(|set| set.names.to_string()).collect::<Vec<_>>()
    };
    until_reported(lab.control(), "two names", |report| sets(report) == ["gw.test", "page-pi.gw.test"]).await;
    assert!(held(lab.control(), VAULT).is_none());
    // Port 80 sends its visitors to HTTPS, as all others.
    let sent = visitor::get(lab.gateway.gateway.bound().redirect[0], VAULT, "/x").await;
    assert_eq!(sent.status, 308);
    assert!(sent.headers["location"].to_str().unwrap().starts_with(&format!("https://{VAULT}")), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_that_covers_such_a_name_is_neither_shown_nor_spoken_for_it() {
    let (bind, mut pebble) = (Bind::start("", None).await, Pebble::new());
    let mut settings = issuing(&[&pebble], &[], bind.dns);
    settings.dns = Some(DnsSettings::Update(bind.updates(Bind::key())));
    let lab = Lab::of(shape(settings)).await;
    pebble.start(Manners { http: 1, https: 1, dns: bind.dns, bad_nonces: 0, life: 90 * 86_400 }).await;
    until_held(lab.control(), "gw.test,*.gw.test").await;
    let (own, page) = (TlsTarget::start(VAULT).await, web::web(|_| web::ok("here")).await);
    let services = vec![passing("vault", own.address(), VAULT), service("page", &page.url())];
    let device = lab.device("pi", services).await;
    let secured =
        async |host: &str| visitor::tls(TcpStream::connect(lab.https()).await.unwrap(), host, &["http/1.1"]).await;
    let shown = secured(VAULT).await.unwrap();
    assert!(shown.get_ref().1.peer_certificates().unwrap()[0] == own.certificate);

    let mut over_another = visitor::http1_over(secured("page-pi.gw.test").await.unwrap()).await;
    let mut ask = async |host: &str| {
        let request = visitor::request(host, "/").body(visitor::nothing()).unwrap();
        let answer = visitor::send_over(&mut over_another, request).await;
        (answer.status.as_u16(), answer.headers.contains_key("strict-transport-security"))
    };
    assert_eq!(ask("page-pi.gw.test").await, (200, true));
    assert_eq!(ask(VAULT).await, (421, false), "how long to insist on HTTPS there is not for the gateway to say");
    // Not even when nobody is there: visitors would send their secrets to whoever answers.
    device.stop().await;
    assert!(secured(VAULT).await.is_err());
}
