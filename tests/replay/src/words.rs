//! Text that people, devices and browsers send: what is accepted keeps its meaning when it is written and read again.

use doorward_core::access::{
    Denied, Facts, Openness, PolicyDocument, Proof, Schedule, Visitor, Who, WhoDocument, decide,
};
use doorward_core::invite::Invite;
use doorward_core::login::Login;
use doorward_core::names::{HostName, Label};
use doorward_core::person::Person;
use doorward_core::service::{Entrance, Offer, Service, ServiceKind, Standing};
use doorward_core::session::Session;
use doorward_core::site::Address;
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

/// As text, and once more as the payload of an invite with a right checksum, which no fuzzer guesses.
pub fn invite(data: &[u8]) {
    check_invite(&String::from_utf8_lossy(data));
    let summed = [data, &crc32fast::hash(data).to_be_bytes()].concat();
    check_invite(&format!("DW1{}", data_encoding::BASE32_NOPAD.encode(&summed)));
}

fn check_invite(text: &str) {
    let Ok(invite) = Invite::parse(text) else { return };
    assert!(!invite.addresses.is_empty());
    let again = Invite::parse(invite.to_text().expose()).expect("our own invites are readable");
    assert_eq!(again.addresses, invite.addresses);
    assert_eq!(again.site, invite.site);
    assert!(again.secret == invite.secret);
}

pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(address) = Address::parse(&text) else { return };
    let endpoints = address.endpoints();
    assert!(!endpoints.is_empty() && endpoints.iter().all(|e| e.port != 0));
    let written = address.to_string();
    assert!(!written.contains(|c: char| c.is_whitespace() || c == '@'), "{written:?}");
    assert_eq!(Address::parse(&written).expect("our own addresses are readable"), address, "{written:?}");
}

pub fn authority(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(name) = HostName::from_authority(&text) else { return };
    let written = name.as_str();
    let may_stand = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    assert!(written.bytes().all(may_stand), "{written:?}");
    assert!(!written.is_empty() && !written.starts_with('.') && !written.ends_with('.') && !written.contains(".."));
    for spelling in [written.to_owned(), written.to_uppercase(), format!("{written}."), format!("{written}:443")] {
        assert_eq!(HostName::from_authority(&spelling).as_ref(), Ok(&name), "{spelling:?}");
    }
}

/// `time │ JSON`: a policy that is accepted decides as its document says.
pub fn policy(data: &[u8]) {
    let Some((now, json)) = moment(data) else { return };
    let Ok(document) = serde_json::from_slice::<PolicyDocument>(json) else { return };
    let written = serde_json::to_vec(&document).expect("a document is JSON");
    assert_eq!(serde_json::from_slice::<PolicyDocument>(&written).ok().as_ref(), Some(&document));
    let Ok(policy) = document.to_policy() else { return };
    let service = Service {
        id: ServiceId(1),
        device: DeviceId(2),
        account: AccountId(3),
        device_name: Label::parse("pi").expect("a label"),
        name: Label::parse("tree").expect("a label"),
        title: String::new(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        policy: Arc::new(policy),
        web: Arc::default(),
        prepare: None,
    };
    for source in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
        let mut visitor = Visitor::new(source.parse::<IpAddr>().expect("an address"), Entrance::Web);
        check_decision(&document, &service, &visitor, now);
        if let Who::Password(hashes) = &service.policy.who {
            visitor.proofs = hashes.iter().take(1).cloned().map(Proof::Password).collect();
            check_decision(&document, &service, &visitor, now);
        }
    }
}

/// There are no people and no sessions.
struct Nobody;

impl Facts for Nobody {
    fn person(&self, _: AccountId) -> Option<&Person> {
        None
    }

    fn session(&self, _: SessionId) -> Option<&Session> {
        None
    }

    fn login(&self, _: LoginId) -> Option<&Login> {
        None
    }
}

