//! The task against a real name server (BIND), and against a provider of our own that answers as told.

mod named;
mod provider;

use crate::address::Addresses;
use crate::https::{Trust, Url};
use crate::rfc2136::TsigHash;
use crate::settings::{Dyndns2Settings, Method, Rfc2136Settings, Settings, TemplateSettings, Way};
use crate::task::{Report, Updater};
use doorward_core::names::HostName;
use doorward_core::secret::Secret;
use named::Named;
use provider::Provider;
use std::net::Ipv4Addr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn name() -> HostName {
    HostName::parse("home.example.org").unwrap()
}

fn both(last: u8) -> Addresses {
    let v4 = Ipv4Addr::new(198, 51, 100, last);
    Addresses::public(Some(v4), Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into()))
}

fn settings(folder: &TempDir, way: Way) -> Settings {
    Settings { name: name(), way, memory: folder.path().join("told.json") }
}

async fn until(updater: &Updater, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
    let mut reports = updater.reports();
    let waited = timeout(PATIENCE, reports.wait_for(|report| is_so(report))).await;
    waited.unwrap_or_else(|_| panic!("{what}: {:?}", updater.reports().borrow().clone())).unwrap().clone()
}

fn updates(server: &Named, key: &[u8], zone: &str) -> Way {
    Way::Rfc2136(Rfc2136Settings {
        server: server.address(),
        zone: HostName::parse(zone).unwrap(),
        key_name: HostName::parse("home").unwrap(),
        algorithm: TsigHash::Sha256,
        key: Secret::new(key.to_vec()),
        ttl_seconds: 60,
    })
}

#[tokio::test]
async fn a_name_server_takes_both_addresses_and_forgets_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let server = Named::start().await;
    let updater = Updater::start(settings(&folder, updates(&server, named::KEY, "example.org"))).await.unwrap();
    assert_eq!(server.look_up("home.example.org").await, "192.0.2.9 ", "what was there before");
    updater.point(both(7));
    until(&updater, "it is told", |report| report.told == both(7)).await;
    assert_eq!(server.look_up("home.example.org").await, "198.51.100.7 2001:db8::7");
    drop(updater);
    // A later process, with another address.
    let updater = Updater::start(settings(&folder, updates(&server, named::KEY, "example.org"))).await.unwrap();
    assert_eq!(updater.reports().borrow().told, both(7));
    assert!(updater.reports().borrow().told_at.is_some(), "also when it was told");
    updater.point(both(8));
    until(&updater, "it is told", |report| report.told == both(8)).await;
    assert_eq!(server.look_up("home.example.org").await, "198.51.100.8 2001:db8::8");
}

#[tokio::test]
async fn a_name_server_that_refuses_is_asked_once() {
    let server = Named::start().await;
    for (way, expected) in [
        (updates(&server, b"another key", "example.org"), "refuses the update"),
        (updates(&server, named::KEY, "example.net"), "is not in the zone"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let updater = Updater::start(settings(&folder, way)).await.unwrap();
        updater.point(both(7));
        let report = until(&updater, "it is refused", |report| report.is_stopped).await;
        assert!(report.trouble.as_ref().is_some_and(|why| why.contains(expected)), "{report:?}");
    }
    assert_eq!(server.look_up("home.example.org").await, "192.0.2.9 ");
}

fn dyndns2(provider: &Provider, password: &str) -> Way {
    Way::Dyndns2(Dyndns2Settings {
        url: Url::parse(&provider.url("/nic/update")).unwrap(),
        user: "user".to_owned(),
        password: Secret::new(password.to_owned()),
        trust: Trust::File(provider.certificate()),
    })
}

#[tokio::test]
async fn dyndns2_is_told_once_for_each_change_whatever_happens_to_us() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(200, "good 198.51.100.7").await;
    for _restart in 0..3 {
        let updater = Updater::start(settings(&folder, dyndns2(&provider, "password"))).await.unwrap();
        updater.point(both(7));
        until(&updater, "it is told", |report| report.told == both(7)).await;
    }
    let heard = provider.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let [line, authorization, ..] = heard[0].as_slice() else { panic!("a request") };
    assert_eq!(line, "GET /nic/update?hostname=home.example.org&myip=198.51.100.7&myipv6=2001%3Adb8%3A%3A7 HTTP/1.1");
    assert_eq!(authorization, "Basic dXNlcjpwYXNzd29yZA==");
}

