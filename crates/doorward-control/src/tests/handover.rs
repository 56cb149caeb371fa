use super::people::add;
use super::support::*;
use crate::{Bearer, Challenge, Handover};
use doorward_core::access::Facts;
use doorward_core::{LoginId, Secret, ServiceId};
use jiff::SignedDuration;

fn state(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn handover(login: LoginId) -> Handover {
    let (service, host) = (ServiceId(4), host("cam.example.org"));
    Handover { bearer: Bearer::Login(login), service, host, challenge: Challenge::of(&state("mine")) }
}

#[tokio::test]
async fn a_code_is_good_once_for_its_host_and_state_within_half_a_minute() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let login = site.control.begin_login(anna.id, "", None, noon()).await.unwrap().id;
    let (own, later) = (host("cam.example.org"), noon() + SignedDuration::from_secs(30));
    let issue = || site.control.hand_over(handover(login), noon());
    let code = issue();
    assert_eq!(site.control.redeem(&code, &own, Some(&state("mine")), noon()), Some(handover(login)));
    assert_eq!(site.control.redeem(&code, &own, Some(&state("mine")), noon()), None, "again");
    assert_eq!(site.control.redeem(&issue(), &own, Some(&state("mine")), later), None, "too late");
    assert_eq!(
        site.control.redeem(&issue(), &host("vault.example.org"), Some(&state("mine")), noon()),
        None,
        "elsewhere"
    );
    let code = issue();
    assert_eq!(site.control.redeem(&code, &own, Some(&state("yours")), noon()), None, "another browser");
    assert_eq!(site.control.redeem(&code, &own, Some(&state("mine")), noon()), None, "a wrong try uses it up");
    let code = issue();
    assert_eq!(site.control.redeem(&code, &own, None, noon()), None, "no state at all");
    assert_eq!(site.control.redeem(&code, &own, Some(&state("mine")), noon()), None, "that uses it up, too");
    let of_nothing = Handover { challenge: Challenge::of(&state("")), ..handover(login) };
    let code = site.control.hand_over(of_nothing, noon());
    assert_eq!(site.control.redeem(&code, &own, None, noon()), None, "no state is not an empty one");
    assert_eq!(site.control.redeem(&state("nonsense"), &own, Some(&state("mine")), noon()), None);
}

#[tokio::test]
async fn whoever_takes_many_codes_pushes_out_their_own() {
    let site = Site::open().await;
    let other = site.control.hand_over(handover(LoginId(2)), noon());
    let first = site.control.hand_over(handover(LoginId(1)), noon());
    let many: Vec<_> = (0..20).map(|_| site.control.hand_over(handover(LoginId(1)), noon())).collect();
    let redeem = |code| site.control.redeem(code, &host("cam.example.org"), Some(&state("mine")), noon()).is_some();
    assert!(!redeem(&first) && redeem(&many[19]) && redeem(&other));
}

#[tokio::test]
async fn a_pass_counts_for_its_login_service_and_host_alone_and_over_a_restart() {
    let site = Site::open().await;
    let anna = add(&site, "anna").await;
    let login = site.control.begin_login(anna.id, "", None, noon()).await.unwrap().id;
    let other = site.control.begin_login(anna.id, "", None, noon()).await.unwrap().id;
    let (service, own) = (ServiceId(4), host("cam.example.org"));
    let (pass, _) = site.control.pass(login, service, &own).unwrap();
    let site = site.reopen().await;
    let control = &site.control;
    assert_eq!(control.login_by_pass(&pass, service, &own), Some(login));
    assert_eq!(control.login_by_pass(&pass, ServiceId(5), &own), None);
    assert_eq!(control.login_by_pass(&pass, service, &host("vault.example.org")), None);
    let (_, mac) = pass.expose().split_once('.').unwrap();
    for forged in [
        format!("{other}.{mac}"),
        format!("{login}."),
        format!("{login}"),
        format!("+{login}.{}", &mac[1..]),
        String::new(),
    ] {
        assert_eq!(control.login_by_pass(&state(&forged), service, &own), None, "{forged}");
    }
    control.end_login(None, login, noon()).await.unwrap();
    assert!(control.pass(login, service, &own).is_none());
    assert!(control.snapshot().login(login).is_none(), "what the pass stands for is gone");
    assert!(Challenge::parse(&Challenge::of(&state("x")).to_string()).is_some());
    for bad in ["", "x", &"!".repeat(43), &"a".repeat(44)] {
        assert!(Challenge::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn no_service_gets_the_portals_name() {
    let site = Site::open().await;
    let device = site.join(1, "portal").await;
    let mut main = http("page");
    main.main = true;
    let registrations = site.register(&device, vec![main, on_host("own", "portal.example.org")]).await;
    for registration in &registrations {
        assert!(!reached_by(registration).contains(&"https://portal.example.org/".to_owned()), "{registration:?}");
        assert!(!reached_by(registration).is_empty(), "it has another name");
    }
    assert!(registrations[1].problems[0].contains("portal.example.org is the gateway's own name"));
    let snapshot = site.control.snapshot();
    assert!(snapshot.web_hosts().any(|host| host.as_str() == "portal.example.org"), "it wants a certificate");
}

#[tokio::test]
async fn a_name_that_becomes_the_portals_leads_to_its_service_no_more() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    site.offer(&device, on_host("own", "home.example.org")).await;
    let found = |host: &str| site.control.snapshot().web(&super::support::host(host), "/").is_some();
    assert!(found("home.example.org"));
    let moved = crate::SiteSettings { portal: Some(host("home.example.org")), ..site_settings() };
    site.control.resettle(moved, noon()).await.unwrap();
    assert!(!found("home.example.org") && found("own-zumi01.example.org"));
    site.control.resettle(site_settings(), noon()).await.unwrap();
    assert!(found("home.example.org"));
}
