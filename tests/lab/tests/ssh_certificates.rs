//! Certificates of people, with OpenSSH.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::CertificateWish;
use doorward_core::names::Label;
use doorward_lab::ssh::{Key, WayIn, gateway, run};
use doorward_lab::{LIMIT, Lab, LabDevice, people, says_back, service, target};
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

fn wish(key: &Key, span: SignedDuration) -> CertificateWish {
    CertificateWish { person: Label::parse("alex").unwrap(), key: key.public(), span, sources: Vec::new() }
}

/// Beside the key, but under a name by which ssh does not find it by itself.
fn file(key: &Key) -> PathBuf {
    key.path().with_file_name("shown")
}

async fn certify(lab: &Lab, key: &Key, wish: CertificateWish, now: Timestamp) -> PathBuf {
    let line = lab.control().certify(wish, now).await.unwrap();
    std::fs::write(file(key), line).unwrap();
    file(key)
}

/// A service on port 22 of the device `pi` that alex may use.
async fn device(lab: &Lab, at: SocketAddr) -> LabDevice {
    let mut ssh = service("shell", &format!("tcp://{at}"));
    (ssh.offer.virtual_port, ssh.offer.access) = (Some(22), people(&["alex"]));
    lab.device("pi", vec![ssh]).await
}

fn openssh(lab: &Lab, key: &Key, certificate: &Path) -> Command {
    let mut command = lab.openssh(&key.path());
    command.arg("-o").arg(format!("CertificateFile={}", certificate.display()));
    command
}

fn way_in(lab: &Lab, key: &Key, certificate: &Path) -> WayIn {
    WayIn::begin(openssh(lab, key, certificate), "pi:22", &gateway())
}

