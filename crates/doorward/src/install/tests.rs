//! Into a temporary file tree, with small scripts in the place of the system's programs.

mod cron;
mod printed;

use super::machine::Machine;
use super::{Flavour, InstallOptions, Part, install, install_on, preview, uninstall, uninstall_on};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Writes down how it was called.
const RECORDER: &str = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >> \"$(dirname \"$0\")/calls\"\n";
/// Keeps the crontab in a file, as crontab(1) does.
const CRONTAB: &str = "#!/bin/sh\nfile=\"$(dirname \"$0\")/table\"\ncase \"$1\" in\n\
    -l) [ -f \"$file\" ] || { echo 'no crontab for pi' >&2; exit 1; }; cat \"$file\";;\n\
    -r) rm \"$file\";;\n-) cat > \"$file\";;\nesac\n";

/// A machine that nobody lives on.
struct Lab {
    directory: TempDir,
    machine: Machine,
}

impl Lab {
    fn new(is_root: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let programs = directory.path().join("programs");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&programs).unwrap();
        let machine = Machine {
            root,
            is_image: false,
            is_root,
            home: "/home/pi".into(),
            config_home: "/home/pi/.config".into(),
            search: vec![programs],
        };
        let lab = Self { directory, machine };
        lab.put("/usr/bin/doorward", "#!/bin/sh\nsleep 1000\n");
        lab
    }

    fn put(&self, path: &str, text: &str) {
        write_program(&self.machine.at(Path::new(path)), text);
    }

    fn program(&self, name: &str, text: &str) {
        write_program(&self.machine.search[0].join(name), text);
    }

    fn calls(&self) -> Vec<String> {
        let file = self.machine.search[0].join("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        calls.lines().map(str::to_owned).collect()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.machine.at(Path::new(path))).unwrap()
    }

    /// Every file and link in the tree.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut directories = vec![self.machine.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let is_directory = entry.file_type().unwrap().is_dir();
                if is_directory { &mut directories } else { &mut found }.push(entry.path());
            }
        }
        found.sort();
        found
    }
}

fn write_program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn options(part: Part, flavour: Flavour) -> InstallOptions {
    let program = Some("/usr/bin/doorward".into());
    InstallOptions { flavour: Some(flavour), program, ..InstallOptions::new(part) }
}

#[test]
fn a_system_service_is_written_once_started_and_leaves_nothing() {
    let lab = Lab::new(true);
    lab.program("systemctl", RECORDER);
    let before = lab.files();
    let agent = options(Part::Agent, Flavour::Systemd);
    install_on(&lab.machine, &agent).unwrap();
    assert_eq!(lab.calls(), ["systemctl daemon-reload", "systemctl restart doorward-agent.service"]);
    let link = lab.machine.at(Path::new("/etc/systemd/system/multi-user.target.wants/doorward-agent.service"));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/etc/systemd/system/doorward-agent.service"));
    let (written, text) = (lab.files(), lab.read("/etc/systemd/system/doorward-agent.service"));
    assert!(text.starts_with(&preview(&agent).unwrap()) && text.contains("doorward uninstall agent"), "{text}");

    install_on(&lab.machine, &agent).unwrap();
    assert_eq!(lab.calls(), ["systemctl daemon-reload", "systemctl start doorward-agent.service"]);
    assert_eq!((lab.files(), lab.read("/etc/systemd/system/doorward-agent.service")), (written, text));

    fs::create_dir_all(lab.machine.at(Path::new("/var/lib/doorward/agent"))).unwrap();
    let report = uninstall_on(&lab.machine, &InstallOptions::new(Part::Agent)).unwrap();
    assert_eq!(lab.calls(), ["systemctl stop doorward-agent.service", "systemctl daemon-reload"]);
    assert_eq!(lab.files(), before);
    assert!(report.to_string().contains("/var/lib/doorward/agent stays"), "{report}");
    let report = uninstall_on(&lab.machine, &InstallOptions::new(Part::Agent)).unwrap();
    assert!(report.to_string().contains("Nothing"), "{report}");
}

