//! How a machine becomes a device by one line that somebody pastes there. The line carries the SHA-256 of a script, and the
//! script those of the programs: whatever answers under the gateway's name, nothing else is ever run.

use crate::builds::Build;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use std::fmt::Write;

/// Where the script is fetched from, below the portal's URL.
pub(crate) const SCRIPT_PATH: &str = "/add.sh";

/// The script as it is served for these builds. It names no address: that is given to it.
pub(crate) fn script(builds: &[Build]) -> String {
    let list = builds.iter().fold(String::new(), |mut list, build| {
        let _ = writeln!(list, "{} {}", build.arch, build.sha256);
        list
    });
    include_str!("adding/add.sh").replace("@BUILDS@", list.trim_end())
}

/// How somebody adds a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// For the machine, with systemd.
    Root,
    /// For one user.
    User,
    OpenWrt,
    Docker,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::User, Self::OpenWrt, Self::Docker];
}

/// The line to paste. `portal`: its URL, as `https://portal.example.org`. It works in every shell, and takes whatever
/// certificate it is shown, since what it fetches counts by its SHA-256 alone.
pub(crate) fn line(way: Way, portal: &str, script: &str) -> String {
    let sha256 = HEXLOWER.encode(digest(&SHA256, script.as_bytes()).as_ref());
    let url = format!("{portal}{SCRIPT_PATH}");
    let run = match way {
        Way::Root => format!(r#"sudo sh "$f" {portal}"#),
        Way::User | Way::OpenWrt => format!(r#"sh "$f" {portal}"#),
        Way::Docker => format!(r#"sh "$f" {portal} --only "$PWD/doorward""#),
    };
    let fetched = format!(
        r#"sh -c 'f=$(mktemp) && {{ curl -fsSLko "$f" {url} || wget -qO "$f" --no-check-certificate {url}; }} && echo "{sha256}  $f" | sha256sum -c >/dev/null && {run}; e=$?; rm -f "$f"; exit $e'"#
    );
    match way {
        Way::Root | Way::User | Way::OpenWrt => fetched,
        Way::Docker => {
            let container = r#"--network host -v doorward:/var/lib/doorward -v "$PWD/doorward:/usr/local/bin/doorward:ro" debian:stable-slim doorward"#;
            format!(
                "{fetched} && docker run --rm -it {container} join && docker run -d --name doorward --restart \
                 unless-stopped {container} agent"
            )
        }
    }
}

/// For a machine with an SSH client and nothing else of use. `key`: the gateway's own, as `ssh-ed25519 AAAA…`.
pub(crate) fn line_for_ssh(host: &str, port: u16, key: &str) -> String {
    let key: Vec<_> = key.split_whitespace().take(2).collect();
    let known = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    format!(
        "mkdir -p -m 700 ~/.ssh; [ -e ~/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519; \
         echo '{known} {}' >> ~/.ssh/known_hosts; ssh -p {port} {host} join",
        key.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    const SAID: &str = "#!/bin/sh\necho \"$*\" >> \"$HOME/said\"; [ \"$1\" != join ] || cat >> \"$HOME/said\"\n";

    /// A machine of its own: a home, and a `curl` that fetches files.
    struct Machine {
        home: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let machine = Self { home };
            // Like the real one, as far as the line asks: `-o FILE URL` somewhere.
            machine.program(
                "curl",
                "#!/bin/sh\nfor last; do :; done\ncp \"$HOME/served/$(basename \"$last\")\" \"$2\" 2>/dev/null || cp \
                 \"$HOME/served/$(basename \"$last\")\" \"$3\"\n",
            );
            machine.program("uname", "#!/bin/sh\necho riscv64\n");
            machine.program("id", "#!/bin/sh\necho 1000\n");
            std::fs::create_dir(machine.path("served")).unwrap();
            machine
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.home.path().join(name)
        }

        fn program(&self, name: &str, text: &str) {
            let folder = self.path("programs");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), text).unwrap();
            std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn serve(&self, name: &str, text: &str) {
            std::fs::write(self.path("served").join(name), text).unwrap();
        }

        fn paste(&self, line: &str) -> Output {
            let path = format!("{}:{}", self.path("programs").display(), std::env::var("PATH").unwrap());
            let mut command = Command::new("sh");
            command.args(["-c", line]).env_clear().env("HOME", self.home.path()).env("PATH", path);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"DW1INVITE\n").unwrap();
            child.wait_with_output().unwrap()
        }

        fn said(&self) -> String {
            std::fs::read_to_string(self.path("said")).unwrap_or_default()
        }
    }

    fn builds(program: &str) -> Vec<Build> {
        let sha256 = HEXLOWER.encode(digest(&SHA256, program.as_bytes()).as_ref());
        let build = |arch: &str, sha256: &str| Build { arch: arch.to_owned(), sha256: sha256.to_owned(), bytes: 0 };
        vec![build("mips", &"0".repeat(64)), build("riscv64", &sha256)]
    }

    #[test]
    fn the_line_fetches_checks_joins_and_installs() {
        let machine = Machine::new();
        let script = script(&builds(SAID));
        machine.serve("add.sh", &script);
        machine.serve("doorward-riscv64", SAID);
        let line = line(Way::User, "https://portal.test:8443", &script);
        let output = machine.paste(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(machine.said(), "--version\njoin -\nDW1INVITE\ninstall agent\n");
        assert!(!line.contains("DW1"));
        let left = std::fs::read_dir(machine.path(".local/bin")).unwrap().count();
        assert_eq!(left, 1, "nothing but the program is left");

        // Once more: the program is there, and what was joined stays so.
        std::fs::create_dir_all(machine.path(".local/state/doorward/agent/main")).unwrap();
        std::fs::write(machine.path(".local/state/doorward/agent/main/site.json"), "{}").unwrap();
        std::fs::remove_file(machine.path("served/doorward-riscv64")).unwrap();
        let output = machine.paste(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(machine.said().ends_with("install agent\ninstall agent\n"), "{}", machine.said());
    }

    #[test]
    fn whatever_was_changed_on_the_way_is_not_run() {
        let machine = Machine::new();
        let script = script(&builds(SAID));
        let line = line(Way::User, "https://portal.test", &script);
        machine.serve("doorward-riscv64", SAID);
        machine.serve("add.sh", &format!("{script}\ntouch \"$HOME/harm\"\n"));
        assert!(!machine.paste(&line).status.success());
        machine.serve("add.sh", &script);
        machine.serve("doorward-riscv64", &format!("{SAID}touch \"$HOME/harm\"\n"));
        let output = machine.paste(&line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("not what the page promised"), "{told}");
        assert!(!machine.path("harm").exists() && machine.said().is_empty());
        assert!(!Path::exists(&machine.path(".local/bin/doorward")));
    }

    #[test]
    fn a_machine_of_another_kind_is_told_what_to_do() {
        let machine = Machine::new();
        machine.program("uname", "#!/bin/sh\necho sparc64\n");
        let script = script(&builds(SAID));
        machine.serve("add.sh", &script);
        let output = machine.paste(&line(Way::OpenWrt, "https://portal.test", &script));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("builds/doorward-sparc64"), "{told}");
    }

    #[test]
    fn a_small_system_on_a_large_kernel_gets_the_small_program() {
        let machine = Machine::new();
        let sha256 = HEXLOWER.encode(digest(&SHA256, SAID.as_bytes()).as_ref());
        let script = script(&[Build { arch: "arm".to_owned(), sha256, bytes: 0 }]);
        machine.serve("add.sh", &script);
        machine.serve("doorward-arm", SAID);
        for (kernel, bits) in [("aarch64", "32"), ("armv7l", "32"), ("armv6l", "")] {
            machine.program("uname", &format!("#!/bin/sh\necho {kernel}\n"));
            machine.program("getconf", &format!("#!/bin/sh\n[ -n '{bits}' ] && echo {bits}\n"));
            let output = machine.paste(&line(Way::User, "https://portal.test", &script));
            assert!(output.status.success(), "{kernel}: {}", String::from_utf8_lossy(&output.stderr));
            std::fs::remove_file(machine.path(".local/bin/doorward")).unwrap();
        }
    }

    #[test]
    fn only_ssh_needs_the_gateways_key_and_no_program() {
        let line = line_for_ssh("gw.test", 2222, "ssh-ed25519 AAAA comment");
        assert!(line.contains("echo '[gw.test]:2222 ssh-ed25519 AAAA' >>"), "{line}");
        assert!(line.ends_with("ssh -p 2222 gw.test join"), "{line}");
        assert!(line_for_ssh("gw.test", 22, "ssh-ed25519 AAAA").contains("echo 'gw.test ssh-ed25519 AAAA' >>"));
    }
}