fn keygen(arguments: &[&str], more: &[&Path]) {
    let mut keygen = std::process::Command::new("ssh-keygen");
    assert!(keygen.args(arguments).args(more).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lets_in_by_minus_j_and_minus_l_while_it_counts() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _pi = device(&lab, echo.address).await;
    let key = Key::make();
    let shown = certify(&lab, &key, wish(&key, SignedDuration::from_hours(8)), Timestamp::now()).await;
    way_in(&lab, &key, &shown).says_back().await;

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut local = openssh(&lab, &key, &shown);
    local.args(["-N", "-o", "ExitOnForwardFailure=yes", "-L", &format!("{free}:shell.pi:22"), &gateway()]);
    let _local = local.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let mut visitor = loop {
        match TcpStream::connect(free).await {
            Ok(visitor) => break visitor,
            Err(_) => assert!(started.elapsed() < LIMIT),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    says_back(&mut visitor, b"hello").await;

    let mut greeted = openssh(&lab, &key, &shown);
    greeted.arg(gateway());
    let greeted = run(greeted).await;
    assert!(greeted.is_success && greeted.said.contains("You are alex, by a certificate until 20"), "{greeted:?}");
    // The key alone is nobody's.
    let mut bare = lab.openssh(&key.path());
    bare.arg(gateway());
    let bare = run(bare).await;
    assert!(!bare.is_success && bare.said.contains("does not know your key SHA256:"), "{bare:?}");
}

/// The jump is a host of its own in ssh's configuration, as in any that uses certificates; behind it stands, for want of
/// another sshd, the same gateway.
#[tokio::test(flavor = "multi_thread")]
async fn openssh_jumps_with_a_certificate_to_a_device() {
    let lab = Lab::start().await;
    let _pi = device(&lab, lab.gateway.gateway.bound().ssh[0]).await;
    let key = Key::make();
    certify(&lab, &key, wish(&key, SignedDuration::from_hours(8)), Timestamp::now()).await;
    let configuration = key.path().with_file_name("config");
    let text = format!(
        "Host *\n IdentityFile {}\n CertificateFile {}\n IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n\
         Host gw\n HostName {}\n Port {}\n",
        key.path().display(),
        file(&key).display(),
        gateway(),
        lab.ssh_port(),
    );
    std::fs::write(&configuration, text).unwrap();
    let mut jump = Command::new("ssh");
    jump.arg("-F").arg(&configuration).args(["-J", "gw", "pi@pi"]);
    let jumped = run(jump).await;
    assert!(jumped.is_success && jumped.said.contains("You are alex"), "{jumped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_count_let_nobody_in() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _pi = device(&lab, echo.address).await;
    let key = Key::make();
    let (hour, now) = (SignedDuration::from_hours(1), Timestamp::now());
    let good = certify(&lab, &key, wish(&key, hour), now).await;
    way_in(&lab, &key, &good).says_back().await;
    let refused = async |what: &str, certificate: &Path, why: &str| {
        way_in(&lab, &key, certificate).until_cut().await;
        let mut told = openssh(&lab, &key, certificate);
        told.arg(gateway());
        let told = run(told).await;
        assert!(!told.is_success && told.said.contains(why), "{what}: {told:?}");
    };
    // Somebody else's authority, with all that the gateway's own has written in it.
    let stranger = Key::make();
    let forged = key.path().with_file_name("forged-cert.pub");
    let forge = |arguments: &[&str]| {
        std::fs::copy(key.path().with_file_name("key.pub"), key.path().with_file_name("forged.pub")).unwrap();
        let common = ["-q", "-I", "alex-1", "-n", "alex", "-z", "1", "-V", "-5m:+1h", "-s"];
        let stranger = stranger.path();
        let arguments: Vec<_> = arguments.iter().chain(&common).copied().collect();
        keygen(&arguments, &[&stranger, &key.path().with_file_name("forged.pub")]);
    };
    forge(&[]);
    refused("a foreign authority", &forged, "was not signed by this gateway").await;
    forge(&["-h"]);
    // OpenSSH does not even show it.
    refused("a foreign host's", &forged, "does not know your key").await;
    // One that was signed by its own key.
    std::fs::copy(key.path().with_file_name("key.pub"), key.path().with_file_name("forged.pub")).unwrap();
    let own: Vec<_> = ["-q", "-I", "alex-1", "-n", "alex", "-z", "1", "-V", "-5m:+1h", "-s"].into();
    keygen(&own, &[&key.path(), &key.path().with_file_name("forged.pub")]);
    refused("by itself", &forged, "was not signed by this gateway").await;
    // One byte of the gateway's own is another.
    let line = std::fs::read_to_string(&good).unwrap();
    let mut words = line.split_whitespace();
    let (kind, blob) = (words.next().unwrap(), words.next().unwrap());
    let mut blob = data_encoding::BASE64.decode(blob.as_bytes()).unwrap();
    let at = blob.windows(4).position(|four| four == b"alex").unwrap();
    blob[at..at + 4].copy_from_slice(b"anna");
    let changed = key.path().with_file_name("changed");
    std::fs::write(&changed, format!("{kind} {}\n", data_encoding::BASE64.encode(&blob))).unwrap();
    refused("a changed principal", &changed, "does not know your key").await;

    let elsewhere = CertificateWish { sources: vec!["192.0.2.0/24".into()], ..wish(&key, hour) };
    let elsewhere = certify(&lab, &key, elsewhere, now).await;
    refused("elsewhere", &elsewhere, "does not count where you come from").await;
    let here = CertificateWish { sources: vec!["127.0.0.0/8".into(), "::1".into()], ..wish(&key, hour) };
    way_in(&lab, &key, &certify(&lab, &key, here, now).await).says_back().await;
    let early = certify(&lab, &key, wish(&key, hour), now + SignedDuration::from_hours(2)).await;
    refused("too early", &early, "does not know your key").await;

    let revoked = certify(&lab, &key, wish(&key, hour), now).await;
    let serial = lab.control().snapshot().ssh_certificates().map(|known| known.issued.serial).max().unwrap();
    lab.control().revoke_ssh_certificate(serial, now).await.unwrap();
    refused("revoked", &revoked, "was taken back").await;
    let removed = certify(&lab, &key, wish(&key, hour), now).await;
    lab.remove_person("alex").await;
    refused("of a person who was removed", &removed, "does not know your key").await;
    let over = certify(&lab, &key, wish(&key, hour), now - SignedDuration::from_hours(2)).await;
    refused("over", &over, "has ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_by_a_certificate_ends_with_it_within_a_second() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let _pi = device(&lab, echo.address).await;
    let key = Key::make();
    let hour = SignedDuration::from_hours(1);
    for cut in ["the deadline", "the certificate", "the person"] {
        let started_at = Timestamp::now();
        // A minute is the least: so the clock of this one is late.
        let late = SignedDuration::from_secs(60 - 10);
        let (span, at) = match cut {
            "the deadline" => (SignedDuration::from_mins(1), started_at - late),
            _ => (hour, started_at),
        };
        let shown = certify(&lab, &key, wish(&key, span), at).await;
        let mut way = way_in(&lab, &key, &shown);
        way.says_back().await;
        let other = Key::make();
        certify(
            &lab,
            &other,
            CertificateWish { person: Label::parse("ben").unwrap(), ..wish(&other, hour) },
            started_at,
        )
        .await;
        let snapshot = lab.control().snapshot();
        let theirs = snapshot.ssh_certificates().filter(|known| known.issued.person.as_str() == "alex");
        let newest = theirs.max_by_key(|known| known.issued.serial).unwrap();
        assert!(way.is_open(), "{cut}");
        let due = match cut {
            "the deadline" => newest.until,
            "the certificate" => {
                lab.control().revoke_ssh_certificate(newest.issued.serial, started_at).await.unwrap();
                Timestamp::now()
            }
            _ => {
                lab.remove_person("alex").await;
                Timestamp::now()
            }
        };
        way.until_cut().await;
        let late = Timestamp::now().duration_since(due);
        println!("{cut}: cut {late:#} after");
        assert!(late > SignedDuration::from_millis(-50) && late < SignedDuration::from_secs(1), "{cut}: {late:#}");
    }
}
