//! New settings for a gateway that runs: they count at once, and disturb nobody whom they do not concern.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::serve::settings::{Certificate, LimitsFile};
use doorward_core::names::HostName;
use doorward_lab::visitor::{self, Ending, get, http1, knock, request, send_over};
use doorward_lab::web::{Answer, ENDLESS, ok, web};
use doorward_lab::{LIMIT, Lab, service};
use http_body_util::BodyExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// PEM files of a certificate made for this test, which is returned.
fn write_certificate(directory: &Path) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let made = rcgen::CertificateParams::new(vec!["gw.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(directory.join("chain.pem"), made.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    made.der().to_vec()
}

async fn shown(lab: &Lab) -> Vec<u8> {
    let socket = TcpStream::connect(lab.https()).await.unwrap();
    let stream = visitor::tls(socket, "gw.test", &[]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_from_the_next_handshake_on_and_an_unusable_one_never() {
    let mut lab = Lab::start().await;
    let own = shown(&lab).await;
    lab.reload(|_| {}).await.unwrap();
    assert_eq!(shown(&lab).await, own, "one of our own making stays: browsers were told to trust it");

    let place = lab.directory.path().to_owned();
    let files = || Some(Certificate { chain: place.join("chain.pem"), key: place.join("key.pem") });
    let first = write_certificate(&place);
    lab.reload(|file| file.certificate = files()).await.unwrap();
    assert_eq!(shown(&lab).await, first);
    let old_key = std::fs::read(place.join("key.pem")).unwrap();
    let second = write_certificate(&place);
    lab.reload(|file| file.certificate = files()).await.unwrap();
    assert_eq!(shown(&lab).await, second);

    std::fs::write(place.join("key.pem"), old_key).unwrap();
    let error = lab.reload(|file| file.certificate = files()).await.unwrap_err().to_string();
    assert!(error.contains("do not belong together"), "{error}");
    std::fs::write(place.join("key.pem"), "nothing").unwrap();
    let error = lab.reload(|file| file.certificate = files()).await.unwrap_err().to_string();
    assert!(error.contains("key.pem: ") && error.contains("PEM"), "{error}");
    assert_eq!(shown(&lab).await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_a_domain_that_is_gone_is_cut_and_the_new_name_serves() {
    let mut lab = Lab::start().await;
    let page = web(|request| match request.path() {
        "/endless" => Answer::Endless(ENDLESS.to_vec()),
        _ => ok("page"),
    })
    .await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut visitor = http1(lab.http()).await;
    let request = request("page-pi.gw.test", "/endless").body(visitor::nothing()).unwrap();
    let mut open = visitor.send_request(request).await.unwrap().into_body();
    assert!(timeout(LIMIT, open.frame()).await.unwrap().unwrap().is_ok());

    lab.reload(|file| file.limits = LimitsFile::default()).await.unwrap();
    assert!(timeout(LIMIT, open.frame()).await.unwrap().unwrap().is_ok(), "what it does not concern goes on");
    let changed = Instant::now();
    lab.reload(|file| file.domain = Some(HostName::parse("new.test").unwrap())).await.unwrap();
    while let Some(Ok(_)) = timeout(LIMIT, open.frame()).await.unwrap() {}
    println!("cut {:?} after the change", changed.elapsed());
    assert!(changed.elapsed() < Duration::from_secs(1));
    assert_eq!(get(lab.http(), "page-pi.gw.test", "/").await.status.as_u16(), 404);
    assert_eq!(get(lab.http(), "page-pi.new.test", "/").await.text(), "page");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_for_those_who_come_from_now_on() {
    let mut lab = Lab::start().await;
    let page = web(|_| ok("page")).await;
    let _device = lab.device("pi", vec![service("page", &page.url())]).await;
    let mut before = http1(lab.http()).await;
    let ask = || request("page-pi.gw.test", "/").body(visitor::nothing()).unwrap();
    assert_eq!(send_over(&mut before, ask()).await.text(), "page");
    let one = LimitsFile { connections_per_source: Some(1), ..LimitsFile::default() };
    lab.reload(|file| file.limits = one).await.unwrap();
    assert_ne!(knock(lab.http()).await, Ending::StillOpen);
    assert_eq!(send_over(&mut before, ask()).await.text(), "page", "who was there stays");
    lab.reload(|file| file.limits = LimitsFile::default()).await.unwrap();
    assert_eq!(get(lab.http(), "page-pi.gw.test", "/").await.text(), "page");
}
