//! For every action objects that stand to somebody in every way, to see what the running router answers.

use super::support::*;
use doorward_control::{
    CertificateWish, ClientCertificateRequest, InvitationRequest, InviteRequest, KeyFingerprint, KnockKeyRequest,
    NewHolder, NewLogin, NewPerson, Opening, SessionRequest, TokenRequest, accounts,
};
use doorward_core::addition::Addition;
use doorward_core::authority::{Action, Relation, Scope, TokenLimits};
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use doorward_core::share::ShareWish;
use doorward_core::ssh::PublicKey;
use doorward_core::{AccountId, ServiceId, SessionId};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;

/// One gateway, seen by one person.
pub(super) struct Scene {
    pub(super) portal: Portal,
    pub(super) who: Arc<Person>,
    ids: Ids,
}

struct Ids {
    own_session: i64,
    guest_session: i64,
    others_session: i64,
    own_request: i64,
    guest_request: i64,
    others_request: i64,
    own_invite: i64,
    others_invite: i64,
    own_token: i64,
    others_token: i64,
    own_share: i64,
    usable_share: i64,
    others_share: i64,
    own_certificate: i64,
    others_certificate: i64,
    own_knock_key: i64,
    others_knock_key: i64,
}

pub(super) struct Sample {
    pub(super) relation: Relation,
    pub(super) path: String,
    pub(super) body: Value,
    /// What stands in path and body for the object, if there is a way to name one that is not there.
    pub(super) name: Option<String>,
}

pub(super) enum Samples {
    /// Something that is not about one object.
    Whole {
        path: &'static str,
        body: Value,
    },
    Objects(Vec<Sample>),
    /// What never ends.
    Events(&'static str),
    /// What of this list is whose: by a member of each item.
    List {
        path: &'static str,
        member: &'static str,
        items: Vec<(Relation, Value)>,
    },
}

const KEYS: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINZGBnm7Q3UIUjHOM6c86dequzC67TvGibUoQCs4oR/x a",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPiZKDul2ikGvHAQlTiEPtJ2InuI3q00oBq8jJQr5a7d b",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINzwDyHDV4tv9PUa9I3R2bXIEV4W/nKlljBRCNdkksCT c",
];

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

impl Scene {
    /// `who` has the role; `other` is a member, `third` another.
    pub(super) async fn open(role: Role) -> Self {
        let portal = Portal::open().await;
        let who = add(&portal, "who", role).await;
        let other = add(&portal, "other", Role::Member).await;
        let group = |name: &str, people: &[&str]| {
            portal.state.control.add_group(label(name), None, people.iter().map(|p| label(p)).collect(), noon())
        };
        group("theirs", &["who", "other"]).await.unwrap();
        group("elsewhere", &["other"]).await.unwrap();
        let ids = furnish(&portal, &who, &other).await;
        Self { portal, who, ids }
    }

