//! Visitors that have nothing but an SSH client.

use doorward_control::Protocol;
use doorward_lab::ssh::{Key, WayIn, gateway, run};
use doorward_lab::visitor::{Ending, knock};
use doorward_lab::{Lab, people, service, target};
use std::time::{Duration, Instant};

fn way_in(lab: &Lab, key: &Key, user: &str, to: &str) -> WayIn {
    WayIn::begin(lab.openssh(&key.path()), to, &format!("{user}@{}", gateway()))
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_by_ssh_to_what_lists_them_by_every_name_and_to_nothing_else() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let mut ssh = service("shell", &format!("tcp://{}", echo.address));
    (ssh.offer.virtual_port, ssh.offer.access) = (Some(22), people(&["anna"]));
    let _device = lab.device("pi", vec![ssh]).await;
    let (anna, carl) = (lab.ssh_person("anna").await, lab.ssh_person("carl").await);
    for (user, to) in
        [("root", "pi:22"), ("root", "PI:22"), ("root", "shell.pi:1"), ("pi", "127.0.0.1:22"), ("pi", "localhost:22")]
    {
        way_in(&lab, &anna, user, to).says_back().await;
    }
    for (user, to) in [
        ("root", "pi:23"),
        ("root", "127.0.0.1:22"),
        ("root", "nobody:22"),
        ("pi", "127.0.0.1:23"),
        ("root", "cam.pi:22"),
    ] {
        way_in(&lab, &anna, user, to).is_refused().await;
    }
    let own = echo.address.port();
    way_in(&lab, &anna, "pi", &format!("127.0.0.1:{own}")).is_refused().await;
    way_in(&lab, &anna, "root", &format!("127.0.0.1:{own}")).is_refused().await;
    way_in(&lab, &carl, "root", "pi:22").is_refused().await;
    assert_eq!(knock(lab.port("pi", "shell", Protocol::Tcp)).await, Ending::Reset, "a raw port cannot tell who comes");
    let mut shown = lab.openssh(&anna.path());
    shown.arg(gateway());
    let shown = run(shown).await;
    assert!(shown.said.contains("pi/shell") && shown.said.contains("ssh -J") && shown.is_success, "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_policy_or_a_lost_key_cuts_a_way_in_within_a_second() {
    let lab = Lab::start().await;
    let echo = target::echo().await;
    let mut ssh = service("shell", &format!("tcp://{}", echo.address));
    (ssh.offer.virtual_port, ssh.offer.access) = (Some(22), people(&["anna"]));
    let _device = lab.device("pi", vec![ssh]).await;
    let anna = lab.ssh_person("anna").await;
    for cut in ["the policy", "the key"] {
        let mut way = way_in(&lab, &anna, "root", "pi:22");
        way.says_back().await;
        let started = Instant::now();
        if cut == "the policy" {
            lab.set_access("pi", "shell", people(&["ben"])).await;
        } else {
            let fingerprint = doorward_control::KeyFingerprint::of(&anna.public());
            lab.control().remove_ssh_key(fingerprint, jiff::Timestamp::now()).await.unwrap();
        }
        way.until_cut().await;
        assert!(started.elapsed() < Duration::from_secs(1), "{cut}: it took {:?}", started.elapsed());
        lab.set_access("pi", "shell", people(&["anna"])).await;
    }
}