#[test]
fn where_the_keys_really_are_is_said_with_what_removes_them() {
    let lab = Lab::new(true);
    lab.program("systemctl", RECORDER);
    install_on(&lab.machine, &options(Part::Agent, Flavour::Systemd)).unwrap();
    // As systemd makes it for a user of its own.
    let there = |path: &str| lab.machine.at(Path::new(path));
    lab.put("/var/lib/private/doorward/agent/main/device.key", "secret");
    fs::create_dir_all(there("/var/lib/doorward")).unwrap();
    std::os::unix::fs::symlink("../private/doorward/agent", there("/var/lib/doorward/agent")).unwrap();

    let report = uninstall_on(&lab.machine, &InstallOptions::new(Part::Agent)).unwrap();
    let [note] = report.notes.as_slice() else { panic!("{report}") };
    assert!(note.contains("stay in /var/lib/private/doorward/agent"), "{note}");
    let (_, command) = note.split_once("sudo ").expect("the command is said");
    let here = command.replace("/var", there("/var").to_str().unwrap());
    assert!(Command::new("sh").args(["-c", &here]).status().unwrap().success(), "{here}");
    for gone in ["/var/lib/private/doorward/agent", "/var/lib/doorward/agent"] {
        assert!(there(gone).symlink_metadata().is_err(), "{gone} is still there");
    }
}

#[test]
fn a_user_service_lingers_or_says_that_it_cannot() {
    let lab = Lab::new(false);
    lab.program("systemctl", RECORDER);
    lab.program("loginctl", "#!/bin/sh\necho 'Access denied' >&2\nexit 1\n");
    let before = lab.files();
    let report = install_on(&lab.machine, &options(Part::Agent, Flavour::SystemdUser)).unwrap().to_string();
    assert!(report.contains("sudo loginctl enable-linger") && report.contains("Access denied"), "{report}");
    assert_eq!(lab.calls(), ["systemctl --user daemon-reload", "systemctl --user restart doorward-agent.service"]);
    uninstall_on(&lab.machine, &InstallOptions::new(Part::Agent)).unwrap();
    assert_eq!(lab.files(), before);

    lab.program("loginctl", RECORDER);
    lab.calls();
    install_on(&lab.machine, &options(Part::Agent, Flavour::SystemdUser)).unwrap();
    assert_eq!(lab.calls().last().unwrap(), "loginctl enable-linger");
}

#[test]
fn what_systemctl_says_reaches_the_person() {
    let lab = Lab::new(true);
    lab.program("systemctl", "#!/bin/sh\n[ $1 = daemon-reload ] || { echo 'Job failed, see journal' >&2; exit 3; }\n");
    let error = install_on(&lab.machine, &options(Part::Gateway, Flavour::Systemd)).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("Job failed, see journal") && error.contains("restart doorward-gateway"), "{error}");
}

#[test]
fn a_file_of_somebody_else_is_neither_replaced_nor_removed() {
    let lab = Lab::new(true);
    lab.program("systemctl", RECORDER);
    let file = "/etc/systemd/system/doorward-agent.service";
    lab.put(file, "[Service]\nExecStart=/opt/own\n");
    let agent = options(Part::Agent, Flavour::Systemd);
    let error = install_on(&lab.machine, &agent).unwrap_err().to_string();
    assert!(error.contains("--force"), "{error}");
    uninstall_on(&lab.machine, &agent).unwrap();
    assert_eq!(lab.read(file), "[Service]\nExecStart=/opt/own\n");
    install_on(&lab.machine, &InstallOptions { force: true, ..agent }).unwrap();
    assert!(lab.read(file).contains("/usr/bin/doorward agent"));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let lab = Lab::new(true);
    lab.put("/etc/systemd", "a file where a directory belongs");
    let error = install_on(&lab.machine, &options(Part::Agent, Flavour::Systemd)).unwrap_err();
    assert!(format!("{error:#}").contains("/etc/systemd/system"), "{error:#}");
}

#[test]
fn a_copied_program_goes_with_the_last_service_that_uses_it() {
    let lab = Lab::new(true);
    lab.program("systemctl", RECORDER);
    let before = lab.files();
    let copied = |part| InstallOptions { copy: true, program: None, ..options(part, Flavour::Systemd) };
    install_on(&lab.machine, &copied(Part::Agent)).unwrap();
    install_on(&lab.machine, &copied(Part::Gateway)).unwrap();
    let copy = lab.machine.at(Path::new("/usr/local/bin/doorward"));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o755);
    // Done again by the copy itself, the copy stays noted.
    let by_itself = InstallOptions { program: Some("/usr/local/bin/doorward".into()), ..copied(Part::Agent) };
    install_on(&lab.machine, &by_itself).unwrap();

    let report = uninstall_on(&lab.machine, &InstallOptions::new(Part::Gateway)).unwrap();
    assert!(copy.exists() && report.to_string().contains("doorward-agent uses it"), "{report}");
    uninstall_on(&lab.machine, &InstallOptions::new(Part::Agent)).unwrap();
    assert_eq!(lab.files(), before);
}