    pub(super) fn samples(&self, action: Action) -> Samples {
        let devices = |method: &str| {
            self.each(&[(Relation::Own, "own-pi"), (Relation::Others, "their-pi")], |name| {
                (format!("/devices/{name}{method}"), json!({}))
            })
        };
        let services = |path: &str, body: &Value| {
            let all = [(Relation::Own, "own-pi"), (Relation::Usable, "their-pi"), (Relation::Others, "far-pi")];
            self.each(&all, |name| (path.replace('@', &format!("{name}/web")), body.clone()))
        };
        let people = |path: &str, body: &Value| {
            self.each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                (path.replace('@', name), body.clone())
            })
        };
        let Ids { own_session, guest_session, others_session, own_request, guest_request, others_request, .. } =
            &self.ids;
        let Ids { own_invite, others_invite, own_token, others_token, own_share, usable_share, others_share, .. } =
            &self.ids;
        let sessions = |path: &str| {
            let all = [
                (Relation::Own, own_session.to_string()),
                (Relation::OnOwnDevice, guest_session.to_string()),
                (Relation::Others, others_session.to_string()),
            ];
            self.each(&all.each_ref().map(|(r, id)| (*r, id.as_str())), |id| (path.replace('@', id), json!({})))
        };
        let requests =
            [(Relation::Own, own_request), (Relation::OnOwnDevice, guest_request), (Relation::Others, others_request)];
        let asked = |path: &str| {
            let all = requests.map(|(relation, id)| (relation, id.to_string()));
            self.each(&all.each_ref().map(|(r, id)| (*r, id.as_str())), |id| (path.replace('@', id), json!({})))
        };
        let named = |relation, name: &str| (relation, Value::from(name));
        match action {
            Action::DescribeApi => whole("/openapi.json"),
            Action::ShowStatus => whole("/status"),
            Action::PrepareSuccessor => whole("/site-key/successor"),
            Action::ActivateSuccessor => Samples::Whole { path: "/site-key/activate", body: json!({"anyway": true}) },
            Action::ShowAuthority => whole("/authority"),
            Action::RenewAuthority => whole("/authority/renew"),
            Action::ShowSshAuthority => whole("/ssh-authority"),
            Action::ShowSshHostKeys => whole("/ssh-host-keys"),
            Action::Backup => Samples::Whole { path: "/backup", body: json!({"path": "relative"}) },
            Action::ListAudit => whole("/audit"),
            Action::CopyAudit => whole("/audit/part"),
            Action::VerifyAudit => whole("/audit/verify"),
            Action::ListAlerts => whole("/alerts"),
            Action::TestAlerts => whole("/alerts/test"),
            Action::MakeOwnerLink => whole("/owner-link"),
            Action::LinkPerson => whole("/people/other/link"),
            Action::ImportPeople => Samples::Whole { path: "/people/import", body: json!({"csv": "name\nnovice\n"}) },
            Action::InvitePeople => whole("/invitations"),
            Action::ListInvitations => whole("/invitations"),
            Action::RevokeInvitation => whole("/invitations/1"),
            Action::AddPerson => Samples::Whole { path: "/people", body: json!({"name": "newcomer"}) },
            Action::AddGroup => Samples::Whole { path: "/groups", body: json!({"name": "newgroup"}) },
            Action::EditGroup | Action::RemoveGroup => Samples::Whole { path: "/groups/theirs", body: json!({}) },
            Action::CreateInvite => self.each(&[(Relation::Own, "own-pi"), (Relation::Others, "their-pi")], |name| {
                ("/invites".to_owned(), json!({"replaces": name}))
            }),
            Action::ListDevices => Samples::List {
                path: "/devices",
                member: "/name",
                items: vec![
                    named(Relation::Own, "own-pi"),
                    named(Relation::Others, "their-pi"),
                    named(Relation::Others, "far-pi"),
                ],
            },
            Action::EditDevice => devices(""),
            Action::RevokeDevice => devices("/revoke"),
            Action::ReplaceDevice => devices("/replace"),
            Action::ShowDeviceLog => devices("/log"),
            Action::RestartDevice => devices("/restart"),
            Action::ListInvites => Samples::List {
                path: "/invites",
                member: "/id",
                // By the first one their device joined.
                items: vec![
                    (Relation::Own, 1.into()),
                    (Relation::Own, (*own_invite).into()),
                    (Relation::Others, (*others_invite).into()),
                ],
            },
            Action::RevokeInvite => {
                let all = [(Relation::Own, own_invite.to_string()), (Relation::Others, others_invite.to_string())];
                self.each(&all.each_ref().map(|(r, id)| (*r, id.as_str())), |id| (format!("/invites/{id}"), json!({})))
            }
            Action::ListServices => Samples::List {
                path: "/services",
                member: "/device",
                items: vec![
                    named(Relation::Own, "own-pi"),
                    named(Relation::Usable, "their-pi"),
                    named(Relation::Others, "far-pi"),
                ],
            },
            Action::ShowService => services("/services/@", &json!({})),
            Action::SetAccess => services("/services/@/access", &json!({"who": "public"})),
            Action::PreviewAccess => services("/services/@/access/preview", &json!({"access": {"who": "public"}})),
            Action::GiveAccessBack => services("/services/@/access", &json!({})),
            Action::PreviewPeople => services("/services/@/people", &json!({})),
            Action::ReleaseService => services("/reservations/services/@", &json!({})),
            Action::ReleaseHost => self.each(
                // Nobody but the first account is granted names and ports yet.
                &[(Relation::Others, "far-pi")],
                |name| (format!("/reservations/hosts/web-{name}.example.org"), json!({})),
            ),
            Action::ReleasePort => {
                self.each(&[(Relation::Others, "20001")], |port| (format!("/reservations/ports/tcp/{port}"), json!({})))
            }
            Action::ListPeople => Samples::List {
                path: "/people",
                member: "/name",
                items: vec![
                    named(Relation::Own, "who"),
                    named(Relation::Others, "other"),
                    named(Relation::Others, "owner"),
                ],
            },
            Action::EditPerson => people("/people/@", &json!({"title": "Somebody"})),
            Action::RemovePerson => people("/people/@", &json!({})),
            Action::ExportPerson => people("/people/@/data", &json!({})),
            Action::ListGroups => Samples::List {
                path: "/groups",
                member: "/name",
                items: vec![named(Relation::Own, "theirs"), named(Relation::Others, "elsewhere")],
            },
            Action::ListShares => Samples::List {
                path: "/shares",
                member: "/id",
                items: vec![
                    (Relation::Own, (*own_share).into()),
                    (Relation::Usable, (*usable_share).into()),
                    (Relation::Others, (*others_share).into()),
                ],
            },
            Action::MakeShare => self.each(
                &[(Relation::Own, "own-pi"), (Relation::Usable, "their-pi"), (Relation::Others, "far-pi")],
                |name| ("/shares".to_owned(), json!({"service": format!("{name}/web")})),
            ),
            Action::RevokeShare => {
                let all = [
                    (Relation::Own, own_share.to_string()),
                    (Relation::Usable, usable_share.to_string()),
                    (Relation::Others, others_share.to_string()),
                ];
                self.each(&all.each_ref().map(|(r, id)| (*r, id.as_str())), |id| (format!("/shares/{id}"), json!({})))
            }
            Action::ListSessions => Samples::List {
                path: "/sessions",
                member: "/id",
                items: vec![
                    (Relation::Own, (*own_session).into()),
                    (Relation::OnOwnDevice, (*guest_session).into()),
                    (Relation::Others, (*others_session).into()),
                ],
            },
            Action::OpenSession => Samples::Objects(vec![
                opening(Relation::Own, "their-pi/web", Value::Null),
                opening(Relation::OnOwnDevice, "own-pi/web", "other".into()),
                opening(Relation::Others, "their-pi/web", "other".into()),
            ]),
            Action::ExtendSession => sessions("/sessions/@/extend"),
            Action::NoteSource => sessions("/sessions/@/sources"),
            Action::EndSession => sessions("/sessions/@"),
            Action::ListRequests => Samples::List {
                path: "/approvals",
                member: "/id",
                items: requests.iter().map(|(relation, id)| (*relation, (**id).into())).collect(),
            },
            Action::ApproveRequest => asked("/approvals/@/approve"),
            Action::RefuseRequest => asked("/approvals/@/refuse"),
            Action::LinkRequest => asked("/approvals/@/link"),
            Action::AnswerByLink => {
                Samples::Whole { path: "/approvals/by-link", body: json!({"token": "none", "approve": true}) }
            }
            Action::ShowLine => services("/services/@/line", &json!({})),
            Action::LeaveLine => Samples::Objects(vec![
                leaving(Relation::Own, "their-pi/web", "who"),
                leaving(Relation::OnOwnDevice, "own-pi/web", "other"),
                leaving(Relation::Others, "their-pi/web", "other"),
            ]),
            Action::ListSshKeys => Samples::List {
                path: "/ssh-keys",
                member: "/person",
                items: vec![named(Relation::Own, "who"), named(Relation::Others, "other")],
            },
            Action::AddSshKeys => self.each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                ("/ssh-keys".to_owned(), json!({"person": name, "keys": KEYS[2]}))
            }),
            Action::RemoveSshKey => {
                let print = |n: usize| KeyFingerprint::of(&key(n)).to_string().replace('/', "%2F");
                let all = [(Relation::Own, print(0)), (Relation::Others, print(1))];
                let each = |(relation, print): &(Relation, String)| Sample {
                    relation: *relation,
                    path: format!("/ssh-keys/{print}"),
                    body: json!({}),
                    name: None,
                };
                Samples::Objects(all.iter().map(each).collect())
            }
            Action::MakeSshPassword => self
                .each(&[(Relation::Own, "own-pi"), (Relation::Others, "their-pi")], |name| {
                    ("/ssh-passwords".to_owned(), json!({"device": name}))
                }),
            Action::ListSshCertificates => Samples::List {
                path: "/ssh-certificates",
                member: "/person",
                items: vec![named(Relation::Own, "who"), named(Relation::Others, "other")],
            },
            Action::CertifySshKey => self.each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                ("/ssh-certificates".to_owned(), json!({"person": name, "key": KEYS[2], "seconds": 60}))
            }),
            Action::RevokeSshCertificate => self.each(&[(Relation::Own, "1"), (Relation::Others, "2")], |n| {
                (format!("/ssh-certificates/{n}"), json!({}))
            }),
            Action::ListTokens => Samples::List {
                path: "/tokens",
                member: "/person",
                items: vec![named(Relation::Own, "who"), named(Relation::Others, "other")],
            },
            Action::MakeToken => self.each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                ("/tokens".to_owned(), json!({"title": "a script", "scope": "read", "person": name}))
            }),
            Action::RevokeToken => {
                let all = [(Relation::Own, own_token.to_string()), (Relation::Others, others_token.to_string())];
                self.each(&all.each_ref().map(|(r, id)| (*r, id.as_str())), |id| (format!("/tokens/{id}"), json!({})))
            }
            Action::ListBuilds => whole("/builds"),
            Action::ListAdditions => devices("/additions"),
            Action::AddService => self.each(&[(Relation::Own, "own-pi"), (Relation::Others, "their-pi")], |name| {
                (format!("/devices/{name}/additions"), json!({"name": "new", "target": "tcp://127.0.0.1:22"}))
            }),
            Action::RemoveAddition => devices("/additions/wished"),
            Action::ShowScan | Action::ScanDevice => devices("/scan"),
            Action::ShowInspection | Action::StopInspecting => services("/services/@/inspection", &json!({})),
            Action::Inspect => services("/services/@/inspection", &json!({"minutes": 5})),
            Action::ReplayRequest => services("/services/@/inspection/1/replay", &json!({})),
            Action::ListClientCertificates => Samples::List {
                path: "/client-certificates",
                member: "/person",
                items: vec![named(Relation::Own, "who"), named(Relation::Others, "other")],
            },
            Action::MakeClientCertificate => self
                .each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                    ("/client-certificates".to_owned(), json!({"title": "a phone", "person": name}))
                }),
            Action::RevokeClientCertificate => {
                let (own, others) = (self.ids.own_certificate.to_string(), self.ids.others_certificate.to_string());
                self.each(&[(Relation::Own, &own), (Relation::Others, &others)], |id| {
                    (format!("/client-certificates/{id}"), json!({}))
                })
            }
            Action::ListKnockKeys => Samples::List {
                path: "/knock-keys",
                member: "/person",
                items: vec![named(Relation::Own, "who"), named(Relation::Others, "other")],
            },
            Action::MakeKnockKey => self.each(&[(Relation::Own, "who"), (Relation::Others, "other")], |name| {
                ("/knock-keys".to_owned(), json!({"name": "tablet", "person": name}))
            }),
            Action::RemoveKnockKey => {
                let (own, others) = (self.ids.own_knock_key.to_string(), self.ids.others_knock_key.to_string());
                self.each(&[(Relation::Own, &own), (Relation::Others, &others)], |id| {
                    (format!("/knock-keys/{id}"), json!({}))
                })
            }
            Action::WatchEvents => Samples::Events("/events"),
        }
    }

    fn each(&self, all: &[(Relation, &str)], request: impl Fn(&str) -> (String, Value)) -> Samples {
        let sample = |(relation, name): &(Relation, &str)| {
            let (path, body) = request(name);
            Sample { relation: *relation, path, body, name: Some((*name).to_owned()) }
        };
        Samples::Objects(all.iter().map(sample).collect())
    }
}

