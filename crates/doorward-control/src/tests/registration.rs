use super::support::*;
use crate::{AccessHome, EditError, News, Protocol, Registration, Reservation};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::prepare::PrepareOffer;
use doorward_core::service::{EntranceWish, Offer, ServiceKind, Standing};
use std::collections::BTreeSet;

#[tokio::test]
async fn names_and_ports_survive_withdrawal_and_reopening() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "zumi01").await, site.join(2, "zumi02").await);
    let offers = || vec![Offer { main: true, ..http("jupyter") }, http("cam"), tcp("ssh", 0)];
    let first = site.register(&one, offers()).await;
    let reached: Vec<_> = first.iter().flat_map(reached_by).collect();
    assert_eq!(reached, ["https://zumi01.example.org/", "https://cam-zumi01.example.org/", "example.org:20000"]);
    site.register(&one, vec![]).await;
    assert!(site.control.snapshot().tcp(20000).is_none(), "nothing listens for a withdrawn service");
    let (withdrawn, _) = site.control.snapshot().web(&host("zumi01.example.org"), "/").unwrap();
    assert_eq!(withdrawn.standing, Standing::Withdrawn);
    let other = site.offer(&two, tcp("ssh", 0)).await;
    assert_eq!(reached_by(&other), ["example.org:20001"], "a reserved port is not given away");
    let site = site.reopen().await;
    assert_eq!(site.register(&one, offers()).await, first);
    assert_eq!(site.register(&two, vec![tcp("ssh", 0)]).await, [other]);
}

#[tokio::test]
async fn a_host_that_another_service_has_is_refused_with_one_that_works() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    site.offer(&one, on_host("a", "printer.lab.test")).await;
    let refused = site.register(&two, vec![on_host("b", "printer.lab.test"), http("c")]).await;
    assert!(refused[0].problems[0].contains("belongs to one/a"), "{:?}", refused[0].problems);
    assert!(refused[0].problems[0].contains("printer-2.lab.test is free"));
    assert_eq!(reached_by(&refused[0]), ["https://b-two.example.org/"], "the rest of the offer stands");
    assert!(refused[1].problems.is_empty());
    let renamed = site.register(&two, vec![on_host("b", "printer-2.lab.test")]).await;
    assert!(renamed[0].problems.is_empty());
    let (service, _) = site.control.snapshot().web(&host("printer.lab.test"), "/").unwrap();
    assert_eq!(service.path(), "one/a");
    site.control.release(Reservation::Host { host: host("printer.lab.test"), prefix: None }, noon()).await.unwrap();
    site.offer(&two, on_host("b", "printer.lab.test")).await;
}

#[tokio::test]
async fn default_names_that_would_be_alike_are_numbered() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "c").await, site.join(2, "b-c").await);
    let first = site.offer(&one, http("a-b")).await;
    let second = site.offer(&two, http("a")).await;
    assert_eq!(reached_by(&first), ["https://a-b-c.example.org/"]);
    assert_eq!(reached_by(&second), ["https://a-b-c-2.example.org/"]);
    let long = label(&"x".repeat(63));
    let device = site.join(3, long.as_str()).await;
    let both = site.register(&device, vec![http(long.as_str()), http(&"x".repeat(62))]).await;
    let hosts: BTreeSet<_> = both.iter().flat_map(reached_by).collect();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
}

#[tokio::test]
async fn only_granted_hosts_and_ports_are_given() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let table = [
        (on_host("a", "bank.test"), "bank.test is not under a domain that you may use (example.org, lab.test)"),
        (on_host("a", "badlab.test"), "not under a domain"),
        (on_host("a", "portal.lab.test"), "the gateway's own name"),
        (tcp("b", 22), "tcp port 22 is not among those you may use (20000-20009)"),
        (Offer { kind: ServiceKind::Http, ..tcp("c", 0) }, "does not fit kind = \"http\""),
        (Offer { kind: ServiceKind::Tcp, ..on_host("d", "x.lab.test") }, "a tcp service is reached by a port"),
    ];
    for (offer, problem) in table {
        let registration = site.register(&device, vec![offer]).await.remove(0);
        assert_eq!(registration.problems.len(), 1, "{registration:?}");
        assert!(registration.problems[0].contains(problem), "{registration:?}");
        assert!(registration.service.is_some());
    }
}

