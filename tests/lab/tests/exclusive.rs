//! One person at a time, and sessions that somebody approves: by OpenSSH.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{ApprovalDocument, HowDocument, PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_lab::ssh::{Ended, Key, gateway, run};
use doorward_lab::{LIMIT, Lab, LabDevice, service, target, until};
use jiff::Timestamp;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(1);

fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

fn on_request() -> PolicyDocument {
    PolicyDocument {
        who: WhoDocument::People,
        groups: vec!["class".into(), "teachers".into()],
        how: Some(HowDocument::OnRequest),
        ..PolicyDocument::default()
    }
}

/// A robot on a device, anna and ben of the class, tina who teaches.
struct School {
    lab: Lab,
    anna: Key,
    ben: Key,
    tina: Key,
    _device: LabDevice,
    _robot: target::Target,
}

impl School {
    async fn of(policy: PolicyDocument) -> Self {
        let lab = Lab::start().await;
        let robot = target::echo().await;
        let (anna, ben, tina) =
            (lab.ssh_person("anna").await, lab.ssh_person("ben").await, lab.ssh_person("tina").await);
        let now = Timestamp::now();
        lab.control().add_group(label("class"), None, vec![label("anna"), label("ben")], now).await.unwrap();
        lab.control().add_group(label("teachers"), None, vec![label("tina")], now).await.unwrap();
        let mut offered = service("robot", &format!("tcp://{}", robot.address));
        (offered.offer.virtual_port, offered.offer.access) = (Some(22), policy);
        let device = lab.device("pi", vec![offered]).await;
        Self { lab, anna, ben, tina, _device: device, _robot: robot }
    }

    async fn says(&self, key: &Key, words: &[&str]) -> Ended {
        let mut command = self.lab.openssh(&key.path());
        command.arg(gateway()).args(words);
        run(command).await
    }

    /// What `ssh -J` runs, held.
    async fn enter(&self, key: &Key) -> Option<Child> {
        let mut command = self.lab.openssh(&key.path());
        command.args(["-q", "-W", "pi:22", &gateway()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        is_alive(&mut child).await.then_some(child)
    }
}

async fn is_alive(child: &mut Child) -> bool {
    let (from, to) = (child.stdout.as_mut().unwrap(), child.stdin.as_mut().unwrap());
    let echoing = async {
        to.write_all(b"well?").await?;
        from.read_exact(&mut [0; 5]).await
    };
    matches!(timeout(LIMIT, echoing).await, Ok(Ok(_)))
}

/// Of the line about the robot.
fn first_number(listed: &Ended) -> String {
    let line = listed.said.lines().find(|line| line.contains("pi/robot")).expect("it is listed");
    line.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_is_one_pupils_at_a_time_and_a_teacher_takes_it_over_within_a_second() {
    let exclusive = PolicyDocument {
        exclusive: true,
        take_over: vec!["teachers".into()],
        claim: Some("1m".into()),
        ..on_request()
    };
    let school = School::of(exclusive).await;
    let opened = school.says(&school.anna, &["open", "pi/robot", "--for", "10m"]).await;
    assert!(opened.is_success, "{opened:?}");
    let mut annas = school.enter(&school.anna).await.expect("it is hers");

    let waits = school.says(&school.ben, &["open", "pi/robot"]).await;
    assert!(!waits.is_success && waits.said.contains("Your place in the line is 1"), "{waits:?}");
    assert!(waits.said.contains("somebody else has pi/robot until"), "{waits:?}");
    assert!(!waits.said.contains("anna") && !waits.said.contains("--take-over"), "he learns no name: {waits:?}");
    assert!(school.enter(&school.ben).await.is_none());
    let refused = school.says(&school.ben, &["open", "pi/robot", "--take-over"]).await;
    assert!(!refused.is_success && refused.said.contains("not yours to take"), "{refused:?}");

    let told = school.says(&school.tina, &["open", "pi/robot"]).await;
    assert!(told.said.contains("anna has pi/robot until") && told.said.contains("--take-over"), "{told:?}");
    let since = Instant::now();
    let taken = school.says(&school.tina, &["open", "pi/robot", "--take-over"]).await;
    let answered = Instant::now();
    assert!(taken.is_success, "{taken:?}");
    timeout(LIMIT, annas.wait()).await.expect("anna is cut").unwrap();
    println!("taken over: cut {:?} after the answer, {:?} after the wish", answered.elapsed(), since.elapsed());
    assert!(answered.elapsed() < SOON);
    assert!(school.enter(&school.anna).await.is_none());
    let tinas = school.enter(&school.tina).await.expect("it is hers now");

    let school = School { lab: school.lab.restart_gateway().await, ..school };
    drop(tinas);
    until("the device is back", async || school.enter(&school.tina).await.is_some()).await;
    let number = school.says(&school.tina, &["sessions"]).await;
    let ended = school.says(&school.tina, &["end", &first_number(&number)]).await;
    assert!(ended.is_success, "{ended:?}");
    let anna = school.says(&school.anna, &["open", "pi/robot"]).await;
    assert!(anna.said.contains("Your place in the line is 2"), "it is kept for ben: {anna:?}");
    let ben = school.says(&school.ben, &["open", "pi/robot"]).await;
    assert!(ben.is_success, "his turn has come: {ben:?}");
    assert!(school.enter(&school.ben).await.is_some());
    let left = school.says(&school.anna, &["leave", "pi/robot"]).await;
    assert!(left.is_success, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_needs_approval_opens_by_one_word_of_a_teacher_and_of_nobody_else() {
    let approval = Some(ApprovalDocument { by: "teachers".into(), within: None });
    let school = School::of(PolicyDocument { approval, ..on_request() }).await;
    let asked = school.says(&school.anna, &["open", "pi/robot", "--for", "10m"]).await;
    assert!(!asked.is_success && asked.said.contains("Somebody of teachers must approve it"), "{asked:?}");
    assert!(school.enter(&school.anna).await.is_none());
    let hers = school.says(&school.anna, &["requests"]).await;
    assert!(hers.said.contains("pi/robot") && hers.said.contains("waits for an answer"), "{hers:?}");
    let theirs = school.says(&school.tina, &["requests"]).await;
    assert!(theirs.said.contains("anna") && theirs.said.contains("yours to answer"), "{theirs:?}");
    let others = school.says(&school.ben, &["requests"]).await;
    assert!(!others.said.contains("anna"), "{others:?}");
    let number = first_number(&theirs);
    for key in [&school.ben, &school.anna] {
        let answer = school.says(key, &["approve", &number]).await;
        assert!(!answer.is_success && answer.said.contains("no request"), "{answer:?}");
    }
    assert!(school.enter(&school.anna).await.is_none());
    let yes = school.says(&school.tina, &["approve", &number]).await;
    assert!(yes.is_success && yes.said.contains("open for them until"), "{yes:?}");
    assert!(school.enter(&school.anna).await.is_some());
    let again = school.says(&school.tina, &["approve", &number]).await;
    assert!(!again.is_success, "{again:?}");
}