fn whole(path: &'static str) -> Samples {
    Samples::Whole { path, body: json!({}) }
}

fn opening(relation: Relation, service: &str, person: Value) -> Sample {
    let mut body = json!({"service": service});
    if !person.is_null() {
        body["person"] = person.clone();
    }
    let name = person.as_str().map(str::to_owned);
    Sample { relation, path: "/sessions".to_owned(), body, name }
}

fn leaving(relation: Relation, service: &str, person: &str) -> Sample {
    let path = format!("/services/{service}/line/{person}");
    Sample { relation, path, body: json!({}), name: Some(person.to_owned()) }
}

fn key(n: usize) -> PublicKey {
    KEYS[n].parse().unwrap()
}

pub(super) async fn add(portal: &Portal, name: &str, role: Role) -> Arc<Person> {
    let new = NewPerson { name: label(name), title: None, role, ends_at: None };
    portal.state.control.add_person(new, noon()).await.unwrap()
}

pub(super) async fn token(
    portal: &Portal,
    person: &Person,
    scope: Scope,
    services: Option<Vec<ServiceId>>,
) -> NewLogin {
    let (limits, length) = (TokenLimits { scope, services }, SignedDuration::from_hours(1));
    let request = TokenRequest { account: person.id, title: "a script".to_owned(), limits, length, source: None };
    portal.state.control.make_token(request, noon()).await.unwrap()
}

