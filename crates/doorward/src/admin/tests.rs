use super::access::{Rules, WhoWish, Wish as AccessWish};
use super::*;
use crate::testbed::{Ports, Testbed};
use doorward_control::passwords;
use doorward_core::Secret;
use doorward_core::access::WhoDocument;
use doorward_core::hop::HopFailure;
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

fn now() -> Timestamp {
    Timestamp::now()
}

fn web() -> serde_json::Value {
    json!({"name": "octoprint", "title": "Küche", "kind": "http", "main": true, "access": {"who": "public"}})
}

fn ssh() -> serde_json::Value {
    json!({"name": "ssh", "kind": "tcp", "entrances": [{"tcp-port": 0}], "access": {"who": "public", "from": ["192.0.2.0/24"]}})
}

fn path(text: &str) -> ServicePath {
    text.parse().unwrap()
}

/// The line that begins with this, with single blanks.
fn line(text: &str, start: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}"));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn an_invite_lets_a_device_in_and_is_listed() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    assert!(
        invites::list(owner, Form::Table, now()).await.unwrap().contains("doorward invite"),
        "what to do when empty"
    );
    let wish = invites::Wish {
        name: Some("printer1".to_owned()),
        uses: Some(2),
        expires_in: Some(SignedDuration::from_hours(12)),
    };
    let text = invites::create(owner, wish).await.unwrap();
    let invite = Invite::parse(text.expose()).unwrap();
    assert_eq!(invite.site, bed.gateway.control.site_keys().active.fingerprint);
    let _agent = bed.join(&invite, "printer1", "").await;
    let listed = invites::list(owner, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "1 "), "1 usable 1 of 2 just now in 12 h printer1");
    assert!(!listed.contains(text.expose()) && !invites::list(owner, Form::Json, now()).await.unwrap().contains("DW1"));

    invites::revoke(owner, 1).await.unwrap();
    assert!(invites::list(owner, Form::Table, now()).await.unwrap().contains("revoked"));
    let error = invites::revoke(owner, 77).await.unwrap_err().to_string();
    assert!(error.contains("no invite 77") && error.contains("doorward invites"), "{error}");
    let bad = invites::Wish { name: Some("Küche".to_owned()), ..invites::Wish::default() };
    let error = invites::create(owner, bad).await.unwrap_err().to_string();
    assert!(error.contains("\"kueche\" would do"), "{error}");

    let devices = devices::list(owner, Form::Table, now()).await.unwrap();
    let found = line(&devices, "printer1");
    assert!(found.starts_with("printer1 quic") && found.contains("127.0.0.1 0.1.0"), "{devices}");
}

#[tokio::test]
async fn devices_are_renamed_revoked_and_replaced() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    assert!(devices::list(owner, Form::Table, now()).await.unwrap().contains("doorward invite"));
    bed.enrol(1, "raspberrypi").await;
    bed.enrol(2, "other").await;
    devices::rename(owner, "raspberrypi", "printer1").await.unwrap();
    for (old, new, why) in [
        ("nix", "a", "there is no device \"nix\""),
        ("printer1", "other", "\"other-2\" is free"),
        ("printer1", "a b", "\"a-b\" would do"),
        ("a/b?c", "x", "there is no device \"a/b?c\""),
    ] {
        let error = devices::rename(owner, old, new).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let text = devices::replace(owner, "printer1").await.unwrap();
    let listed = invites::list(owner, Form::Table, now()).await.unwrap();
    assert!(line(&listed, "3 ").ends_with("taking the place of printer1"), "{listed}");
    assert!(Invite::parse(text.expose()).is_ok());
    assert!(devices::revoke(owner, "printer1").await.unwrap().contains("devices replace printer1"));
    let listed = devices::list(owner, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "printer1"), "printer1 raspberrypi revoked just now -");
    assert_eq!(line(&listed, "other"), "other never seen -");
    let json: serde_json::Value =
        serde_json::from_str(&devices::list(owner, Form::Json, now()).await.unwrap()).unwrap();
    assert_eq!(json[1]["name"], "printer1");
    assert!(json[1]["revoked-at"].as_str().unwrap().ends_with('Z'), "absolute times");
}

