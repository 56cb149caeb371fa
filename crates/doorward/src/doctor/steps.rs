//! Whether the steps that make services ready could run: what they name is there, and nobody else may change it. None of
//! them is run.

use super::Finding;
use doorward_agent::{Deed, Service, Step};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(super) fn examine(services: &[Service]) -> Vec<Finding> {
    let plans = services.iter().filter_map(|service| Some((service, service.plan.as_ref()?)));
    let findings = plans.map(|(service, plan)| {
        let steps = plan.prepare.iter().chain(&plan.release);
        let name = service.offer.name.as_str();
        let wrong = steps.filter_map(|step| Some((step, wrong_with(step)?)));
        let wrong = wrong.map(|(step, (what, remedy))| {
            Finding::wrong("service", format!("{name}: {}: {what}", step.words()), remedy)
        });
        let wrong: Vec<_> = wrong.collect();
        if !wrong.is_empty() {
            return wrong;
        }
        let count = plan.prepare.len();
        let words = if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
        vec![Finding::fine("service", format!("{name}: {words} to make it ready, which could run"))]
    });
    findings.flatten().collect()
}

fn wrong_with(step: &Step) -> Option<(String, &'static str)> {
    match &step.deed {
        Deed::Command(command) => wrong_with_program(&command.program),
        Deed::Hook(hook) => wrong_with_secrets(hook.headers_from.as_deref()?),
        Deed::Wake(wake) => {
            let interface = wake.interface.as_ref()?;
            let is_there = Path::new("/sys/class/net").join(interface).exists();
            (!is_there).then(|| (format!("there is no interface {interface}"), "name one that `ip link` shows"))
        }
    }
}

fn wrong_with_program(program: &Path) -> Option<(String, &'static str)> {
    let (shown, found) = (program.display(), program.metadata());
    match found {
        Err(error) => Some((format!("{shown} cannot be run: {error}"), "correct its path in agent.toml")),
        Ok(found) if !found.is_file() || found.mode() & 0o111 == 0 => {
            Some((format!("{shown} is no program"), "name a program, and make it one with `chmod +x`"))
        }
        Ok(found) if found.mode() & 0o002 != 0 => {
            Some((format!("everybody may change {shown}"), "take that right away: `chmod o-w`"))
        }
        Ok(_) => None,
    }
}

fn wrong_with_secrets(file: &Path) -> Option<(String, &'static str)> {
    let shown = file.display();
    match std::fs::File::open(file).and_then(|file| file.metadata()) {
        Err(error) => Some((format!("{shown} cannot be read: {error}"), "give it to the agent's user")),
        Ok(found) if found.mode() & 0o077 != 0 => {
            Some((format!("others may read {shown}"), "take that right away: `chmod 600`"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words;
    use doorward_agent::Settings;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn steps_that_could_not_run_are_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let said = |steps: String| {
            let text = format!("[[service]]\nname = \"pc\"\ntarget = \"tcp://a:1\"\nprepare = [{steps}]\n");
            words(&examine(&Settings::parse(&text, Path::new("agent.toml")).unwrap().services))
        };
        let hook = |file: String| format!("{{ http = \"http://a/\", headers-from = \"{file}\" }}");
        let command = |file: String| format!("{{ command = [\"{file}\"] }}");
        for (steps, what) in [
            (command("/nonexistent/x".to_owned()), "correct its path"),
            (command(make("plain", 0o644)), "is no program"),
            (command(make("open", 0o757)), "chmod o-w"),
            (command(folder.path().display().to_string()), "is no program"),
            (hook("/nonexistent/x".to_owned()), "cannot be read"),
            (hook(make("shown", 0o644)), "chmod 600"),
            ("{ wake = \"00:11:22:33:44:55\", interface = \"nosuch0\" }".to_owned(), "there is no interface nosuch0"),
        ] {
            let said = said(steps);
            assert!(said.starts_with("WRONG") && said.contains(what) && said.contains("pc: "), "{what}: {said}");
        }
        let fine = said(format!("{}, {}", command(make("mine", 0o700)), hook(make("secret", 0o600))));
        assert!(fine.starts_with("fine") && fine.contains("pc: 2 steps"), "{fine}");
    }
}