#[tokio::test]
async fn the_pool_of_ports_is_used_up_and_then_says_so() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let udp = |n| Offer { entrances: vec![EntranceWish::UdpPort(0)], ..offer(&format!("u{n}"), ServiceKind::Udp) };
    let all = site.register(&device, vec![udp(1), udp(2), udp(3)]).await;
    assert_eq!(reached_by(&all[0]), ["udp://example.org:30000"]);
    assert_eq!(reached_by(&all[1]), ["udp://example.org:30001"]);
    assert!(all[2].problems[0].contains("no udp port is free"));
    let wish = Offer { entrances: vec![EntranceWish::UdpPort(30000)], ..udp(2) };
    let taken = site.register(&device, vec![udp(1), wish]).await.remove(1);
    assert!(taken.problems[0].contains("udp port 30000 belongs to zumi01/u1"), "{taken:?}");
}

#[tokio::test]
async fn a_port_that_cannot_be_bound_is_not_chosen() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let failed = crate::PortState::Failed { why: "address in use".into() };
    site.control.presence().port_state(Protocol::Tcp, 20000, failed);
    assert_eq!(reached_by(&site.offer(&device, tcp("ssh", 0)).await), ["example.org:20001"]);
}

#[tokio::test]
async fn an_entrance_no_longer_wished_for_leads_nowhere_but_stays_reserved() {
    let site = Site::open().await;
    let (one, two) = (site.join(1, "one").await, site.join(2, "two").await);
    site.register(&one, vec![on_host("a", "x.lab.test"), tcp("b", 20005)]).await;
    site.register(&one, vec![http("a"), offer("b", ServiceKind::Tcp)]).await;
    let snapshot = site.control.snapshot();
    assert!(snapshot.web(&host("x.lab.test"), "/").is_none());
    assert!(snapshot.tcp(20005).is_none());
    assert_eq!(snapshot.tcp_ports().count(), 0);
    let other = site.register(&two, vec![on_host("a", "x.lab.test"), tcp("b", 20005)]).await;
    assert!(other[0].problems[0].contains("belongs to one/a") && other[1].problems[0].contains("belongs to one/b"));
    site.register(&one, vec![on_host("a", "x.lab.test"), tcp("b", 20005)]).await;
    assert!(site.control.snapshot().tcp(20005).is_some());
    site.control.release(Reservation::Port { protocol: Protocol::Tcp, port: 20005 }, noon()).await.unwrap();
    assert!(site.control.snapshot().tcp(20005).is_none());
    site.offer(&two, tcp("b", 20005)).await;
}

#[tokio::test]
async fn a_service_may_change_its_kind_and_back() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let first = site.offer(&device, http("a")).await;
    let changed = site.offer(&device, tcp("a", 0)).await;
    assert_eq!(reached_by(&changed), ["example.org:20000"]);
    assert!(site.control.snapshot().web(&host("a-zumi01.example.org"), "/").is_none());
    assert_eq!(site.offer(&device, http("a")).await, first);
    assert!(site.control.snapshot().tcp(20000).is_none());
}

#[tokio::test]
async fn paths_share_a_host_and_the_longest_prefix_wins() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let offers = vec![on_path("short", "/zumi01/"), on_path("long", "/zumi01/deep/"), on_host("whole", "example.org")];
    let all = site.register(&device, offers).await;
    assert!(all.iter().all(|r| r.problems.is_empty()), "{all:?}");
    assert!(reached_by(&all[0]).contains(&"https://example.org/zumi01/".to_owned()));
    let snapshot = site.control.snapshot();
    for (path, service) in [
        ("/zumi01", "short"),
        ("/zumi01/x", "short"),
        ("/zumi01/deep/x", "long"),
        ("/zumi01/deeper", "short"),
        ("/zumi012", "whole"),
        ("/", "whole"),
    ] {
        let (found, route) = snapshot.web(&host("example.org"), path).unwrap();
        assert_eq!(found.name, label(service), "{path}");
        assert_eq!(route.prefix.is_some(), service != "whole");
    }
    site.register(&device, vec![on_path("short", "/zumi01/"), http("long"), on_host("whole", "example.org")]).await;
    let (found, _) = site.control.snapshot().web(&host("example.org"), "/zumi01/deep/x").unwrap();
    assert_eq!(found.name, label("short"), "a prefix that is not wished for any more stands in nobody's way");
    site.register(&device, vec![on_path("short", "/zumi01/")]).await;
    site.control.release(Reservation::Service { device: device.id, service: label("whole") }, noon()).await.unwrap();
    assert!(site.control.snapshot().web(&host("example.org"), "/").is_none(), "no prefix, no whole host: nobody");
    assert!(site.control.snapshot().web(&host("EXAMPLE.org."), "/zumi01/").is_some());
}

