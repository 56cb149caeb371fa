//! Client certificates, shown by curl: asked for where a policy takes them, and cut with their login.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::{ClientCertificateRequest, NewCertificate, NewPerson};
use doorward_core::access::PolicyDocument;
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_lab::visitor::{self, request2};
use doorward_lab::web::{Answer, ENDLESS, WebTarget, ok, web};
use doorward_lab::{LIMIT, Lab, LabDevice, Shape, people, service, until};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE: &str = "page-pi.gw.test";
const PLAIN: &str = "plain-pi.gw.test";
const SOON: Duration = Duration::from_secs(1);

/// Anna's: `page` takes certificates, `plain` does not.
struct House {
    lab: Lab,
    page: WebTarget,
    anna: Arc<Person>,
    _device: LabDevice,
}

impl House {
    async fn build() -> Self {
        let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
        let page = web(|request| match request.path() {
            "/endless" => Answer::Endless(ENDLESS.to_vec()),
            path => ok(path),
        })
        .await;
        let name = Label::parse("anna").unwrap();
        let anna = NewPerson { name, title: None, role: Role::Guest, ends_at: None };
        let anna = lab.control().add_person(anna, Timestamp::now()).await.unwrap();
        let with = |name: &str, certificates: bool| {
            let mut service = service(name, &page.url());
            service.offer.access = PolicyDocument { certificates, ..people(&["anna"]) };
            service
        };
        let device = lab.device("pi", vec![with("page", true), with("plain", false)]).await;
        Self { lab, page, anna, _device: device }
    }

    async fn certificate(&self, title: &str) -> (NewCertificate, Shown) {
        let request = ClientCertificateRequest {
            account: self.anna.id,
            title: title.to_owned(),
            length: SignedDuration::from_hours(1),
            source: None,
        };
        let made = self.lab.control().make_certificate(request, Timestamp::now()).await.unwrap();
        let file = self.lab.directory.path().join(format!("{title}.p12"));
        std::fs::write(&file, made.archive.expose()).unwrap();
        let shown = Shown { file, password: made.password.expose().clone() };
        (made, shown)
    }

    fn curl(&self, shown: Option<&Shown>, host: &str, path: &str) -> Command {
        let port = self.lab.https().port();
        let mut curl = Command::new("curl");
        curl.args(["-sSkv", "--max-time", "20", "-w", "%{http_code}", "--resolve"]);
        curl.arg(format!("{host}:{port}:127.0.0.1"));
        if let Some(Shown { file, password }) = shown {
            curl.args(["--cert-type", "P12", "--cert"]).arg(format!("{}:{password}", file.display()));
        }
        curl.arg(format!("https://{host}:{port}{path}"));
        curl
    }

    async fn got(&self, shown: Option<&Shown>, host: &str, path: &str) -> Got {
        let mut curl = self.curl(shown, host, path);
        let Output { stdout, stderr, .. } = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        Got { answer: String::from_utf8_lossy(&stdout).into_owned(), was_asked: said.contains("Request CERT"), said }
    }
}

struct Shown {
    file: PathBuf,
    password: String,
}

struct Got {
    /// With the status behind it.
    answer: String,
    was_asked: bool,
    said: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_comes_in_where_it_is_taken_and_is_asked_for_nowhere_else() {
    let house = House::build().await;
    let (_, phone) = house.certificate("phone").await;
    let got = house.got(Some(&phone), PAGE, "/x").await;
    assert_eq!((got.answer.as_str(), got.was_asked), ("/x200", true), "{}", got.said);
    for (shown, host, was_asked) in [(None, PAGE, true), (Some(&phone), PLAIN, false), (None, PLAIN, false)] {
        let got = house.got(shown, host, "/x").await;
        assert!(got.answer.ends_with("401"), "{host}: {} {}", got.answer, got.said);
        assert_eq!(got.was_asked, was_asked, "{host}: {}", got.said);
    }
    assert!(!house.got(None, "unknown-pi.gw.test", "/x").await.was_asked);
    // Whoever has a browser and no certificate signs in as everywhere.
    let two = visitor::http2(house.lab.https(), PAGE).await;
    let browser = request2(PAGE, "/x").header("accept", "text/html").body(visitor::nothing()).unwrap();
    assert_eq!(visitor::send2(&two, browser).await.status, StatusCode::SEE_OTHER);
    // A connection that was made for another host was not asked.
    let two = visitor::http2(house.lab.https(), PLAIN).await;
    let other = request2(PAGE, "/x").body(visitor::nothing()).unwrap();
    assert_eq!(visitor::send2(&two, other).await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(house.page.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_made_here_is_nobodys() {
    let house = House::build().await;
    let (made, phone) = house.certificate("phone").await;
    // The same names, issued for the same person, by the same program, elsewhere.
    let elsewhere = House::build().await;
    let (_, forged) = elsewhere.certificate("phone").await;
    assert!(house.got(Some(&forged), PAGE, "/x").await.answer.ends_with("401"));
    assert_eq!(house.got(Some(&phone), PAGE, "/x").await.answer, "/x200");
    let open = PolicyDocument { certificates: false, ..people(&["anna"]) };
    house.lab.set_access("pi", "page", open).await;
    assert!(house.got(Some(&phone), PAGE, "/x").await.answer.ends_with("401"), "the policy takes none any more");
    assert!(house.lab.control().client_certificates(Some(house.anna.id), Timestamp::now())[0].login.id == made.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_is_refused_and_cut_and_another_goes_on() {
    let house = House::build().await;
    let ((made, phone), (_, tablet)) = (house.certificate("phone").await, house.certificate("tablet").await);
    let (mut cut, mut kept) = (endless(&house, &phone).await, endless(&house, &tablet).await);
    let since = Instant::now();
    house.lab.control().end_login(Some(house.anna.id), made.id, Timestamp::now()).await.unwrap();
    until("curl sees the cut", async || cut.try_wait().unwrap().is_some()).await;
    println!("cut after {:?}", since.elapsed());
    assert!(since.elapsed() < SOON);
    assert!(!cut.wait().unwrap().success(), "it was broken off");
    assert!(kept.try_wait().unwrap().is_none(), "another certificate's goes on");
    kept.kill().unwrap();
    kept.wait().unwrap();
    assert!(house.got(Some(&phone), PAGE, "/x").await.answer.ends_with("401"));
    assert_eq!(house.got(Some(&tablet), PAGE, "/x").await.answer, "/x200");
}

/// A download under way.
async fn endless(house: &House, shown: &Shown) -> Child {
    let mut curl = house.curl(Some(shown), PAGE, "/endless");
    let started = tokio::task::spawn_blocking(move || {
        let mut child = curl.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        // Read on, so that the download goes on.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        child
    });
    tokio::time::timeout(LIMIT, started).await.unwrap().unwrap()
}
