//! How the gateway looks to those who judge SSH servers, and whether clients recognize it by what it prints.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward::admin::{Owner, ssh};
use doorward_lab::Lab;
use doorward_lab::ssh::{Key, gateway, run};
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;

async fn output(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// What is not known to Debian's, which is of 2021: post-quantum key exchange, and Terrapin's cure. docs/conformance.md has
/// what a newer one says.
const NEWER: [&str; 2] = ["mlkem768x25519-sha256", "kex-strict-s-v00@openssh.com"];

#[tokio::test(flavor = "multi_thread")]
async fn ssh_audit_finds_nothing_to_blame() {
    let lab = Lab::start().await;
    let mut audit = Command::new("ssh-audit");
    let (_, said) = output(audit.args(["-n", "-p", &lab.ssh_port(), &gateway()])).await;
    println!("{said}");
    assert!(said.lines().filter(|line| line.contains("[info]")).count() > 8, "{said}");
    for line in said.lines().filter(|line| line.contains("[warn]") || line.contains("[fail]")) {
        let name = line.split_whitespace().nth(1).unwrap();
        assert!(NEWER.contains(&name) && line.ends_with("[warn] unknown algorithm"), "{line}");
    }
    let mut audit = Command::new("ssh-audit");
    let (_, said) = output(audit.args(["-j", "-p", &lab.ssh_port(), &gateway()])).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let exchanges: Vec<_> =
        said["kex"].as_array().unwrap().iter().map(|kex| kex["algorithm"].as_str().unwrap()).collect();
    let x25519 = ["curve25519-sha256", "curve25519-sha256@libssh.org"];
    assert_eq!(exchanges, [NEWER[0], x25519[0], x25519[1], "ext-info-s", NEWER[1]]);
    assert_eq!(said["banner"]["raw"], "SSH-2.0-Doorward");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_exchanges_keys_strictly_which_cures_terrapin() {
    let lab = Lab::start().await;
    let anna = lab.ssh_person("anna").await;
    let mut command = lab.openssh(&anna.path());
    command.args(["-vvv", &gateway()]);
    let came = run(command).await;
    assert!(came.is_success && came.said.contains("will use strict KEX ordering"), "{}", came.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_know_the_gateway_by_what_ssh_host_key_prints() {
    // The port that was found free is from then on the one in the settings.
    let lab = Lab::start().await.restart_gateway().await;
    let anna = lab.ssh_person("anna").await;
    let printed = ssh::host_key(&Owner::new(lab.directory.path().join("gateway"))).await.unwrap();
    println!("{printed}");
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("known_hosts");
    let line = printed.lines().find(|line| line.starts_with('[')).unwrap();
    let name = line.split([']', '[']).nth(1).unwrap();
    std::fs::write(&hosts, format!("{line}\n")).unwrap();
    let connect = |hosts: &std::path::Path, key: &Key| {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-p", &lab.ssh_port(), "-o", "IdentitiesOnly=yes", "-i"]).arg(key.path());
        command
            .args(["-o", "StrictHostKeyChecking=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", hosts.display()))
            .arg(name);
        command
    };
    let known = run(connect(&hosts, &anna)).await;
    assert!(known.is_success && known.said.contains("You are anna."), "{known:?}");
    std::fs::write(&hosts, "").unwrap();
    let unknown = run(connect(&hosts, &anna)).await;
    assert!(!unknown.is_success && unknown.said.contains("Host key verification failed"), "{unknown:?}");

    let key = directory.path().join("host.pub");
    let words: Vec<_> = line.split(' ').collect();
    std::fs::write(&key, format!("{} {}\n", words[1], words[2])).unwrap();
    let (_, fingerprint) = output(Command::new("ssh-keygen").arg("-l").arg("-f").arg(&key)).await;
    assert!(printed.contains(fingerprint.split(' ').nth(1).unwrap()), "{printed}\n{fingerprint}");
}
