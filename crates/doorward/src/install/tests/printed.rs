//! What is written, as text: for packages, for shells and for systemd's own judgement.

use super::options;
use crate::install::{Flavour, InstallOptions, Part, preview};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn packages_get_what_print_prints() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let places = [
        (Flavour::Systemd, "systemd/system", ".service"),
        (Flavour::SystemdUser, "systemd/user", ".service"),
        (Flavour::Procd, "openwrt", ""),
    ];
    for (flavour, directory, ending) in places {
        for part in Part::ALL.into_iter().filter(|part| part.can_be(flavour)) {
            let file = packaging.join(directory).join(format!("{}{ending}", part.service_name()));
            let there = fs::read_to_string(&file).unwrap_or_default();
            let printed = preview(&options(part, flavour)).unwrap();
            assert_eq!(there, printed, "{} is out of date: see packaging/README.md", file.display());
        }
    }
}

#[test]
fn a_routers_firewall_is_no_matter_of_one_user() {
    for flavour in [Flavour::SystemdUser, Flavour::Cron] {
        let refused = preview(&options(Part::Router, flavour)).unwrap_err().to_string();
        assert!(refused.contains("is for root"), "{refused}");
    }
    let unit = preview(&options(Part::Router, Flavour::Systemd)).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/doorward router\n"), "{unit}");
    assert_eq!(unit.matches("CAP_").count(), 2, "one right: {unit}");
}

#[test]
fn files_are_passed_on_quoted_and_the_invite_as_a_credential() {
    let with_files = InstallOptions {
        config: Some("/etc/my doors/agent.toml".into()),
        invite_file: Some("/boot/doorward.invite".into()),
        ..options(Part::Agent, Flavour::Systemd)
    };
    let print = |flavour| preview(&InstallOptions { flavour: Some(flavour), ..with_files.clone() }).unwrap();
    let unit = print(Flavour::Systemd);
    let command = "\nExecStart=/usr/bin/doorward agent --config \"/etc/my doors/agent.toml\" \
                   --invite-file ${CREDENTIALS_DIRECTORY}/invite\n";
    assert!(unit.contains(command), "{unit}");
    assert!(unit.contains("\nLoadCredential=invite:/boot/doorward.invite\nSetCredential=invite:none\n"), "{unit}");
    let shell = "/usr/bin/doorward agent --config '/etc/my doors/agent.toml' --invite-file /boot/doorward.invite";
    assert!(print(Flavour::Procd).contains(&format!("procd_set_param command {shell}\n")));
    assert_eq!(
        print(Flavour::Cron),
        format!(
            "@reboot {{ while :; do {shell}; sleep 5; done; }} 2>&1 \
             | {{ logger -t doorward-agent || cat; }} >/dev/null # doorward-agent\n"
        )
    );
}

#[test]
fn a_path_that_would_mean_something_else_is_refused() {
    for path in ["/etc/a$b", "/etc/100%", "/etc/it's", "/etc/a\nExecStart=/bin/sh", "/etc/\"", "/etc/`id`", "/a\\b"] {
        for flavour in Flavour::ALL {
            let bad = InstallOptions { config: Some(path.into()), ..options(Part::Agent, flavour) };
            assert!(preview(&bad).is_err(), "{path:?}");
        }
    }
    let gateway = InstallOptions { invite_file: Some("/x".into()), ..options(Part::Gateway, Flavour::Systemd) };
    assert!(preview(&gateway).unwrap_err().to_string().contains("only an agent"));
}

#[test]
fn systemd_accepts_the_units_and_finds_little_exposed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing (apt-get install systemd)");
        return eprintln!("skipped: there is no systemd-analyze here (apt-get install systemd)");
    }
    let directory = tempfile::tempdir().unwrap();
    let invite = Some("/boot/invite".into());
    let wishes = [(Part::Agent, None), (Part::Agent, invite), (Part::Gateway, None), (Part::Router, None)];
    for (part, invite_file) in wishes {
        let flavours = [(Flavour::Systemd, "--system"), (Flavour::SystemdUser, "--user")];
        for (flavour, scope) in flavours.into_iter().filter(|(flavour, _)| part.can_be(*flavour)) {
            let file = directory.path().join(format!("{}.service", part.service_name()));
            let program = Some("/bin/true".into());
            let wish = InstallOptions { program, invite_file: invite_file.clone(), ..options(part, flavour) };
            fs::write(&file, preview(&wish).unwrap()).unwrap();
            let (_, words) = analyze(&directory, &[scope, "verify", "--man=no"], &file);
            assert!(!words.contains(part.service_name()) && !words.contains("Failed"), "{words}");
            if flavour == Flavour::Systemd {
                // Tenths; systemd calls up to 50 "OK", and an ordinary service has 90 or more.
                let command = ["security", "--offline=true", "--threshold=20", "--no-pager"];
                let (is_below, words) = analyze(&directory, &command, &file);
                println!("{}", words.lines().last().unwrap_or_default());
                assert!(is_below, "{words}");
            }
        }
    }
}

/// Whether it is content, and what it says.
fn analyze(runtime: &TempDir, arguments: &[&str], file: &Path) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).arg(file).env("XDG_RUNTIME_DIR", runtime.path()).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}
