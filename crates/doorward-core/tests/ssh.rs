//! The committed table of what SSH clients may ask: credentials × user names × requests → meaning. A change shows as a
//! diff of `ssh.golden.txt`; accept it knowingly with `UPDATE_GOLDEN=1 cargo test -p doorward-core --test ssh`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::Secret;
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use doorward_core::site::{Address, Fingerprint};
use doorward_core::ssh::{Identity, Meaning, Request, meaning};
use std::fmt::Write;

const USERS: [&str; 4] = ["zumi01", "cam", "pi", "Pi User"];

fn identities() -> [(&'static str, Identity); 3] {
    let label = |name| Label::parse(name).unwrap();
    [
        ("the key of device zumi01", Identity::Device(label("zumi01"))),
        ("a key of anna's", Identity::Person(label("anna"))),
        ("a key that nobody knows, or none", Identity::Guest),
    ]
}

fn requests(join: &str) -> Vec<(String, Request<'_>)> {
    let forwards = [
        ("", 80),
        ("*", 443),
        ("localhost", 80),
        ("localhost", 8888),
        ("localhost", 22),
        ("", 0),
        ("0.0.0.0", 8080),
        ("printer1", 80),
        ("printer1", 443),
        ("Printer1", 80),
        ("zumi01", 80),
        ("printer1", 5000),
        ("printer1", 0),
        ("print_er", 80),
        ("printer1.gw.test", 80),
        ("192.0.2.1", 80),
        ("www", 80),
        ("printer1", 65536),
    ];
    let directs = [
        ("zumi01", 22),
        ("ZUMI01", 22),
        ("jupyter.zumi01", 1),
        ("jupyter-zumi01.gw.test", 443),
        ("127.0.0.1", 5454),
        ("localhost", 22),
        ("::1", 22),
        ("", 22),
        ("192.0.2.1", 22),
        ("10.0.0.1", 80),
        ("127.1", 80),
        ("2130706433", 80),
        ("::ffff:127.0.0.1", 80),
        ("zumi01", 0),
        ("zumi01", 65536),
        ("a b", 22),
        ("../x", 22),
    ];
    let mut all: Vec<_> = forwards
        .into_iter()
        .map(|(host, port)| (format!("-R {host}:{port}"), Request::Forward { host, port }))
        .chain(directs.into_iter().map(|(host, port)| (format!("-W {host}:{port}"), Request::Direct { host, port })))
        .collect();
    let commands = [
        "join DW1AAAA",
        "join",
        "sleep 60",
        "",
        "open zumi01/jupyter",
        "open  ZUMI01/jupyter --for 1h30m",
        "open --for 5m zumi01/jupyter",
        "open",
        "open zumi01",
        "open zumi01/jupyter --for ever",
        "open zumi01/jupyter --for",
        "open zumi01/jupyter 5m",
        "open ../jupyter",
        "sessions",
        "sessions all",
        "end 7",
        "end",
        "end seven",
        "end 7 8",
    ];
    let commands = commands.map(|command| (command, command)).into_iter();
    let commands = [("join INVITE", join)].into_iter().chain(commands);
    all.extend(commands.map(|(shown, command)| (format!("command \"{shown}\""), Request::Execute(command))));
    all.extend([
        ("shell".to_owned(), Request::Shell),
        ("sftp".to_owned(), Request::Subsystem("sftp")),
        ("a unix socket".to_owned(), Request::UnixSocket),
        ("X11".to_owned(), Request::Display),
        ("agent forwarding".to_owned(), Request::Agent),
    ]);
    all
}

fn words(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Offer(wanted) => format!("offers {} ({:?})", wanted.service, wanted.shape),
        Meaning::Reach(destination) => format!("wants {destination:?}"),
        Meaning::Join(_) => "joins".to_owned(),
        Meaning::Show => "is shown what there is".to_owned(),
        Meaning::Session(wish) => format!("wants {wish:?}"),
        Meaning::Refuse(refusal) => format!("no: {refusal}"),
    }
}

#[test]
fn every_request_means_what_is_committed() {
    let invite = Invite {
        addresses: vec![Address::parse("gw.test").unwrap()],
        site: Fingerprint([7; 32]),
        secret: Secret::new([9; 16]),
    };
    let join = format!("join {}", invite.to_text().expose());
    let (mut table, mut rows) = (String::from("# What SSH clients may ask.\n"), 0);
    for (whose, identity) in identities() {
        for user in USERS {
            writeln!(table, "\n## {whose}, user name \"{user}\"\n").unwrap();
            for (asked, request) in requests(&join) {
                writeln!(table, "{asked:<32} {}", words(&meaning(&identity, user, request))).unwrap();
                rows += 1;
            }
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh.golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    assert_eq!(rows, 3 * 4 * 60);
    for (number, (now, before)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, before, "line {}", number + 1);
    }
    assert_eq!(table.len(), committed.len());
}
