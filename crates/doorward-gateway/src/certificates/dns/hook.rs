//! A program of the owner's that makes and removes TXT records, in the manner of lego's `exec` provider
//! (go-acme.github.io/lego/dns/exec): `PROGRAM present FQDN VALUE`, later `PROGRAM cleanup FQDN VALUE`; the name ends
//! in a dot. The value is no secret.

use crate::certificates::settings::HookSettings;
use doorward_core::names::HostName;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

#[derive(Debug, Error)]
pub(in crate::certificates) enum HookError {
    #[error("{} cannot be started: {source}", program.display())]
    Start { program: PathBuf, source: std::io::Error },
    #[error("{} {verb} ended with {status}: {said}", program.display())]
    Failed { program: PathBuf, verb: &'static str, status: std::process::ExitStatus, said: String },
    #[error("{} {verb} did not end within {} s", program.display(), LIMIT.as_secs())]
    Late { program: PathBuf, verb: &'static str },
}

const LIMIT: Duration = Duration::from_secs(120);
/// Of what it says, this much is repeated.
const MAX_SAID: usize = 300;

pub(super) async fn run(
    settings: &HookSettings,
    verb: &'static str,
    name: &HostName,
    value: &str,
) -> Result<(), HookError> {
    let program = settings.program.clone();
    let mut command = Command::new(&program);
    command.args([verb, &format!("{name}."), value]).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(ended) = timeout(LIMIT, command.output()).await else { return Err(HookError::Late { program, verb }) };
    let output = ended.map_err(|source| HookError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().chars().take(MAX_SAID).collect();
    Err(HookError::Failed { program, verb, status: output.status, said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(folder: &std::path::Path, text: &str) -> HookSettings {
        let program = folder.join("hook");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        HookSettings { program, propagation: Duration::ZERO }
    }

    #[tokio::test]
    async fn it_is_called_as_lego_calls_it() {
        let folder = tempfile::tempdir().unwrap();
        let hook = program(folder.path(), "echo \"$# $1 $2 $3\" >> \"$(dirname \"$0\")/log\"");
        let name = HostName::parse("_acme-challenge.gw.net").unwrap();
        run(&hook, "present", &name, "-value").await.unwrap();
        run(&hook, "cleanup", &name, "-value").await.unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(log, "3 present _acme-challenge.gw.net. -value\n3 cleanup _acme-challenge.gw.net. -value\n");
    }

    #[tokio::test]
    async fn what_it_complains_about_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let hook = program(folder.path(), "echo no such zone >&2; exit 3");
        let error = run(&hook, "present", &HostName::parse("a.net").unwrap(), "v").await.unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3: no such zone"), "{error}");
        let missing = HookSettings { program: folder.path().join("none"), propagation: Duration::ZERO };
        let error = run(&missing, "present", &HostName::parse("a.net").unwrap(), "v").await.unwrap_err();
        assert!(matches!(error, HookError::Start { .. }));
    }
}
