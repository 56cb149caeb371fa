//! Names whose TLS is the service's own.

use super::support::*;
use crate::{News, Reservation, SiteSettings};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::service::{EntranceWish, Offer, ServiceKind};

fn passing(name: &str, on: &str) -> Offer {
    Offer { entrances: vec![EntranceWish::Tls(host(on))], ..offer(name, ServiceKind::Tcp) }
}

#[tokio::test]
async fn a_name_for_tls_is_one_services_alone_until_it_is_released() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    let name = || host("vault.lab.test");
    let registered = site.offer(&one, passing("vault", "VAULT.lab.test.")).await;
    assert_eq!(reached_by(&registered), ["https://vault.lab.test/"]);
    let snapshot = site.control.snapshot();
    assert_eq!(snapshot.tls(&name()).unwrap().path(), "one/vault");
    assert!(snapshot.web(&name(), "/").is_none(), "the gateway reads no request for it");
    assert!(!snapshot.serves_host(&name()) && snapshot.routed_hosts().next().is_none(), "nor orders a certificate");
    assert!(!snapshot.passes_through(&host("x.vault.lab.test")) && snapshot.tls(&host("lab.test")).is_none());

    let path = Offer { entrances: vec![path_on("vault.lab.test", "/x/")], ..http("path") };
    let others = || vec![passing("a", "vault.lab.test"), on_host("b", "vault.lab.test"), path.clone()];
    let refused = async |site: &Site| {
        let refused = site.register(&two, others()).await;
        assert!(refused.iter().all(|r| r.problems[0].contains("vault.lab.test belongs to one/vault")), "{refused:?}");
    };
    refused(&site).await;
    site.register(&one, vec![offer("vault", ServiceKind::Tcp)]).await;
    let site = site.reopen().await;
    let snapshot = site.control.snapshot();
    assert!(snapshot.tls(&name()).is_none(), "not wished for any more, it leads nowhere");
    assert!(snapshot.passes_through(&name()), "but the gateway does not speak for it");
    refused(&site).await;
    site.control.release(Reservation::Host { host: name(), prefix: None }, noon()).await.unwrap();
    assert!(!site.control.snapshot().passes_through(&name()));
    site.offer(&two, on_host("b", "vault.lab.test")).await;
    assert!(site.control.snapshot().web(&name(), "/").is_some());
}

fn path_on(on: &str, prefix: &str) -> EntranceWish {
    let prefix = doorward_core::names::PathPrefix::parse(prefix).unwrap();
    EntranceWish::Path(doorward_core::service::PathWish { host: Some(host(on)), prefix, strip: false })
}

#[tokio::test]
async fn a_name_that_somebody_needs_the_gateway_for_is_not_passed_through() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    let path = Offer { entrances: vec![path_on("shared.lab.test", "/x/")], ..http("path") };
    site.register(&one, vec![on_host("web", "web.lab.test"), path]).await;
    let table = [
        (passing("a", "example.org"), "example.org is the gateway's own name"),
        (passing("a", "gw.lab.test"), "gw.lab.test is the gateway's own name"),
        (passing("a", "portal.lab.test"), "the gateway's own name"),
        (passing("a", "bank.test"), "not under a domain that you may use"),
        (passing("a", "web.lab.test"), "web.lab.test belongs to one/web"),
        (passing("a", "web-one.example.org"), "web-one.example.org belongs to one/web"),
        (passing("a", "shared.lab.test"), "shared.lab.test/x/ belongs to one/path"),
        (Offer { kind: ServiceKind::Http, ..passing("b", "b.lab.test") }, "offer it with kind = \"tcp\""),
        (Offer { kind: ServiceKind::Udp, ..passing("c", "c.lab.test") }, "not \"udp\""),
    ];
    for (offer, problem) in table {
        let registration = site.register(&two, vec![offer]).await.remove(0);
        assert_eq!(registration.problems.len(), 1, "{registration:?}");
        assert!(registration.problems[0].contains(problem), "{registration:?}");
    }
    let behind = SiteSettings { tls_port: None, ..site_settings() };
    site.control.resettle(behind, noon()).await.unwrap();
    let refused = site.register(&two, vec![passing("a", "a.lab.test")]).await.remove(0);
    assert!(refused.problems[0].contains("no HTTPS port of its own"), "{refused:?}");
}

#[tokio::test]
async fn a_name_that_agents_dial_from_now_on_is_the_gateways_again() {
    let site = Site::open().await;
    let device = site.join(1, "one").await;
    let registered = site.offer(&device, passing("vault", "vault.lab.test")).await;
    let mut changes = site.control.changes();
    let dialled = SiteSettings { link_hosts: vec![host("vault.lab.test")], ..site_settings() };
    site.control.resettle(dialled, noon()).await.unwrap();
    let Some(News::Change(change)) = next_news(&mut changes).await else { panic!("no change was told") };
    assert_eq!(change.services, [registered.service.unwrap()], "what runs there is cut");
    assert!(!site.control.snapshot().passes_through(&host("vault.lab.test")));
    site.control.resettle(site_settings(), noon()).await.unwrap();
    assert!(site.control.snapshot().tls(&host("vault.lab.test")).is_some());
}

#[tokio::test]
async fn a_service_may_take_its_tls_over_from_the_gateway_and_give_it_back() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let name = || host("vault-pi.example.org");
    let leads = |site: &Site| {
        let snapshot = site.control.snapshot();
        (snapshot.web(&name(), "/").is_some(), snapshot.tls(&name()).is_some())
    };
    for _ in 0..2 {
        site.offer(&device, http("vault")).await;
        assert_eq!(leads(&site), (true, false));
        site.offer(&device, passing("vault", "vault-pi.example.org")).await;
        assert_eq!(leads(&site), (false, true));
        site.offer(&device, offer("vault", ServiceKind::Tcp)).await;
        assert_eq!(leads(&site), (false, false), "a name that was given for the web is nobody's TLS unasked");
    }
    site.offer(&device, http("vault")).await;
    site.offer(&device, offer("vault", ServiceKind::Tcp)).await;
    assert_eq!(leads(&site), (false, false));
}

#[tokio::test]
async fn a_password_that_cannot_be_asked_for_is_said() {
    let site = Site::open().await;
    let device = site.join(1, "one").await;
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned();
    let access = PolicyDocument {
        who: WhoDocument::Password,
        passwords: [("anna".to_owned(), hash)].into(),
        ..PolicyDocument::default()
    };
    let registered = site.offer(&device, Offer { access, ..passing("vault", "vault.lab.test") }).await;
    assert!(registered.notes[0].contains("asks for no password, so nobody is admitted"), "{registered:?}");
}

#[tokio::test]
async fn a_store_from_before_opens_with_its_names_as_they_were() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let first = site.register(&device, vec![http("a"), on_host("b", "b.lab.test"), tcp("c", 0)]).await;
    site.control.close().await;
    super::before::turn_back(&site.data(), 3).await;
    let site = site.reopen().await;
    assert!(site.control.snapshot().web(&host("b.lab.test"), "/").is_some());
    let again = site.register(&device, vec![http("a"), on_host("b", "b.lab.test"), tcp("c", 0)]).await;
    assert_eq!(again, first);
    let audit = site.control.verify_audit().await.unwrap();
    assert!(audit.broken.is_none() && audit.lines > 2, "{audit:?}");
}