#[tokio::test]
async fn whoever_is_shut_out_does_not_knock_again_until_the_settings_change() {
    for (status, answer) in [(200, "badauth"), (401, "badauth"), (200, "abuse"), (403, ""), (302, "")] {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::start(status, answer).await;
        for last in 1..4 {
            let updater = Updater::start(settings(&folder, dyndns2(&provider, "wrong"))).await.unwrap();
            updater.point(both(last));
            until(&updater, "it is refused", |report| report.is_stopped).await;
        }
        assert_eq!(provider.heard().len(), 1, "{status} {answer}");
        let updater = Updater::start(settings(&folder, dyndns2(&provider, "right"))).await.unwrap();
        assert!(!updater.reports().borrow().is_stopped);
        updater.point(both(7));
        until(&updater, "it is refused", |report| report.is_stopped).await;
        assert_eq!(provider.heard().len(), 2, "{status} {answer}");
    }
}

#[tokio::test]
async fn a_provider_with_a_fault_is_waited_for() {
    for (status, answer) in [(200, "911"), (200, "dnserr"), (503, ""), (200, "<html>")] {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::start(status, answer).await;
        let updater = Updater::start(settings(&folder, dyndns2(&provider, "password"))).await.unwrap();
        updater.point(both(7));
        let report = until(&updater, "it fails", |report| report.trouble.is_some()).await;
        assert_eq!((report.is_stopped, report.told), (false, Addresses::default()), "{status} {answer}");
        assert_eq!(provider.heard().len(), 1);
    }
}

#[tokio::test]
async fn a_template_tells_what_its_owner_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(200, r#"{"success":true}"#).await;
    let template = TemplateSettings::new(
        &provider.url("/zones/z/dns_records/r?n={name}&t={secret}"),
        Method::Patch,
        Secret::new("to&ken".to_owned()),
        Trust::File(provider.certificate()),
    );
    let template = template.unwrap().with_header("Authorization", "Bearer {secret}").unwrap();
    let template = template.with_body(r#"{"content":"{ipv4}"}"#).unwrap().whose_answer_contains("\"success\":true");
    let way = settings(&folder, Way::Template(template));
    let updater = Updater::start(way.clone()).await.unwrap();
    updater.point(both(7));
    until(&updater, "it is told", |report| report.told.v4() == both(7).v4()).await;
    let expected = [
        "PATCH /zones/z/dns_records/r?n=home.example.org&t=to%26ken HTTP/1.1",
        "Bearer to&ken",
        r#"{"content":"198.51.100.7"}"#,
    ];
    assert_eq!(provider.heard(), [expected.map(str::to_owned).to_vec()]);
    assert_eq!(updater.reports().borrow().told.v6(), None, "it says nothing about IPv6");

    let refusing = Provider::start(200, r#"{"success":false}"#).await;
    let Way::Template(mut template) = way.way else { panic!("it is a template") };
    template.url = refusing.url("/");
    template.trust = Trust::File(refusing.certificate());
    let updater = Updater::start(settings(&folder, Way::Template(template))).await.unwrap();
    updater.point(both(7));
    let report = until(&updater, "it is refused", |report| report.is_stopped).await;
    assert!(report.trouble.is_some_and(|why| why.contains("does not contain")));
}

#[tokio::test]
async fn a_provider_whose_certificate_is_not_believed_hears_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Provider::start(200, "good").await;
    let other = Provider::start(200, "good").await;
    let Way::Dyndns2(mut way) = dyndns2(&provider, "password") else { panic!("it is dyndns2") };
    way.trust = Trust::File(other.certificate());
    let updater = Updater::start(settings(&folder, Way::Dyndns2(way))).await.unwrap();
    updater.point(both(7));
    let report = until(&updater, "it fails", |report| report.trouble.is_some()).await;
    assert_eq!((provider.heard().len(), report.is_stopped), (0, false));
}
