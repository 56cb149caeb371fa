//! What the gateway's settings grant may change while everything runs.

use super::support::*;
use crate::{Control, News, Registration, SiteSettings};
use doorward_core::service::Offer;

fn with_ports(tcp_ports: std::ops::RangeInclusive<u16>) -> SiteSettings {
    SiteSettings { tcp_ports, ..site_settings() }
}

fn reach(control: &Control, registration: &Registration) -> Vec<String> {
    let record = control.snapshot().service_record(registration.service.unwrap()).unwrap();
    control.reach(&record).iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_port_that_is_granted_no_more_leads_nowhere_and_stays_reserved() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    let inside = site.offer(&one, tcp("ssh", 20001)).await;
    let outside = site.offer(&two, tcp("ssh", 20008)).await;
    let mut changes = site.control.changes();

    site.control.resettle(with_ports(20000..=20004), noon()).await.unwrap();
    let snapshot = site.control.snapshot();
    assert_eq!(snapshot.tcp_ports().collect::<Vec<_>>(), [20001]);
    assert!(snapshot.tcp(20008).is_none());
    assert_eq!((reach(&site.control, &inside).len(), reach(&site.control, &outside).len()), (1, 0));
    let Some(News::Change(change)) = next_news(&mut changes).await else { panic!("no change was told") };
    assert_eq!(change.services, [outside.service.unwrap()], "only it is decided again");

    let taken = site.register(&one, vec![tcp("ssh", 20001), tcp("other", 20008)]).await;
    assert!(taken[1].problems[0].contains("belongs to two/ssh"), "{taken:?}");
    site.control.resettle(site_settings(), noon()).await.unwrap();
    assert_eq!(reach(&site.control, &outside), ["example.org:20008"]);
}

#[tokio::test]
async fn whoever_asks_again_for_a_port_granted_no_more_is_told_and_one_for_any_gets_another() {
    let site = Site::open().await;
    let device = site.join(1, "one").await;
    let both = || vec![tcp("ssh", 20008), tcp("any", 0)];
    let given = site.register(&device, both()).await;
    assert_eq!(reached_by(&given[1]), ["example.org:20000"]);
    site.control.resettle(with_ports(20003..=20004), noon()).await.unwrap();
    let again = site.register(&device, both()).await;
    assert!(again[0].problems[0].contains("not among those you may use (20003-20004)"), "{again:?}");
    assert_eq!((reached_by(&again[0]).len(), reached_by(&again[1])), (0, vec!["example.org:20003".to_owned()]));
}

#[tokio::test]
async fn a_new_domain_gives_new_names_at_once_and_the_old_ones_lead_nowhere() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let main = Offer { main: true, ..http("octoprint") };
    let registered = site.offer(&device, main.clone()).await;
    let elsewhere = SiteSettings { domain: Some(host("example.net")), ..site_settings() };
    site.control.resettle(elsewhere, noon()).await.unwrap();
    let snapshot = site.control.snapshot();
    assert!(snapshot.web(&host("zumi01.example.org"), "/").is_none());
    assert!(snapshot.web(&host("zumi01.example.net"), "/").is_some());
    assert!(reach(&site.control, &registered).iter().all(|url| url.contains("example.net")));
    assert_eq!(site.register(&device, vec![main]).await[0].problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_name_outside_the_domains_granted_now_is_refused_with_those_that_are() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let wish = || on_host("cam", "cam.lab.test");
    site.offer(&device, wish()).await;
    let narrower = SiteSettings { suffixes: Vec::new(), ..site_settings() };
    site.control.resettle(narrower, noon()).await.unwrap();
    assert!(site.control.snapshot().web(&host("cam.lab.test"), "/").is_none());
    let again = site.register(&device, vec![wish()]).await;
    assert!(again[0].problems[0].contains("not under a domain that you may use (example.org)"), "{again:?}");
}

#[tokio::test]
async fn settings_that_say_the_same_change_nothing() {
    let site = Site::open().await;
    let before = site.control.snapshot().generation();
    site.control.resettle(site_settings(), noon()).await.unwrap();
    assert_eq!(site.control.snapshot().generation(), before);
}
