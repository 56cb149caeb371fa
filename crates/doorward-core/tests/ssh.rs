//! The committed table of what SSH clients may ask: credentials × user names × requests → meaning. A change shows as a
//! diff of `ssh.golden.txt`; accept it knowingly with `UPDATE_GOLDEN=1 cargo test -p doorward-core --test ssh`.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::Secret;
use doorward_core::invite::Invite;
use doorward_core::names::Label;
use doorward_core::site::{Address, Fingerprint};
use doorward_core::ssh::certificate::{Certificate, Issued};
use doorward_core::ssh::{Identity, Meaning, PublicKey, Purpose, Request, meaning};
use std::fmt::Write;

const USERS: [&str; 4] = ["zumi01", "cam", "pi", "Pi User"];

/// Each credential, and whom it proves with this user name.
fn credentials(user: &str) -> [(&'static str, Option<Identity>); 5] {
    let label = |name| Label::parse(name).unwrap();
    let password = |purpose: Purpose| purpose.identity(&label("zumi01"), user);
    [
        ("the key of device zumi01", Some(Identity::Device(label("zumi01")))),
        ("a key of anna's", Some(Identity::Person(label("anna")))),
        ("a key that nobody knows, or none", Some(Identity::Guest)),
        ("a token of device zumi01's, as password", password(Purpose::Token)),
        ("a sender key for port 5454 of zumi01, as password", password(Purpose::SenderKey { port: 5454 })),
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
        ("localhost", 5454),
        ("zumi01", 5454),
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
        "sleep 86400",
        "sleep 86401",
        "sleep 60; id",
        "sleep -1",
        "sleep",
        "",
        "open zumi01/jupyter",
        "open  ZUMI01/jupyter --for 1h30m",
        "open --for 5m zumi01/jupyter",
        "open zumi01/jupyter --take-over --for 5m",
        "leave zumi01/jupyter",
        "leave zumi01",
        "requests",
        "requests 7",
        "approve 7",
        "refuse 7",
        "approve seven",
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
        Meaning::AskForInvite => "is asked for the invite".to_owned(),
        Meaning::Show => "is shown what there is".to_owned(),
        Meaning::Hold(time) => format!("is held for {time:?}"),
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
    for at in 0..credentials("").len() {
        for user in USERS {
            let (whose, identity) = &credentials(user)[at];
            writeln!(table, "\n## {whose}, user name \"{user}\"\n").unwrap();
            for (asked, request) in requests(&join) {
                let said = identity.as_ref().map(|identity| words(&meaning(identity, user, request)));
                let said = said.unwrap_or_else(|| "does not get in".to_owned());
                writeln!(table, "{asked:<32} {said}").unwrap();
                rows += 1;
            }
        }
    }
    assert_eq!(rows, 5 * 4 * 75);
    is_as_committed(&table, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh.golden.txt"));
}

fn is_as_committed(table: &str, file: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, table).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    for (number, (now, before)) in table.lines().zip(committed.lines()).enumerate() {
        assert_eq!(now, before, "line {}", number + 1);
    }
    assert_eq!(table.len(), committed.len());
}

fn key(n: u8) -> PublicKey {
    let blob = [&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &[n; 32]].concat();
    PublicKey::from_blob(&blob).unwrap()
}

/// Of alex, from 1000 to 5000 seconds after 1970.
fn certificate(change: impl FnOnce(&mut Certificate)) -> Certificate {
    let mut certificate = Certificate {
        is_of_a_user: true,
        serial: 7,
        key: key(1),
        signed_by: key(9),
        principals: vec!["alex".to_owned()],
        valid_after: 1000,
        valid_before: 5000,
        critical_options: Vec::new(),
    };
    change(&mut certificate);
    certificate
}

fn options(options: &[(&str, &str)]) -> impl FnOnce(&mut Certificate) + use<> {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    |certificate| certificate.critical_options = options
}

fn principals(names: &[&str]) -> impl FnOnce(&mut Certificate) + use<> {
    let names = names.iter().map(ToString::to_string).collect();
    |certificate| certificate.principals = names
}

#[test]
fn every_certificate_counts_as_is_committed() {
    let alex = Issued { serial: 7, person: Label::parse("alex").unwrap(), key: key(1) };
    let other = |change: fn(&mut Issued)| {
        let mut issued = alex.clone();
        change(&mut issued);
        Some(issued)
    };
    let networks = |list| options(&[("source-address", list)]);
    let own = || Some(alex.clone());
    let rows = [
        ("as it was made", certificate(|_| ()), own()),
        ("serial taken back or never given", certificate(|_| ()), None),
        ("record of another serial", certificate(|_| ()), other(|issued| issued.serial = 8)),
        ("record of another key", certificate(|_| ()), other(|issued| issued.key = key(2))),
        ("another key in it", certificate(|c| c.key = key(2)), own()),
        ("record of another person", certificate(|_| ()), other(|issued| issued.person = Label::parse("ben").unwrap())),
        ("signed by a stranger", certificate(|c| c.signed_by = key(8)), own()),
        ("signed by its own key", certificate(|c| c.signed_by = key(1)), own()),
        ("a host's", certificate(|c| c.is_of_a_user = false), own()),
        ("for nobody in particular", certificate(principals(&[])), own()),
        ("for somebody else", certificate(principals(&["ben"])), own()),
        ("for two", certificate(principals(&["alex", "root"])), own()),
        ("for ALEX", certificate(principals(&["ALEX"])), own()),
        ("force-command", certificate(options(&[("force-command", "true")])), own()),
        ("verify-required", certificate(options(&[("verify-required", "")])), own()),
        ("an option of tomorrow", certificate(options(&[("x@example.org", "")])), own()),
        ("source-address 192.0.2.0/24", certificate(networks("192.0.2.0/24")), own()),
        ("source-address 198.51.100.1,192.0.2.7", certificate(networks("198.51.100.1,192.0.2.7")), own()),
        ("source-address 198.51.100.0/24", certificate(networks("198.51.100.0/24")), own()),
        ("source-address empty", certificate(networks("")), own()),
        ("source-address !192.0.2.7", certificate(networks("!192.0.2.7")), own()),
        (
            "source-address twice",
            certificate(options(&[("source-address", "192.0.2.7"), ("source-address", "::1")])),
            own(),
        ),
        (
            "source-address and force-command",
            certificate(options(&[("source-address", "192.0.2.7"), ("force-command", "")])),
            own(),
        ),
        ("from 6000 to 5000", certificate(|c| c.valid_after = 6000), own()),
        ("for ever", certificate(|c| c.valid_before = u64::MAX), own()),
        ("from the end of time", certificate(|c| c.valid_after = u64::MAX), own()),
    ];
    let source = "::ffff:192.0.2.7".parse().unwrap();
    let mut table = String::from(
        "# Which certificates count. Made for alex, from second 1000 to second 5000; shown from 192.0.2.7.\n",
    );
    for (what, certificate, issued) in rows {
        writeln!(table, "\n{what}").unwrap();
        for now in [0, 999, 1000, 4999, 5000] {
            let now = jiff::Timestamp::from_second(now).unwrap();
            let answer = match certificate.certifies(&key(9), issued.as_ref(), source, now) {
                Ok(certified) => format!("{} until {}", certified.person, certified.until.as_second()),
                Err(refusal) => format!("no: {refusal}"),
            };
            writeln!(table, "  at {:<5} {answer}", now.as_second()).unwrap();
        }
    }
    is_as_committed(&table, concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ssh-certificates.golden.txt"));
}