#[tokio::test]
async fn services_on_one_host_must_agree_on_who_or_the_later_admits_nobody() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let hash = crate::passwords::hash(&doorward_core::Secret::new("x".into()));
    let guarded = PolicyDocument {
        who: WhoDocument::Password,
        passwords: [("ada".to_owned(), hash)].into(),
        ..PolicyDocument::default()
    };
    let secret = || Offer { access: guarded.clone(), ..on_path("secret", "/secret/") };
    let all = site.register(&device, vec![secret(), on_path("open", "/open/")]).await;
    assert!(all[1].problems[0].contains("shared with zumi01/secret"), "{all:?}");
    assert!(site.control.snapshot().web(&host("example.org"), "/open/").is_none());

    site.register(&device, vec![secret(), Offer { access: guarded.clone(), ..on_path("open", "/open/") }]).await;
    assert!(site.control.snapshot().web(&host("example.org"), "/open/").is_some());
    let changed = site.register(&device, vec![secret(), on_path("open", "/open/")]).await;
    assert!(changed.iter().any(|r| r.problems.iter().any(|p| p.contains("nobody is admitted until then"))));
    let snapshot = site.control.snapshot();
    let whos: BTreeSet<_> = snapshot.services_of(device.id).map(|r| format!("{:?}", r.access.who)).collect();
    assert!(whos.contains("Nobody") && whos.len() == 2, "{whos:?}");

    let agreed = vec![secret(), Offer { access: guarded.clone(), ..on_path("open", "/open/") }];
    site.register(&device, agreed).await;
    let public = Some(PolicyDocument::public());
    let refused = site.control.set_access(device.id, &label("open"), public.clone(), None, noon()).await;
    assert!(
        matches!(&refused, Err(EditError::Invalid(why)) if why.contains("shared with zumi01/secret")),
        "{refused:?}"
    );
    let site = site.reopen().await;
    let open = site.control.snapshot().record_of(device.id, &label("open")).unwrap();
    assert_eq!((&open.access, open.access_home), (&guarded, AccessHome::Device), "the refused change left no trace");
    site.control.set_access(device.id, &label("secret"), Some(PolicyDocument::default()), None, noon()).await.unwrap();
    site.control.set_access(device.id, &label("open"), public, None, noon()).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_admits_nobody() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let access = PolicyDocument { from: Some(vec!["everywhere".into()]), ..PolicyDocument::public() };
    let registration = site.register(&device, vec![Offer { access, ..http("a") }]).await.remove(0);
    assert!(registration.problems[0].contains("access.from"), "{registration:?}");
    let record = site.control.snapshot().record_of(device.id, &label("a")).unwrap();
    assert_eq!(record.access, PolicyDocument::default());
}

#[tokio::test]
async fn what_the_owner_sets_on_the_gateway_outweighs_the_device_until_given_back() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let closed = Offer { access: PolicyDocument::default(), ..http("a") };
    let first = site.offer(&device, closed.clone()).await;
    assert!(first.notes[0].contains("nobody may use it yet"), "{first:?}");
    let set =
        site.control.set_access(device.id, &label("a"), Some(PolicyDocument::public()), None, noon()).await.unwrap();
    assert_eq!(set.access_home, AccessHome::Store);
    let again = site.offer(&device, closed).await;
    assert!(again.notes[0].contains("was set on the gateway"), "{again:?}");
    let record = || site.control.snapshot().record_of(device.id, &label("a")).unwrap();
    assert_eq!(record().access, PolicyDocument::public());
    let stale = site.control.set_access(device.id, &label("a"), None, Some(set.version - 1), noon()).await;
    assert!(matches!(stale, Err(EditError::Stale { .. })), "{stale:?}");
    site.control.set_access(device.id, &label("a"), None, Some(record().version), noon()).await.unwrap();
    assert_eq!((record().access.who, record().access_home), (WhoDocument::Nobody, AccessHome::Device));
}

