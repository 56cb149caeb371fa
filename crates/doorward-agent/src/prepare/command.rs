//! A command of the owner's list: one program with its arguments, read by no shell, in an environment of its own, with
//! all that it started ended when its time is up.

use super::plan::Command;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// More than this on either output is no message any more.
const MOST_OUTPUT: u64 = 64 * 1024;
/// Characters of its last words that the owner is told.
const MOST_TOLD: usize = 200;
/// After its end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Where programs that it starts are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn run(Command { program, arguments }: &Command) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    let _group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).map(Group);
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status = {
        let listening =
            async { tokio::try_join!(listen(output, &mut said), listen(errors, &mut complained)).map(drop) };
        tokio::pin!(listening);
        tokio::select! {
            biased;
            heard = &mut listening => {
                heard?;
                child.wait().await
            }
            status = child.wait() => {
                // What it left running may hold its outputs for ever.
                timeout(LAST_WORDS, listening).await.unwrap_or(Ok(()))?;
                status
            }
        }
    };
    let status = status.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let words = last_line(if complained.is_empty() { &said } else { &complained });
    Err(if words.is_empty() { format!("it ended with {status}") } else { format!("it ended with {status}: {words}") })
}

/// All that a command started, ended with it.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

async fn listen(output: Option<impl AsyncRead + Unpin>, heard: &mut Vec<u8>) -> Result<(), String> {
    let Some(output) = output else { return Ok(()) };
    output.take(MOST_OUTPUT + 1).read_to_end(heard).await.map_err(|error| error.to_string())?;
    if heard.len() as u64 > MOST_OUTPUT {
        return Err(format!("it said more than {} KiB", MOST_OUTPUT / 1024));
    }
    Ok(())
}

fn last_line(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let last = text.trim_end().lines().last().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(MOST_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(20);

    fn command(words: &[&str]) -> Command {
        let (program, arguments) = words.split_first().unwrap();
        Command { program: program.into(), arguments: arguments.iter().map(ToString::to_string).collect() }
    }

    async fn done(words: &[&str]) -> Result<(), String> {
        timeout(LIMIT, run(&command(words))).await.expect("it ends")
    }

    fn script(folder: &Path, text: &str) -> String {
        let path = folder.join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn no_shell_reads_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let trap = folder.path().join("trap");
        let words = format!("$(touch {0}); touch {0} | `touch {0}` && touch {0}", trap.display());
        assert_eq!(done(&["/usr/bin/printf", "%s", &words]).await, Ok(()));
        assert!(!trap.exists());
        let named = folder.path().join("a b;c");
        assert_eq!(done(&["/usr/bin/touch", named.to_str().unwrap()]).await, Ok(()));
        assert!(named.exists());
    }

    #[tokio::test]
    async fn it_has_no_environment_but_a_path_and_nothing_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let text = format!("exec 3>{}; /usr/bin/env -u PWD -u SHLVL -u _ >&3; cat >&3; pwd >&3", seen.display());
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something that it could see");
        assert_eq!(done(&[&script(folder.path(), &text)]).await, Ok(()));
        let seen = std::fs::read_to_string(seen).unwrap();
        let mut lines: Vec<_> = seen.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["/", "LANG=C.UTF-8", &format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn its_status_and_last_words_are_told_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: &str| script(folder.path(), text);
        assert_eq!(
            done(&["/nonexistent/x"]).await.unwrap_err().split(':').next(),
            Some("/nonexistent/x cannot be started")
        );
        let error = done(&[&said("echo one; echo first >&2; printf 'no\\033[2J relay\\n\\n' >&2; exit 7")]).await;
        assert_eq!(error, Err("it ended with exit status: 7: no[2J relay".to_owned()));
        let error = done(&[&said("exec /usr/bin/yes")]).await;
        assert_eq!(error, Err("it said more than 64 KiB".to_owned()));
        let error = done(&[&said("printf '%0500d' 7; exit 1")]).await.unwrap_err();
        assert!(error.len() < 250 && error.contains("0000"), "{error}");
    }

    #[tokio::test]
    async fn what_it_leaves_running_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        assert_eq!(done(&[&script(folder.path(), "sleep 1000 &")]).await, Ok(()));
        assert!(started.elapsed() < LIMIT);
    }

    #[tokio::test]
    async fn what_it_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let text = format!("sleep 1000 & echo $! > {}.new; mv {0}.new {0}; wait", pid.display());
        let command = command(&[&script(folder.path(), &text)]);
        let started = Instant::now();
        let running = tokio::spawn(async move { run(&command).await });
        while !pid.exists() {
            assert!(started.elapsed() < LIMIT);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let child = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
        let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).ok();
        assert!(state().is_some());
        running.abort();
        let is_gone = || state().is_none_or(|stat| stat.contains(") Z "));
        while !is_gone() {
            assert!(started.elapsed() < LIMIT, "it runs on: {:?}", state());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
