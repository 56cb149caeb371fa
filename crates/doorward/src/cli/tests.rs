use super::*;
use crate::generate::{Shell, completions, man_page, man_pages};
use clap::{Arg, CommandFactory};

fn every_command(command: &clap::Command, visit: &mut impl FnMut(&clap::Command)) {
    visit(command);
    command.get_subcommands().for_each(|below| every_command(below, visit));
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn no_secret_can_be_given_on_the_command_line() {
    let is_secret = |arg: &Arg| {
        let names = [Some(arg.get_id().as_str()), arg.get_long()];
        names
            .into_iter()
            .flatten()
            .any(|name| ["password", "passphrase", "secret", "token"].iter().any(|s| name.contains(s)))
    };
    let mut seen = 0;
    every_command(&Cli::command(), &mut |command| {
        for arg in command.get_arguments().filter(|arg| is_secret(arg) && arg.get_action().takes_values()) {
            let value = arg.get_value_names().unwrap_or_default().first().map(|name| name.to_string());
            // A user's name, or a file; what is secret is asked for.
            let is_harmless = matches!(value.as_deref(), Some("USER" | "FILE"));
            assert!(is_harmless, "{} {}", command.get_name(), arg.get_id());
            seen += 1;
        }
    });
    assert_eq!(seen, 4, "access set --password, backup and restore --passphrase-file, login --token-file");
}

#[test]
fn only_raw_ports_are_offered_a_port() {
    for (word, offered) in [("http", false), ("camera", false), ("tcp", true), ("udp", true)] {
        let help = Cli::command().find_subcommand_mut(word).unwrap().render_long_help().to_string();
        assert_eq!(help.contains("--port"), offered, "{help}");
    }
}

#[test]
fn every_command_teaches_by_example() {
    let cli = Cli::command();
    let mut seen = 0;
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("doorward {}", command.get_name());
        assert!(help.contains("Examples:") && help.contains(&example), "{}", command.get_name());
        assert!(command.get_about().is_some(), "{}", command.get_name());
        assert!(help.lines().all(|line| line.chars().count() <= 80), "80 columns are enough: {help}");
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn examples_are_commands_that_can_be_given() {
    let mut seen = 0;
    every_command(&Cli::command(), &mut |command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  doorward ") || line.starts_with("  sudo doorward "))
        {
            // Up to the explanation or the shell's own part.
            let given = line.trim_start().trim_start_matches("sudo ").split("     ").next().unwrap_or_default();
            let given = given.split(['|', '<', '>']).next().unwrap_or_default().trim();
            let given = given.replace("$(date +%F)", "today");
            let words = split_words(given.split("    ").next().unwrap_or_default());
            if let Err(error) = Cli::try_parse_from(&words) {
                let is_help = !error.use_stderr();
                assert!(is_help, "{line}\n{error}");
            }
            seen += 1;
        }
    });
    assert!(seen > 40, "{seen}");
}

/// As a shell would, with double quotes.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('"').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = completions(shell);
        for word in ["invite", "site-key", "doctor", "passphrase-file"] {
            assert!(script.contains(word), "{shell:?}: {word}");
        }
    }
    assert!(man_page().unwrap().contains("doorward"));
    let directory = tempfile::tempdir().unwrap();
    let pages = man_pages(&directory.path().join("man1")).unwrap();
    let mut commands = 0;
    every_command(&Cli::command(), &mut |command| commands += usize::from(command.get_name() != "help"));
    assert_eq!(pages, commands);
    let page = std::fs::read_to_string(directory.path().join("man1/doorward-backup.1")).unwrap();
    assert!(page.contains("Examples"), "{page}");
}

#[test]
fn who_may_use_a_service_is_said_in_one_way() {
    let set = |words: &str| {
        let line = format!("doorward access zumi01/ssh set {words}");
        Cli::try_parse_from(split_words(&line)).is_ok()
    };
    for fine in [
        "--public --from 192.0.2.0/24",
        "--nobody",
        "--password anna --password ben",
        "--person anna --person ben --group robotics",
        "--group robotics --on-request --max-duration 2h --max-idle 15m",
    ] {
        assert!(set(fine), "{fine}");
    }
    for bad in [
        "",
        "--on-request",
        "--public --nobody",
        "--public --person anna",
        "--nobody --group robotics",
        "--password anna --group robotics",
        "--public --on-request",
        "--person anna --max-duration 2h",
        "--person anna --on-request --max-duration soon",
    ] {
        assert!(!set(bad), "{bad}");
    }
}
