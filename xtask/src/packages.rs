//! The Debian packages the tests need. Everything else comes with Rust.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::process::{output, program, run, succeeds};

struct Package {
    name: &'static str,
    /// Suites of `cargo xtask test`, or `build`.
    needed_by: &'static [&'static str],
    why: &'static str,
}

/// The suites that build worlds.
const WORLDS: &[&str] = &["world", "peers"];

const PACKAGES: &[Package] = &[
    Package { name: "gcc", needed_by: &["build"], why: "links, and compiles SQLite and AWS-LC" },
    Package { name: "libc6-dev", needed_by: &["build"], why: "the C library to link against" },
    Package { name: "systemd", needed_by: &["unit", "peers"], why: "systemd-analyze verifies units" },
    Package { name: "bind9", needed_by: &["unit", "lab", "world"], why: "a name server that takes dynamic updates" },
    Package { name: "glewlwyd", needed_by: &["lab"], why: "an identity provider" },
    Package { name: "sqlite3", needed_by: &["lab"], why: "makes the identity provider's database" },
    Package { name: "pebble", needed_by: &["lab"], why: "a certificate authority, and names for it" },
    Package {
        name: "openssh-client",
        needed_by: &["unit", "lab", "world", "peers"],
        why: "the SSH client that most have",
    },
    Package { name: "dropbear-bin", needed_by: &["unit", "lab", "peers"], why: "the SSH client of small devices" },
    Package { name: "putty-tools", needed_by: &["lab", "peers"], why: "the SSH client of Windows" },
    Package { name: "python3-paramiko", needed_by: &["lab"], why: "SSH from Python" },
    Package { name: "python3-asyncssh", needed_by: &["lab"], why: "another SSH from Python" },
    Package { name: "ffmpeg", needed_by: &["unit", "peers"], why: "a camera that serves one client" },
    Package { name: "python3-aiosmtpd", needed_by: &["unit"], why: "a mail server for alerts" },
    Package {
        name: "openssh-server",
        needed_by: &["lab", "world", "peers"],
        why: "the shell of a device, behind the gateway",
    },
    Package { name: "rsync", needed_by: &["lab"], why: "files through ssh -J" },
    Package { name: "git", needed_by: &["lab"], why: "a repository through ssh -J" },
    Package { name: "autossh", needed_by: &["lab", "peers"], why: "ssh that comes again" },
    Package { name: "ssh-audit", needed_by: &["lab"], why: "judges SSH servers" },
    Package { name: "apache2", needed_by: &["peers"], why: "a reverse proxy in front of the gateway" },
    Package { name: "caddy", needed_by: WORLDS, why: "a reverse proxy in front of the gateway" },
    Package { name: "conntrack", needed_by: WORLDS, why: "looks at and flushes a simulated router's NAT entries" },
    Package {
        name: "curl",
        needed_by: &["unit", "lab", "world", "peers"],
        why: "the visitor of web entrances, and the owner",
    },
    Package { name: "iproute2", needed_by: WORLDS, why: "builds network namespaces, links and routes" },
    Package { name: "iputils-ping", needed_by: WORLDS, why: "proves that the simulated networks are joined" },
    Package { name: "nftables", needed_by: WORLDS, why: "NAT, CGNAT and firewalls of the simulated routers" },
    Package { name: "nginx", needed_by: WORLDS, why: "a reverse proxy in front of the gateway" },
    Package {
        name: "openssl",
        needed_by: &["lab", "world", "peers"],
        why: "certificates, and a service that speaks TLS itself",
    },
    Package { name: "python3", needed_by: WORLDS, why: "small targets and visitors" },
    Package { name: "socat", needed_by: WORLDS, why: "tcp, udp and unix targets and visitors" },
    Package { name: "bsdutils", needed_by: &["peers"], why: "script(1), a terminal to paste into" },
    Package { name: "util-linux", needed_by: WORLDS, why: "unshare and nsenter" },
    Package { name: "faketime", needed_by: &["world"], why: "starts an agent with a wrong clock" },
    Package { name: "iperf3", needed_by: &["world"], why: "measures the emulated line" },
    Package { name: "miniupnpd-iptables", needed_by: &["world"], why: "a home router that is asked for ports" },
    Package {
        name: "iptables",
        needed_by: &["world"],
        why: "the chains that it fills, and those of a router without nft",
    },
    Package { name: "fwknop-server", needed_by: &["world"], why: "opens ports for who knocked, beside ours" },
    Package { name: "fwknop-client", needed_by: &["world"], why: "knocks there" },
    Package { name: "knockd", needed_by: &["world"], why: "another one, and who knocks" },
    Package { name: "miniupnpc", needed_by: &["world"], why: "another of the home who asks for ports" },
    Package { name: "tinyproxy", needed_by: &["world"], why: "an HTTP proxy that is the only way out" },
    Package { name: "chromium", needed_by: &["peers"], why: "pages and passwords as people meet them" },
    Package { name: "libnss3-tools", needed_by: &["peers"], why: "has Chromium trust a root" },
    Package { name: "iproute2", needed_by: &["conformance"], why: "ss sees how long connections live" },
    Package { name: "openssh-tests", needed_by: &["conformance"], why: "OpenSSH's own regression scripts" },
    Package { name: "socat", needed_by: &["conformance"], why: "a pipe into a TCP service" },
    Package { name: "python3-venv", needed_by: &["conformance"], why: "a place for sslyze" },
    Package { name: "python3-yaml", needed_by: &["conformance"], why: "reads the corpus of requests" },
    Package { name: "slowhttptest", needed_by: &["conformance"], why: "visitors who take their time" },
    Package { name: "testssl.sh", needed_by: &["conformance"], why: "looks at TLS from outside" },
    Package { name: "jupyter-notebook", needed_by: &["peers"], why: "a service full of WebSockets" },
    Package { name: "python3-dev", needed_by: &["peers"], why: "OctoPrint's parts in C, from PyPI" },
    Package { name: "gir1.2-gst-rtsp-server-1.0", needed_by: &["peers"], why: "an RTSP camera" },
    Package { name: "gstreamer1.0-plugins-good", needed_by: &["peers"], why: "what the RTSP camera films" },
    Package { name: "python3-gi", needed_by: &["peers"], why: "runs the RTSP camera" },
    Package { name: "python3-grpcio", needed_by: &["peers"], why: "a gRPC service and its visitors" },
    Package { name: "openssh-client", needed_by: &["peers"], why: "tunnels that NetGear digs" },
    Package { name: "python3-colorlog", needed_by: &["peers"], why: "NetGear's words" },
    Package { name: "python3-opencv", needed_by: &["peers"], why: "NetGear's pictures" },
    Package { name: "python3-paramiko", needed_by: &["peers"], why: "tunnels that NetGear digs" },
    Package { name: "python3-pexpect", needed_by: &["peers"], why: "types NetGear's password" },
    Package { name: "python3-requests", needed_by: &["peers"], why: "NetGear, which loads it" },
    Package { name: "python3-tqdm", needed_by: &["peers"], why: "NetGear, which loads it" },
    Package { name: "python3-venv", needed_by: &["peers"], why: "OctoPrint, Moonraker and VidGear, from PyPI" },
    Package { name: "python3-zmq", needed_by: &["unit", "peers"], why: "what NetGear sends with" },
    Package { name: "python3-websocket", needed_by: &["peers"], why: "a visitor who runs code in Jupyter's kernel" },
];