fn check_decision(document: &PolicyDocument, service: &Service, visitor: &Visitor, now: Timestamp) {
    let decision = decide(service, visitor, &Nobody, now);
    let is_from_nowhere = document.from.as_ref().is_some_and(Vec::is_empty);
    let is_never = document.when.as_ref().is_some_and(|when| when.open.is_empty());
    match (decision, document.who) {
        (Ok(_), WhoDocument::Nobody) => panic!("nobody was admitted"),
        (Ok(_), WhoDocument::People) => panic!("nobody of these people came"),
        (Ok(_), WhoDocument::Senders) => panic!("no sender came"),
        (Ok(_), WhoDocument::Password) if visitor.proofs.is_empty() => panic!("no password was proved"),
        (Ok(permit), _) => {
            assert!(!is_from_nowhere && !is_never, "an empty list admitted somebody");
            assert_eq!(permit.until().is_some(), document.when.is_some());
            assert!(permit.until().is_none_or(|until| now < until), "a permit that has ended already");
            assert_eq!(permit.service(), service.id);
        }
        (Err(denied), who) => match denied {
            Denied::Nobody => assert_eq!(who, WhoDocument::Nobody),
            Denied::SourceNetwork => assert!(document.from.is_some()),
            Denied::Closed { opens } => assert!(opens.is_none_or(|opens| now < opens)),
            Denied::PasswordNeeded => assert!(who == WhoDocument::Password && visitor.proofs.is_empty()),
            Denied::NotOneOfThem => assert_eq!(who, WhoDocument::People),
            Denied::NotASender => assert_eq!(who, WhoDocument::Senders),
            Denied::AccountDisabled
            | Denied::OtherSource
            | Denied::AccountEnded
            | Denied::LoginOver
            | Denied::SessionNeeded
            | Denied::SessionOver
            | Denied::NeedsMore(_)
            | Denied::ApprovalNeeded
            | Denied::InUse
            | Denied::ShareOver => panic!("nobody of these people came"),
            Denied::ReadOnly => assert!(service.policy.limits.is_read_only),
            Denied::BudgetSpent { .. } | Denied::Full => panic!("nothing was counted"),
            Denied::NotOffered | Denied::DeviceRevoked => panic!("the service is offered"),
        },
    }
    for standing in [Standing::Withdrawn, Standing::DeviceRevoked] {
        assert!(decide(&Service { standing, ..service.clone() }, visitor, &Nobody, now).is_err());
    }
}

/// `time │ zone │ line feed │ windows, a line each`: open until it says so, closed until it says so.
pub fn schedule(data: &[u8]) {
    let Some((now, text)) = moment(data) else { return };
    let text = String::from_utf8_lossy(text);
    let mut lines = text.split('\n').map(str::to_owned);
    let zone = lines.next().unwrap_or_default();
    let windows: Vec<_> = lines.take(20).collect();
    let Ok(schedule) = Schedule::parse(&zone, &windows) else { return };
    let instant_before = |t: Timestamp| t.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(t);
    match schedule.at(now) {
        Openness::Open { until } => {
            assert!(now < until);
            let last = instant_before(until);
            assert!(matches!(schedule.at(last), Openness::Open { .. }), "closed before it said so, at {last}");
            let half = now.checked_add(until.duration_since(now) / 2).unwrap_or(now);
            assert!(matches!(schedule.at(half), Openness::Open { .. }), "closed before it said so, at {half}");
        }
        Openness::Closed { opens: Some(opens) } => {
            assert!(now < opens);
            assert!(matches!(schedule.at(opens), Openness::Open { .. }), "still closed at {opens}");
            let last = instant_before(opens);
            assert!(matches!(schedule.at(last), Openness::Closed { .. }), "open before it said so, at {last}");
        }
        Openness::Closed { opens: None } => {}
    }
}

/// Seconds since 1970 (32 bits, big endian: until 2106), and the rest.
fn moment(data: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (seconds, rest) = data.split_first_chunk::<4>()?;
    Some((Timestamp::from_second(u32::from_be_bytes(*seconds).into()).ok()?, rest))
}

pub fn offer(data: &[u8]) {
    let Ok(offer) = serde_json::from_slice::<Offer>(data) else { return };
    let written = serde_json::to_vec(&offer).expect("an offer is JSON");
    assert_eq!(serde_json::from_slice::<Offer>(&written).ok().as_ref(), Some(&offer));
    if let Ok(policy) = offer.access.to_policy() {
        assert_eq!(policy.who == Who::Nobody, offer.access.who == WhoDocument::Nobody);
    }
}