#[tokio::test]
async fn two_services_of_one_device_cannot_have_one_virtual_port_or_both_be_main() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let at = |name, port| Offer { virtual_port: Some(port), main: true, ..http(name) };
    let all = site.register(&device, vec![at("a", 80), at("b", 80)]).await;
    assert!(all[0].problems.is_empty());
    assert!(
        all[1].problems[0].contains("virtual port 80 is a's") && all[1].problems[1].contains("a is this device's main")
    );
    let port = |name| site.control.snapshot().record_of(device.id, &label(name)).unwrap().virtual_port;
    site.register(&device, vec![at("a", 80), Offer { virtual_port: Some(81), ..http("b") }]).await;
    site.register(&device, vec![at("a", 81), Offer { virtual_port: Some(80), ..http("b") }]).await;
    assert_eq!((port("a"), port("b")), (Some(81), Some(80)), "they may be swapped");
}

#[tokio::test]
async fn a_main_service_that_comes_second_says_who_has_the_name() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, Offer { main: true, ..http("a") }).await;
    let changed = site.register(&device, vec![http("a"), Offer { main: true, ..http("b") }]).await;
    assert!(changed[1].problems[0].contains("zumi01.example.org belongs to zumi01/a"), "{changed:?}");
    assert_eq!(reached_by(&changed[1]), ["https://b-zumi01.example.org/"]);
}

#[tokio::test]
async fn the_hundred_and_first_service_is_refused_and_room_can_be_made() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let many: Vec<_> = (0..101).map(|n| offer(&format!("s{n}"), ServiceKind::Tcp)).collect();
    let all = site.register(&device, many).await;
    assert!(all[..100].iter().all(|r| r.problems.is_empty()));
    assert!(all[100].service.is_none() && all[100].problems[0].contains("room for 100 services"));
    let one_more = || vec![offer("new", ServiceKind::Tcp)];
    assert!(site.register(&device, one_more()).await[0].service.is_none(), "withdrawn ones keep their place");
    let reservation = Reservation::Service { device: device.id, service: label("s7") };
    site.control.release(reservation, noon()).await.unwrap();
    assert!(site.register(&device, one_more()).await[0].service.is_some());
    let twice = site.register(&device, vec![http("new"), http("new")]).await;
    assert!(twice[1].service.is_none() && twice[1].problems[0].contains("twice"));
}

#[tokio::test]
async fn a_device_that_comes_back_unchanged_changes_nothing() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let offers = || vec![Offer { main: true, ..http("a") }, tcp("b", 0), on_path("c", "/c/")];
    let first = site.register(&device, offers()).await;
    let before = site.control.snapshot();
    let mut changes = site.control.changes();
    assert_eq!(site.register(&device, offers()).await, first);
    assert_eq!(site.control.snapshot().generation(), before.generation());
    site.join(2, "other").await;
    let Some(News::Change(next)) = next_news(&mut changes).await else { panic!("no change") };
    assert!(next.services.is_empty(), "the first news is the other device's: {next:?}");
}

#[tokio::test]
async fn that_a_service_is_made_ready_outlives_a_restart_and_what_nothing_wakes_is_told() {
    let site = Site::open().await;
    let device = site.join(1, "pi").await;
    let sleeper = |on_visit| Offer { prepare: Some(PrepareOffer { on_visit, limit: 210 }), ..http("pc") };
    let told =
        |registered: Registration| registered.notes.iter().any(|note| note.contains("nothing ever makes it ready"));
    assert!(told(site.offer(&device, sleeper(false)).await));
    assert!(!told(site.offer(&device, sleeper(true)).await));
    let site = site.reopen().await;
    let prepare = |site: &Site| site.control.snapshot().service_of(device.id, &label("pc")).unwrap().prepare;
    assert_eq!(prepare(&site), sleeper(true).prepare);
    let generation = site.control.snapshot().generation();
    site.offer(&device, sleeper(true)).await;
    assert_eq!(site.control.snapshot().generation(), generation, "the same again writes nothing");
    site.offer(&device, http("pc")).await;
    assert_eq!(prepare(&site), None);
}