/// Devices of both, each with a service that a session opens: `far-pi`'s is not for `who`.
async fn furnish(portal: &Portal, who: &Person, other: &Person) -> Ids {
    let control = &portal.state.control;
    for (n, (name, account, people)) in [
        ("own-pi", who.id, r#"["other"]"#),
        ("their-pi", other.id, r#"["who", "other"]"#),
        ("far-pi", accounts::OWNER, r#"["other"]"#),
    ]
    .into_iter()
    .enumerate()
    {
        let device = portal.join_for(account, u8::try_from(n).unwrap() + 1, name).await;
        let access =
            format!(r#""access": {{"who": "people", "people": {people}, "how": "on-request", "share-links": "7d"}}"#);
        let web = format!(r#"{{"name": "web", "kind": "http", {access}}}"#);
        let raw = r#"{"name": "raw", "kind": "tcp", "entrances": [{"tcp-port": 20001}]}"#;
        let agreed = format!(
            r#""access": {{"who": "people", "people": {people}, "how": "on-request", "approval": {{"by": "staff"}}}}"#
        );
        let lab = format!(r#"{{"name": "lab", "kind": "http", {agreed}}}"#);
        let offered: &[&str] = if account == accounts::OWNER { &[&web, &lab, raw] } else { &[&web, &lab] };
        control.register(device.id, offers(offered), noon()).await.unwrap();
        let target = "tcp://127.0.0.1:22".to_owned();
        let wish = Addition { name: label("wished"), title: None, target, preset: None };
        control.add_service(device.id, wish, noon()).await.unwrap();
    }
    let session = async |account: AccountId, device: &str| -> SessionId {
        let snapshot = control.snapshot();
        let device = snapshot.device_by_name(&label(device)).unwrap().id;
        let service = snapshot.service_of(device, &label("web")).unwrap().id;
        let length = SignedDuration::from_mins(30);
        let request = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
        control.open_session(request, noon()).await.unwrap().id
    };
    let request = async |account: AccountId, device: &str| -> i64 {
        let snapshot = control.snapshot();
        let device = snapshot.device_by_name(&label(device)).unwrap().id;
        let service = snapshot.service_of(device, &label("lab")).unwrap().id;
        let length = SignedDuration::from_mins(30);
        let request = SessionRequest { account, service, length, source: None, id: None, proofs: Vec::new() };
        match control.request_session(request, noon()).await.unwrap() {
            Opening::Asked(request) => request.id.0,
            other => panic!("{other:?}"),
        }
    };
    let invite =
        async |account: AccountId| control.create_invite(account, InviteRequest::default(), noon()).await.unwrap().0.0;
    let certificate = async |account: AccountId| {
        let (title, length) = ("a phone".to_owned(), SignedDuration::from_hours(1));
        let request = ClientCertificateRequest { account, title, length, source: None };
        control.make_certificate(request, noon()).await.unwrap().id.0
    };
    let knock_key = async |account: AccountId| {
        let request = KnockKeyRequest { account, name: label("phone"), services: Vec::new(), may_be_seen: false };
        control.make_knock_key(request, noon()).await.unwrap().id.0
    };
    for (n, person) in [who, other].into_iter().enumerate() {
        control.add_ssh_keys(NewHolder::Person(person.name.clone()), vec![key(n)], noon()).await.unwrap();
        let wish = CertificateWish {
            person: person.name.clone(),
            key: key(n),
            span: SignedDuration::from_hours(1),
            sources: Vec::new(),
        };
        control.certify(wish, noon()).await.unwrap();
    }
    let share = async |account: AccountId, device: &str| -> i64 {
        let snapshot = control.snapshot();
        let device = snapshot.device_by_name(&label(device)).unwrap().id;
        let service = snapshot.service_of(device, &label("web")).unwrap().id;
        let (title, length) = (String::new(), SignedDuration::from_hours(1));
        let wish = ShareWish { title, length, uses: None, is_read_only: true, has_pin: false };
        control.make_share(service, account, wish, noon()).await.unwrap().share.id.0
    };
    control.invite_people(InvitationRequest::default(), noon()).await.unwrap();
    Ids {
        own_session: session(who.id, "their-pi").await.0,
        guest_session: session(other.id, "own-pi").await.0,
        others_session: session(other.id, "far-pi").await.0,
        own_request: request(who.id, "their-pi").await,
        guest_request: request(other.id, "own-pi").await,
        others_request: request(other.id, "far-pi").await,
        own_invite: invite(who.id).await,
        others_invite: invite(other.id).await,
        own_share: share(who.id, "own-pi").await,
        usable_share: share(other.id, "their-pi").await,
        others_share: share(accounts::OWNER, "far-pi").await,
        own_token: token(portal, who, Scope::Read, None).await.id.0,
        others_token: token(portal, other, Scope::Read, None).await.id.0,
        own_certificate: certificate(who.id).await,
        others_certificate: certificate(other.id).await,
        own_knock_key: knock_key(who.id).await,
        others_knock_key: knock_key(other.id).await,
    }
}
