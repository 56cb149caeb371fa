//! What clients are shown of a refusal, and that there is no other way in than the few that are meant.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::PolicyDocument;
use doorward_core::names::Label;
use doorward_lab::ssh::{Ended, Key, gateway, run, start};
use doorward_lab::{Lab, target, until, visitor, web};
use tokio::process::Command;

/// What a refused client shows, without its own warnings.
fn shown(ended: &Ended) -> String {
    let lines = ended.said.lines().filter(|line| !line.starts_with("Warning: Permanently added"));
    lines.collect::<Vec<_>>().join("\n")
}

fn plink(lab: &Lab, key: &Key, host_key: &str) -> Command {
    let key_of_host: doorward_core::ssh::PublicKey = host_key.parse().unwrap();
    let fingerprint = doorward_control::KeyFingerprint::of(&key_of_host).to_string();
    let mut command = Command::new("plink");
    command.args(["-batch", "-ssh", "-hostkey", &fingerprint, "-P", &lab.ssh_port(), "-i"]).arg(key.for_putty());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_without_a_terminal_is_told_why_a_port_is_refused_and_what_allows_it() {
    let lab = Lab::start().await;
    let (echo, key) = (target::echo().await, lab.ssh_device("zumi01").await);
    let port = lab.control().site().tcp_ports.clone().next().unwrap();
    let forward = format!("{port}:{}", echo.address);
    let refusal =
        format!("-R {port} is refused: port {port} is kept for zumi01/port-{port}, and nobody may use it yet.");
    let command = format!("\n  doorward access zumi01/port-{port} set --public ");
    let tells = |ended: &Ended| !ended.is_success && ended.said.contains(&refusal) && ended.said.contains(&command);
    for option in [&[][..], &["-o", "ExitOnForwardFailure=yes"], &["-T"]] {
        let mut ssh = lab.openssh(&key.path());
        ssh.args(option).args(["-N", "-R", &forward, &gateway()]);
        let refused = run(ssh).await;
        println!("{}", shown(&refused));
        assert!(tells(&refused), "{option:?}: {refused:?}");
    }
    // All that was refused is said.
    let mut ssh = lab.openssh(&key.path());
    ssh.args(["-N", "-R", "22:localhost:80", "-R", &forward, &gateway()]);
    let refused = run(ssh).await;
    assert!(tells(&refused) && refused.said.contains("-R 22 is refused: tcp port 22 is not among"), "{refused:?}");

    let host_key = lab.control().ssh_host_public_keys().await.unwrap().remove(0);
    let mut ssh = plink(&lab, &key, &host_key);
    ssh.args(["-N", "-R", &forward, &format!("zumi01@{}", gateway())]);
    let refused = run(ssh).await;
    println!("plink: {}", shown(&refused));
    assert!(tells(&refused), "{refused:?}");
    // It shows no reasons, but what was refused.
    let mut dropbear = Command::new("dbclient");
    dropbear.args(["-y", "-y", "-N", "-T", "-p", &lab.ssh_port(), "-i"]).arg(key.for_dropbear());
    dropbear.args(["-R", &forward, &gateway()]);
    let refused = run(dropbear).await;
    let said = format!("Remote TCP forward request failed (port {port} ");
    assert!(refused.said.contains(&said), "{refused:?}");

    // Whoever has a terminal is told there, and may stay.
    let mut ssh = lab.openssh(&key.path());
    ssh.args(["-R", &forward, &gateway()]);
    let refused = run(ssh).await;
    assert!(refused.is_success && refused.said.contains(&refusal) && refused.said.contains(&command), "{refused:?}");
    assert!(!refused.said.contains("Received disconnect"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_forward_ends_nothing_that_is_of_use() {
    let lab = Lab::start().await;
    let (page, key) = (web::web(|_| web::ok("the printer")).await, lab.ssh_device("zumi01").await);
    let mut ssh = lab.openssh(&key.path());
    ssh.args(["-N", "-R", &format!("printer1:80:{}", page.address), "-R", "22:localhost:22", &gateway()]);
    let mut client = start(ssh);
    client.until_said("Warning: remote port forwarding failed for listen port 22").await;
    until("the page is offered", async || {
        let device = lab.control().snapshot().device_by_name(&Label::parse("zumi01").unwrap()).unwrap();
        lab.control().snapshot().services_of(device.id).any(|record| record.service.name.as_str() == "printer1")
    })
    .await;
    lab.set_access("zumi01", "printer1", PolicyDocument::public()).await;
    assert_eq!(visitor::get(lab.http(), "printer1.gw.test", "/").await.text(), "the printer");
    assert!(client.child.try_wait().unwrap().is_none(), "{}", client.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_strangers_are_told_why_they_cannot_offer_anything() {
    let lab = Lab::start().await;
    for (key, why) in [
        (lab.ssh_person("anna").await, "only devices offer services with -R. `doorward devices add-key NAME`"),
        (Key::make(), "This gateway does not know your key SHA256:"),
    ] {
        let mut ssh = lab.openssh(&key.path());
        ssh.args(["-N", "-R", "8888:localhost:80", &gateway()]);
        let refused = run(ssh).await;
        assert!(!refused.is_success && refused.said.contains(why), "{refused:?}");
    }
    let anna = lab.ssh_person("ben").await;
    for to in ["nobody:22", "127.0.0.1:22", "10.0.0.1:22"] {
        let mut ssh = lab.openssh(&anna.path());
        ssh.args(["-W", to, &format!("ben@{}", gateway())]);
        let refused = run(ssh).await;
        let why =
            if to.starts_with("10.") { "is not the name of anything here" } else { "there is nothing of that name" };
        let said = refused.said.contains("open failed: administratively prohibited: ") && refused.said.contains(why);
        assert!(!refused.is_success && said, "{to}: {refused:?}");
    }
}

/// Everything that a client may ask of sshd, in the words of the protocol, and a listener on every address of this machine
/// that would notice a visit.
const EVERYTHING: &str = include_str!("ssh_everything.py");

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_other_way_in_than_what_is_meant() {
    let lab = Lab::start().await;
    let everywhere = std::net::TcpListener::bind("[::]:0").unwrap();
    everywhere.set_nonblocking(true).unwrap();
    let at = everywhere.local_addr().unwrap().port().to_string();
    for (key, user) in [(lab.ssh_device("zumi01").await, "zumi01"), (lab.ssh_person("anna").await, "anna")] {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", EVERYTHING, &lab.ssh_port()]).arg(key.path()).args([user, &at]);
        let asked = run(command).await;
        let count = |end: &str| asked.said.lines().filter(|line| line.ends_with(end)).count();
        assert!(asked.is_success, "{}", asked.said);
        assert_eq!((count(" no"), count(" yes")), (53, 0), "{}", asked.said);
        assert!(asked.said.contains("command: commands are not run here;"), "{}", asked.said);
        assert!(asked.said.contains("shell: You are "), "{}", asked.said);
    }
    let noticed = everywhere.accept();
    assert!(
        noticed.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "somebody was led to this machine"
    );
}
