//! The gateway's own authority: what it signs is trusted where its root was installed, for as long as the root lives.

#![expect(clippy::unwrap_used, reason = "what goes wrong here ends the test")]

use doorward::serve::settings::Certificate;
use doorward_core::names::HostName;
use doorward_core::service::EntranceWish;
use doorward_gateway::{ROOT_PATH, Way};
use doorward_lab::authority::{Names, issuing};
use doorward_lab::{Lab, Shape, service, until, visitor, web};
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;
use std::process::Command;
use tokio::net::TcpStream;

const NAMES: [&str; 4] = ["gw.test", "any.gw.test", "x.any.gw.test", "127.0.0.1"];

fn root(lab: &Lab) -> Vec<u8> {
    lab.control().own_authority().borrow().as_ref().expect("an authority is in use").certificate.clone()
}

async fn is_trusted(lab: &Lab, root: &[u8], host: &str) -> bool {
    let socket = TcpStream::connect(lab.https()).await.unwrap();
    visitor::tls_with_root(socket, host, root).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_installed_the_root_is_warned_of_no_name_after_restarts_either() {
    let lab = Lab::start().await;
    let installed = root(&lab);
    for name in NAMES {
        assert!(is_trusted(&lab, &installed, name).await, "{name}");
    }
    assert!(!is_trusted(&lab, &installed, "elsewhere.test").await);
    let lab = lab.restart_gateway().await;
    for name in NAMES {
        assert!(is_trusted(&lab, &installed, name).await, "{name} after a restart");
    }
    let other = Lab::start().await;
    assert!(!is_trusted(&other, &installed, "gw.test").await, "two gateways have one root");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_takes_the_root_that_it_fetched_over_plain_http() {
    // With a port 80 as authorities and phones find it.
    let names = Names::start().await;
    let issuing = issuing(&[], &[Way::Http], names.dns);
    let lab = Lab::of(Shape { issuing: Some(issuing), ..Shape::default() }).await;
    let (port_80, folder) = (lab.gateway.gateway.bound().redirect[0], tempfile::tempdir().unwrap());
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.current_dir(folder.path()).args(["-sS", "--max-time", "10", "-o", "got"]).args(arguments);
        tokio::task::spawn_blocking(move || curl.output().unwrap())
    };
    let pem = format!("http://{port_80}/.well-known/doorward/ca.pem");
    let fetched = curl(&[&pem, "-f"]).await.unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    std::fs::rename(folder.path().join("got"), folder.path().join("root.pem")).unwrap();

    let https = lab.https().port();
    for host in ["gw.test", "any.gw.test"] {
        let url = format!("https://{host}:{https}/");
        let resolve = format!("{host}:{https}:127.0.0.1");
        let trusting = curl(&[&url, "--resolve", &resolve, "--cacert", "root.pem"]).await.unwrap();
        assert!(trusting.status.success(), "{host}: {trusting:?}");
        // 60: nobody it knows signed that (curl(1)).
        let strange = curl(&[&url, "--resolve", &resolve]).await.unwrap();
        assert_eq!(strange.status.code(), Some(60), "{host}: {strange:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_can_be_fetched_while_it_is_in_use_and_no_longer() {
    let mut lab = Lab::start().await;
    let fetch = async |lab: &Lab| visitor::get(lab.http(), "whatever.net", ROOT_PATH).await;
    let der = fetch(&lab).await;
    assert_eq!((der.status.as_u16(), der.body.to_vec()), (200, root(&lab)));
    assert_eq!(der.headers["content-type"], "application/x-x509-ca-cert");
    let post = visitor::request("gw.test", ROOT_PATH).method("POST").body(visitor::nothing()).unwrap();
    assert_eq!(visitor::send(lab.http(), post).await.status, 404);

    let files = files(lab.directory.path());
    let installed = root(&lab);
    lab.reload(|file| file.certificate = Some(files)).await.unwrap();
    until("it is in use no more", async || fetch(&lab).await.status == 404).await;
    assert!(!is_trusted(&lab, &installed, "gw.test").await);
    lab.reload(|file| file.certificate = None).await.unwrap();
    until("it is in use again", async || is_trusted(&lab, &installed, "gw.test").await).await;
}

fn files(folder: &Path) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["gw.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let certificate = Certificate { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    std::fs::write(&certificate.chain, own.pem()).unwrap();
    std::fs::write(&certificate.key, key.serialize_pem()).unwrap();
    certificate
}

#[tokio::test(flavor = "multi_thread")]
async fn another_domain_has_another_root_and_the_first_is_there_again_when_it_is_back() {
    let mut lab = Lab::start().await;
    let first = root(&lab);
    lab.reload(|file| file.domain = Some(HostName::parse("other.test").unwrap())).await.unwrap();
    until("it has another root", async || root(&lab) != first).await;
    let second = root(&lab);
    assert!(is_trusted(&lab, &second, "a.other.test").await && !is_trusted(&lab, &second, "gw.test").await);
    lab.reload(|_| {}).await.unwrap();
    until("the first root is there again", async || root(&lab) == first).await;
    assert!(is_trusted(&lab, &first, "a.gw.test").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_the_owner_drops_is_followed_by_another_and_signs_no_more() {
    let lab = Lab::start().await;
    let dropped = root(&lab);
    let made = lab.control().renew_own_authority(jiff::Timestamp::now()).await.unwrap();
    assert_ne!(made.certificate, dropped);
    assert!(is_trusted(&lab, &made.certificate, "gw.test").await);
    assert!(!is_trusted(&lab, &dropped, "gw.test").await);
    let lab = lab.restart_gateway().await;
    assert_eq!(root(&lab), made.certificate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_path_is_found_by_the_bare_address() {
    let lab = Lab::start().await;
    let target = web::web(|_| web::ok("here")).await;
    let mut service = service("web", &target.url());
    service.offer.entrances.push(serde_json::from_str::<EntranceWish>(r#"{"path": {"prefix": "/p/"}}"#).unwrap());
    let _device = lab.device("printer1", vec![service]).await;
    let socket = TcpStream::connect(lab.https()).await.unwrap();
    let secured = visitor::tls_with_root(socket, "127.0.0.1", &root(&lab)).await.unwrap();
    let mut connection = visitor::http1_over(secured).await;
    for (path, status) in [("/p/x", 200), ("/elsewhere", 404)] {
        let request = visitor::request("127.0.0.1", path).body(visitor::nothing()).unwrap();
        assert_eq!(visitor::send_over(&mut connection, request).await.status, status, "{path}");
    }
}