#[tokio::test]
async fn services_show_where_by_whom_and_what_stands_in_the_way() {
    let bed = Testbed::start().await;
    let device = bed.enrol(1, "printer1").await;
    assert!(services::list(&bed.owner, Form::Table, now()).await.unwrap().contains("doorward http"));
    bed.offer(&device, &[web(), ssh()]).await;
    let control = &bed.gateway.control;
    let record = control.snapshot().record_of(device.id, &Label::parse("octoprint").unwrap()).unwrap();
    let before = now() - SignedDuration::from_mins(5);
    control.presence().service_failed(record.service.id, HopFailure::TargetRefused, before);
    let listed = services::list(&bed.owner, Form::Table, now()).await.unwrap();
    assert_eq!(line(&listed, "printer1/octoprint"), "printer1/octoprint http never seen everybody");
    assert_eq!(line(&listed, "printer1/ssh"), "printer1/ssh tcp never seen everybody, from 192.0.2.0/24");
    for part in [
        "\"Küche\"",
        "https://printer1.example.localhost:",
        "127.0.0.1:20000",
        "failing for 5 min: the device is online, but nothing",
    ] {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    bed.offer(&device, &[web()]).await;
    let listed = services::list(&bed.owner, Form::Table, now()).await.unwrap();
    assert!(listed.contains("withdrawn") && listed.contains("reserved: tcp/20000"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&services::list(&bed.owner, Form::Json, now()).await.unwrap()).unwrap();
    assert_eq!(json[0]["failure"]["hop"], "target-refused");
}

#[tokio::test]
async fn access_is_set_as_a_whole_and_given_back() {
    let bed = Testbed::start().await;
    let device = bed.enrol(1, "printer1").await;
    bed.offer(&device, &[web()]).await;
    let (owner, place) = (&bed.owner, path("printer1/octoprint"));
    assert!(line(&access::show(owner, &place).await.unwrap(), "  decided by").contains("the device"));
    let wish = AccessWish {
        who: WhoWish::Passwords(vec![("anna".to_owned(), Secret::new("correct horse".to_owned()))]),
        from: vec!["192.0.2.0/24".to_owned()],
        open: vec!["mon-fri 08:00-16:30".to_owned()],
        zone: Some("Europe/Berlin".to_owned()),
        rules: Rules::default(),
    };
    let shown = access::set(owner, &place, &wish.into_document().unwrap()).await.unwrap();
    assert_eq!(line(&shown, "  who"), "who by password: anna");
    assert_eq!(line(&shown, "  open"), "open mon-fri 08:00-16:30 (Europe/Berlin)");
    assert!(!shown.contains("argon2"), "{shown}");
    let record = bed.gateway.control.snapshot().record_of(device.id, &Label::parse("octoprint").unwrap()).unwrap();
    assert!(passwords::verify(&record.access.passwords["anna"], &Secret::new("correct horse".to_owned())));

    let nobody = AccessWish { who: WhoWish::Nobody, from: vec![], open: vec![], zone: None, rules: Rules::default() }
        .into_document()
        .unwrap();
    let shown = access::set(owner, &place, &nobody).await.unwrap();
    assert_eq!(line(&shown, "  who"), "who nobody");
    assert_eq!(line(&shown, "  from"), "from anywhere", "what was said before is forgotten");
    let shown = access::reset(owner, &place).await.unwrap();
    assert_eq!(line(&shown, "  who"), "who everybody");
    for unknown in ["printer1/nix", "nix/octoprint"] {
        let error = access::show(owner, &path(unknown)).await.unwrap_err().to_string();
        assert!(error.contains(unknown), "{error}");
        assert!(access::set(owner, &path(unknown), &nobody).await.is_err());
    }
}

#[test]
fn a_policy_that_cannot_be_is_refused_before_it_is_sent() {
    let wish = |who, from: &[&str], open: &[&str], zone: Option<&str>| AccessWish {
        who,
        from: from.iter().map(ToString::to_string).collect(),
        open: open.iter().map(ToString::to_string).collect(),
        zone: zone.map(str::to_owned),
        rules: Rules::default(),
    };
    let secret = || Secret::new("x".to_owned());
    let twice = WhoWish::Passwords(vec![("a".to_owned(), secret()), ("a".to_owned(), secret())]);
    for (wish, why) in [
        (wish(WhoWish::Public, &["300.1.1.1"], &[], None), "\"300.1.1.1\" is not a network"),
        (wish(WhoWish::Public, &[], &["mon 8-9"], Some("UTC")), "mon-fri 08:00-16:30"),
        (wish(WhoWish::Public, &[], &["mon 08:00-09:00"], Some("Berlin")), "not a time zone"),
        (wish(WhoWish::Passwords(vec![("a:b".to_owned(), secret())]), &[], &[], None), "no colon"),
        (wish(WhoWish::Passwords(vec![]), &[], &[], None), "at least one"),
        (wish(twice, &[], &[], None), "twice"),
    ] {
        let error = crate::terminal::story(&wish.into_document().unwrap_err());
        assert_eq!(error.matches(why).count(), 1, "{error}");
    }
    let public = wish(WhoWish::Public, &[], &[], None).into_document().unwrap();
    assert_eq!((public.who, public.from, public.when), (WhoDocument::Public, None, None));
}

#[tokio::test]
async fn names_and_ports_are_released_by_name() {
    let bed = Testbed::start().await;
    let device = bed.enrol(1, "printer1").await;
    bed.offer(&device, &[web(), ssh()]).await;
    let owner = &bed.owner;
    let release =
        async |what: &str| release::release(owner, what.parse().unwrap()).await.map_err(|error| error.to_string());
    let host = "printer1.example.localhost";
    assert!(release(host).await.unwrap().contains("it was printer1/octoprint's"));
    assert!(release(host).await.unwrap_err().contains(host), "it is gone");
    assert!(release("udp/20000").await.unwrap_err().contains("no service has the port udp/20000"));
    assert!(release("20000").await.unwrap().contains("tcp port 20000"));
    assert!(release("printer1/ssh").await.unwrap_err().contains("is offered now"));
    bed.offer(&device, &[web()]).await;
    release("printer1/ssh").await.unwrap();
    assert_eq!(services::all(owner).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_audit_tells_and_moves_no_cursor() {
    let bed = Testbed::start().await;
    bed.enrol(1, "printer1").await;
    let control = &bed.gateway.control;
    let deed = doorward_core::audit::Deed::DeviceRefused;
    control.record(deed, "evil\u{1b}[2J".to_owned(), "x".to_owned(), None, now()).await.unwrap();
    let choice = audit::Choice { limit: 2, ..audit::Choice::default() };
    let listed = audit::list(&bed.owner, &choice, Form::Table, now()).await.unwrap();
    let rows = listed.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(rows, 3, "{listed}");
    assert!(listed.contains("device-joined") && listed.contains("evil\u{fffd}[2J"), "{listed}");
    assert!(!listed.contains('\u{1b}'));
}

#[tokio::test]
async fn the_site_key_is_rotated_once_every_device_has_stored_the_next_one() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let error = site_key::activate(owner, false).await.unwrap_err().to_string();
    assert!(error.contains("site-key rotate"), "{error}");
    let invite = bed.gateway.invite(doorward_control::InviteRequest::default()).await.unwrap();
    let mut agent = bed.join(&invite, "printer1", "").await;
    let absent = bed.enrol(1, "absent").await;
    bed.until_online("printer1").await;

    let told = site_key::rotate(owner).await.unwrap();
    assert!(told.contains("Not known to be stored by: absent\n"), "the other one answered: {told}");
    let error = site_key::activate(owner, false).await.unwrap_err().to_string();
    assert!(error.contains("absent") && error.contains("--force"), "{error}");
    bed.gateway.control.revoke_device(absent.id, None, now()).await.unwrap();
    assert!(site_key::show(owner).await.unwrap().contains("Every device has stored it"));
    site_key::activate(owner, false).await.unwrap();
    agent.stop().await;
    agent.start().await;
    bed.until_online("printer1").await;

    bed.enrol(2, "absent2").await;
    site_key::rotate(owner).await.unwrap();
    assert!(site_key::activate(owner, true).await.is_ok(), "by force");
}

/// Announces the next site key.
async fn until_all_have_stored_it(owner: &Owner) {
    let storing = async { while !site_key::rotate(owner).await.unwrap().contains("Every device has stored it") {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), storing).await.expect("some device has not stored it");
}

#[tokio::test]
async fn a_gateway_that_starts_anew_hears_again_what_its_devices_have_stored() {
    let bed = Testbed::start().await;
    let ports = Ports::of(&bed.gateway);
    let invite = bed.gateway.invite(doorward_control::InviteRequest::default()).await.unwrap();
    let mut agent = bed.join(&invite, "printer1", "").await;
    until_all_have_stored_it(&bed.owner).await;
    agent.stop().await;
    let Testbed { directory, gateway, owner } = bed;
    gateway.stop().await;
    let settings = crate::testbed::settings(&directory.path().join("gateway"), ports);
    let gateway = crate::serve::start(settings).await.unwrap();
    let told = site_key::show(&owner).await.unwrap();
    assert!(told.contains("Not known to be stored by: printer1\n"), "nobody said so since: {told}");
    let error = site_key::activate(&owner, false).await.unwrap_err().to_string();
    assert!(error.contains("printer1") && error.contains("--force"), "{error}");

    agent.start().await;
    until_all_have_stored_it(&owner).await;
    site_key::activate(&owner, false).await.unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn status_shows_the_gateway_at_a_glance() {
    let bed = Testbed::start().await;
    let device = bed.enrol(1, "printer1").await;
    bed.offer(&device, &[ssh()]).await;
    let shown = status::show(&bed.owner, Form::Table).await.unwrap();
    assert_eq!(line(&shown, "devices"), "devices 1, 0 of them online");
    assert!(line(&shown, "ports").contains("tcp/20000"), "{shown}");
    assert!(status::show(&bed.owner, Form::Json).await.unwrap().contains("\"site-key-awaited\": []"));
}

#[tokio::test]
async fn without_a_gateway_it_is_said_where_one_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new(directory.path());
    let socket = directory.path().join("owner.sock").display().to_string();
    let error = devices::all(&owner).await.unwrap_err().to_string();
    assert!(error.contains(&socket) && error.contains("doorward serve"), "{error}");
    // Left over by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(owner.socket()).unwrap());
    let error = devices::all(&owner).await.unwrap_err();
    assert!(matches!(error, AskError::NoGateway { .. }), "{error}");
}

#[tokio::test]
async fn a_gateway_that_hangs_is_not_waited_for_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let owner = Owner::new(directory.path()).patient(std::time::Duration::from_millis(50));
    let _listener = std::os::unix::net::UnixListener::bind(owner.socket()).unwrap();
    let error = devices::all(&owner).await.unwrap_err();
    assert!(matches!(error, AskError::Silent { .. }), "{error}");
}

#[tokio::test]
async fn ssh_keys_are_added_listed_and_removed() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let empty = ssh::list(owner, Form::Table, now()).await.unwrap();
    assert!(empty.contains("doorward people add-key"), "what to do when empty: {empty}");
    let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
    let file = format!("# hers\n{ed25519} anna@laptop\n");
    let anna = ssh::Holder::Person("anna".to_owned());
    assert_eq!(ssh::add(owner, &anna, &file).await.unwrap(), "One key more is anna's.\n");
    assert!(ssh::add(owner, &anna, &file).await.unwrap().starts_with("Nothing was new"));
    let zumi = ssh::Holder::Device("zumi01".to_owned());
    let taken = ssh::add(owner, &zumi, ed25519).await.unwrap_err().to_string();
    assert!(taken.contains("doorward ssh-keys"), "{taken}");
    let broken = ssh::add(owner, &zumi, "no key").await.unwrap_err().to_string();
    assert!(broken.contains("not an SSH public key"), "{broken}");
    let listed = ssh::list(owner, Form::Table, now()).await.unwrap();
    let row = line(&listed, "anna");
    let fingerprint = row.split(' ').nth(2).unwrap();
    assert_eq!(row, format!("anna ssh-ed25519 {fingerprint} just now"));
    ssh::remove(owner, fingerprint).await.unwrap();
    let again = ssh::remove(owner, fingerprint).await.unwrap_err().to_string();
    assert!(again.contains("no SSH key") && again.contains("doorward ssh-keys"), "{again}");
    assert_eq!(ssh::add(owner, &zumi, ed25519).await.unwrap(), "One key more is device zumi01's.\n");
    assert!(devices::list(owner, Form::Table, now()).await.unwrap().contains("zumi01"));

    let token = ssh_passwords::token(owner, "zumi01").await.unwrap();
    let password = token.lines().next().unwrap();
    assert!(password.starts_with("device-token-") && token.contains("password-1"), "{token}");
    assert!(token.contains("-N -R zumi01:80:localhost:5000 zumi01@"), "{token}");
    let sender = ssh_passwords::sender_key(owner, &"zumi01:5454".parse().unwrap()).await.unwrap();
    assert!(sender.contains("ssh_tunnel_pwd=\"sender-key-") && sender.contains("password-2"), "{sender}");
    let nobody = ssh_passwords::sender_key(owner, &"nobody:5454".parse().unwrap()).await.unwrap_err().to_string();
    assert!(nobody.contains("doorward devices"), "{nobody}");
    let listed = ssh::list(owner, Form::Table, now()).await.unwrap();
    let rows: Vec<_> = listed.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(rows.contains(&"device zumi01 device-token password-1 just now".to_owned()), "{listed}");
    assert!(rows.contains(&"whoever sends to zumi01:5454 sender-key password-2 just now".to_owned()), "{listed}");
    assert!(!listed.contains(password.rsplit('-').next().unwrap()), "{listed}");
    ssh::remove(owner, "password-2").await.unwrap();
    let again = ssh::remove(owner, "password-2").await.unwrap_err().to_string();
    assert!(again.contains("no SSH password") && again.contains("doorward ssh-keys"), "{again}");
    let host = ssh::host_key(owner).await.unwrap();
    assert!(host.contains(" ssh-ed25519 AAAA"), "{host}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_people_are_made_listed_and_taken_back() {
    let bed = Testbed::start().await;
    let owner = &bed.owner;
    let empty = certify::list(owner, Form::Table, now()).await.unwrap();
    assert!(empty.contains("doorward people certify"), "{empty}");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea alex@laptop\n";
    let wish = |hours| certify::Wish {
        person: "alex".into(),
        key: key.into(),
        span: SignedDuration::from_hours(hours),
        from: vec!["192.0.2.0/24".into()],
    };
    let made = certify::certify(owner, &wish(8)).await.unwrap();
    assert!(made.starts_with("ssh-ed25519-cert-v01@openssh.com AAAA") && made.ends_with(" alex\n"), "{made}");
    let long = certify::certify(owner, &wish(169)).await.unwrap_err().to_string();
    assert!(long.contains("1m to 7d") && long.contains("doorward people add-key alex"), "{long}");
    let ca = certify::authority(owner).await.unwrap();
    assert!(ca.starts_with("ssh-ed25519 AAAA") && ca == certify::authority(owner).await.unwrap(), "{ca}");
    let listed = certify::list(owner, Form::Table, now()).await.unwrap();
    assert!(line(&listed, "1").contains("alex SHA256:"), "{listed}");
    certify::revoke(owner, 1).await.unwrap();
    let again = certify::revoke(owner, 1).await.unwrap_err().to_string();
    assert!(again.contains("no SSH certificate 1") && again.contains("doorward people certificates"), "{again}");
    certify::certify(owner, &wish(1)).await.unwrap();
    people::remove(owner, "alex").await.unwrap();
    assert!(!certify::list(owner, Form::Table, now()).await.unwrap().contains("alex"));
}
