//! The committed table of who may do what: roles × how the object stands to them × actions → answer, and what tokens may.
//! A change shows as a diff of `authority.golden.txt`; accept it knowingly with
//! `UPDATE_GOLDEN=1 cargo test -p doorward-core --test authority`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::ServiceId;
use doorward_core::authority::{Action, Reach, Relation, Scope, TokenLimits, may, reach};
use doorward_core::person::Role;
use std::fmt::Write;

const ROLES: [Role; 3] = [Role::Owner, Role::Member, Role::Guest];

fn table() -> String {
    let mut table = String::from(
        "# Who may do what. Own: theirs. Device: another's, on a device or service of theirs. Usable: a service that lets them in.\n",
    );
    writeln!(table, "{:<24} {:<8} {:<5} {:<7} {:<7} {:<7} sees", "action", "role", "own", "device", "usable", "others")
        .unwrap();
    for action in Action::ALL {
        for role in ROLES {
            let answers = Relation::ALL.map(|relation| if may(role, relation, *action) { "may" } else { "no" });
            let sees = match reach(role, *action) {
                Reach::Everything => "everything",
                Reach::Some => "some of it",
                Reach::Nothing => "nothing",
            };
            let [own, device, usable, others] = answers;
            let (action, role) = (action.word(), role.word());
            writeln!(table, "{action:<24} {role:<8} {own:<5} {device:<7} {usable:<7} {others:<7} {sees}").unwrap();
        }
    }
    writeln!(table, "\n# What tokens may of what their person may.").unwrap();
    writeln!(table, "{:<24} {:<5} {:<9} {:<7} for certain services", "action", "read", "sessions", "manage").unwrap();
    for action in Action::ALL {
        let allows = |scope, services: Option<Vec<ServiceId>>| {
            if (TokenLimits { scope, services }).allow(*action) { "may" } else { "no" }
        };
        let [read, sessions, manage] = [Scope::Read, Scope::Sessions, Scope::Manage].map(|scope| allows(scope, None));
        let limited = allows(Scope::Manage, Some(vec![ServiceId(1)]));
        writeln!(table, "{:<24} {read:<5} {sessions:<9} {manage:<7} {limited}", action.word()).unwrap();
    }
    table
}

#[test]
fn who_may_do_what_is_as_committed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authority.golden.txt");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    assert_eq!(table.lines().count(), 2 + Action::ALL.len() * ROLES.len() + 3 + Action::ALL.len());
    for (number, (now, before)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, before, "line {}", number + 1);
    }
    assert_eq!(table.len(), committed.len());
}

#[test]
fn nobody_may_more_than_an_owner_nor_a_guest_more_than_a_member() {
    for action in Action::ALL {
        for relation in Relation::ALL {
            assert!(may(Role::Owner, relation, *action), "{action:?}");
            assert!(may(Role::Member, relation, *action) || !may(Role::Guest, relation, *action), "{action:?}");
        }
    }
}

#[test]
fn no_token_makes_another_or_becomes_somebody_and_a_wider_scope_includes_the_narrower() {
    let limits = |scope| TokenLimits { scope, services: None };
    for action in Action::ALL {
        let [read, sessions, manage] = [Scope::Read, Scope::Sessions, Scope::Manage].map(|s| limits(s).allow(*action));
        assert!(read <= sessions && sessions <= manage, "{action:?}");
    }
    for action in [Action::MakeToken, Action::MakeClientCertificate, Action::LinkPerson, Action::MakeOwnerLink] {
        assert!(!limits(Scope::Manage).allow(action), "{action:?}");
    }
}

#[test]
fn words_of_actions_are_different() {
    let mut words: Vec<_> = Action::ALL.iter().map(|action| action.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Action::ALL.len());
}