#[test]
fn an_image_gets_all_that_starts_the_service_there() {
    let lab = Lab::new(true);
    lab.put("/usr/lib/systemd/systemd", "");
    let before = lab.files();
    let image = InstallOptions { root: Some(lab.machine.root.clone()), ..InstallOptions::new(Part::Agent) };
    let report = install(&image).unwrap();
    assert!(!report.to_string().contains("is started"), "{report}");
    assert!(lab.read("/etc/systemd/system/doorward-agent.service").contains("=/usr/bin/doorward agent\n"));
    assert_eq!(lab.files().len(), before.len() + 2);
    uninstall(&image).unwrap();
    assert_eq!(lab.files(), before);

    fs::remove_file(lab.machine.at(Path::new("/usr/bin/doorward"))).unwrap();
    install(&image).unwrap();
    assert!(lab.machine.at(Path::new("/usr/local/bin/doorward")).exists(), "an image without the program gets it");
}

#[test]
fn doubles_and_settings_that_the_service_cannot_read_are_pointed_out() {
    let lab = Lab::new(true);
    lab.program("systemctl", RECORDER);
    lab.program("crontab", CRONTAB);
    lab.put("/etc/doorward/agent.toml", "");
    install_on(&lab.machine, &InstallOptions { start: false, ..options(Part::Agent, Flavour::Cron) }).unwrap();
    let settings = lab.machine.at(Path::new("/etc/doorward/agent.toml"));
    fs::set_permissions(&settings, Permissions::from_mode(0o600)).unwrap();
    let report = install_on(&lab.machine, &options(Part::Agent, Flavour::Systemd)).unwrap().to_string();
    assert!(report.contains("chmod o+r /etc/doorward/agent.toml"), "{report}");
    assert!(report.contains("doorward uninstall agent --flavour cron"), "{report}");
    fs::set_permissions(&settings, Permissions::from_mode(0o644)).unwrap();
    let report = uninstall_on(&lab.machine, &options(Part::Agent, Flavour::Cron)).unwrap();
    assert_eq!(report.notes.len(), 1, "{report}");
    assert!(install_on(&lab.machine, &options(Part::Agent, Flavour::Systemd)).unwrap().notes.is_empty());
}

#[test]
fn the_flavour_is_what_starts_services_there() {
    let user = Lab::new(false);
    assert!(user.machine.flavour().is_err());
    user.program("crontab", CRONTAB);
    assert_eq!(user.machine.flavour().unwrap(), Flavour::Cron);
    fs::create_dir_all(user.machine.at(Path::new("/run/systemd/system"))).unwrap();
    assert_eq!(user.machine.flavour().unwrap(), Flavour::SystemdUser);
    let root = Lab::new(true);
    root.put("/etc/openwrt_release", "");
    assert_eq!(root.machine.flavour().unwrap(), Flavour::Procd);
    fs::create_dir_all(root.machine.at(Path::new("/run/systemd/system"))).unwrap();
    assert_eq!(root.machine.flavour().unwrap(), Flavour::Systemd);
}

#[test]
fn openwrt_gets_a_script_with_its_links() {
    let lab = Lab::new(true);
    let before = lab.files();
    let agent = InstallOptions { start: false, ..options(Part::Agent, Flavour::Procd) };
    install_on(&lab.machine, &agent).unwrap();
    let script = lab.machine.at(Path::new("/etc/init.d/doorward-agent"));
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    for link in ["S95doorward-agent", "K10doorward-agent"] {
        let link = lab.machine.at(&Path::new("/etc/rc.d").join(link));
        assert_eq!(fs::canonicalize(link).unwrap(), fs::canonicalize(&script).unwrap());
    }
    // The commands are recorded in the place of being done.
    let harness = "note() { echo \"$*\"; }; for f in mkdir chmod chown procd_open_instance procd_close_instance \
                   procd_set_param user_add procd_send_signal; do eval \"$f() { note $f \\\"\\$@\\\"; }\"; done
                   user_exists() { false; }; group_add_next() { echo 32768; }; . \"$1\"; start_service; reload_service";
    let output = Command::new("sh").args(["-c", harness, "sh"]).arg(&script).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    for line in [
        "user_add doorward-agent  32768",
        "chown -hR doorward-agent:doorward-agent /etc/doorward/state/agent",
        "procd_set_param command /usr/bin/doorward agent",
        "procd_set_param env STATE_DIRECTORY=/etc/doorward/state XDG_CONFIG_HOME=/etc",
        "procd_send_signal doorward-agent",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is not in\n{said}");
    }
    let report = uninstall_on(&lab.machine, &agent).unwrap();
    assert!(report.notes.is_empty() || report.notes[0].contains("may still run"), "{report}");
    assert_eq!(lab.files(), before);
}