/// Installs what these suites lack when root; else says what to install.
pub(crate) fn provide(suites: &[&str]) -> Result<()> {
    if !succeeds(program("dpkg-query").arg("--version")) {
        println!("note: this is no Debian; the tests themselves will say which program they lack");
        return Ok(());
    }
    let missing = missing(suites)?;
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        println!("missing Debian package: {:<18} {} ({})", package.name, package.why, package.needed_by.join(", "));
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if output(program("id").arg("-u"))?.trim() != "0" {
        bail!(
            "install them:\n  sudo apt-get update\n  sudo apt-get install --no-install-recommends {}",
            names.join(" ")
        );
    }
    install(&names)
}

fn missing(suites: &[&str]) -> Result<Vec<&'static Package>> {
    let wanted: Vec<&Package> =
        PACKAGES.iter().filter(|package| package.needed_by.iter().any(|by| suites.contains(by))).collect();
    let mut query = program("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
    query.args(wanted.iter().map(|package| package.name));
    // It complains, and fails, about names it never heard of: they are missing, too.
    let answer = query.stderr(Stdio::null()).output().context("cannot start dpkg-query")?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    Ok(wanted.into_iter().filter(|package| !is_installed(&answer, package.name)).collect())
}

fn is_installed(answer: &str, name: &str) -> bool {
    answer.lines().any(|line| line.split_once(' ') == Some((name, "installed")))
}

fn install(names: &[&str]) -> Result<()> {
    let _quiet = NoServices::declare()?;
    run(program("apt-get").args(["update", "--quiet"]))?;
    let mut install = program("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    // Somebody else's apt may hold the lock for a while, but not for ever.
    install.args(["install", "--quiet", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]);
    run(install.args(names))
}

/// While it lives, no package may start its service upon installation (Debian policy 9.3.3.2): nginx and caddy would
/// take the ports under test. Where the machine already has such a rule, it stays as it is.
struct NoServices;

const RULE: &str = "/usr/sbin/policy-rc.d";
const RULE_TEXT: &str = "#!/bin/sh\n# Written by `cargo xtask test`, and removed by it.\nexit 101\n";

impl NoServices {
    fn declare() -> Result<Option<Self>> {
        let path = Path::new(RULE);
        // An interrupted run may have left our own behind.
        if path.exists() && fs::read_to_string(path).is_ok_and(|text| text != RULE_TEXT) {
            return Ok(None);
        }
        let mut file = File::create(path).with_context(|| format!("cannot write {RULE}"))?;
        let guard = Self;
        file.write_all(RULE_TEXT.as_bytes())?;
        run(program("chmod").args(["755", RULE]))?;
        Ok(Some(guard))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(RULE) {
            eprintln!("cannot remove {RULE}, which keeps services from starting: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dpkg_calls_installed_is_installed() {
        let answer = "curl installed\nnginx config-files\nnginx-common installed\n";
        assert!(is_installed(answer, "curl"));
        assert!(!is_installed(answer, "nginx"));
        assert!(!is_installed(answer, "socat"));
    }
}
