//! The crontab, and the processes that its line starts.

use super::{CRONTAB, Lab, options, write_program};
use crate::install::{Flavour, InstallOptions, Part, install_on, preview, uninstall_on};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_crontab_gets_one_line_and_keeps_all_others() {
    let lab = Lab::new(false);
    lab.program("crontab", CRONTAB);
    let table = lab.machine.search[0].join("table");
    let own = "# my jobs\n5 4 * * * /usr/bin/backup # doorward-agents are saved too\n";
    fs::write(&table, own).unwrap();
    let agent = InstallOptions { start: false, ..options(Part::Agent, Flavour::Cron) };
    install_on(&lab.machine, &agent).unwrap();
    install_on(&lab.machine, &agent).unwrap();
    let line = preview(&agent).unwrap();
    assert_eq!(fs::read_to_string(&table).unwrap(), format!("{own}{line}"));
    let other = InstallOptions { config: Some("/etc/other.toml".into()), ..agent.clone() };
    install_on(&lab.machine, &other).unwrap();
    assert_eq!(fs::read_to_string(&table).unwrap(), format!("{own}{}", preview(&other).unwrap()));
    uninstall_on(&lab.machine, &agent).unwrap();
    assert_eq!(fs::read_to_string(&table).unwrap(), own);
}

#[test]
fn a_crontab_that_cannot_be_read_is_not_overwritten() {
    let lab = Lab::new(false);
    lab.program(
        "crontab",
        "#!/bin/sh\n[ $1 = -l ] && { echo 'You are not allowed to use this' >&2; exit 1; }\ntouch \"$0.written\"\n",
    );
    let error = install_on(&lab.machine, &options(Part::Agent, Flavour::Cron)).unwrap_err();
    assert!(format!("{error:#}").contains("not allowed"), "{error:#}");
    assert!(!lab.machine.search[0].join("crontab.written").exists());
}

#[test]
fn the_crontab_s_command_runs_restarts_and_ends_with_everything_that_it_started() {
    let lab = Lab::new(false);
    lab.program("crontab", CRONTAB);
    let pids = lab.directory.path().join("pids");
    let program = lab.directory.path().join("doorward");
    write_program(&program, &format!("#!/bin/sh\necho $$ >> {}\nexec sleep 1000\n", pids.display()));
    lab.put(program.to_str().unwrap(), ""); // Where the machine looks for it.
    let agent = InstallOptions { program: Some(program), ..options(Part::Agent, Flavour::Cron) };
    install_on(&lab.machine, &agent).unwrap();
    let text = || fs::read_to_string(&pids).unwrap_or_default();
    wait_until(|| text().ends_with('\n'));
    install_on(&lab.machine, &agent).unwrap();
    assert_eq!(text().lines().count(), 1, "what runs is not started again");
    let is_running = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    assert!(is_running(text().trim()));
    uninstall_on(&lab.machine, &agent).unwrap();
    wait_until(|| !is_running(text().trim()));
    assert!(!lab.machine.search[0].join("table").exists(), "an empty crontab is removed");
}

/// Real processes end when they end; there is nothing to be told by.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come about");
        std::thread::yield_now();
    }
}
