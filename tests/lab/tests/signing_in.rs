//! Becoming somebody who can sign in, and signing in, with curl over HTTPS through the gateway.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use aws_lc_rs::hmac;
use doorward_control::{InvitationRequest, PersonEdit};
use doorward_core::access::{PolicyDocument, WhoDocument};
use doorward_core::names::Label;
use doorward_core::person::Role;
use doorward_lab::web::{ok, web};
use doorward_lab::{Lab, Shape, service};
use jiff::{SignedDuration, Timestamp};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

const PORTAL: &str = "portal.gw.test";
const PASSWORD: &str = "drei müde Ziegen";

/// curl with a jar of its own, and the page that it was answered last.
struct Curl {
    folder: tempfile::TempDir,
    page: String,
}

impl Curl {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), page: String::new() }
    }

    async fn get(&mut self, at: SocketAddr, path: &str) -> u16 {
        self.ask(at, path, None).await
    }

    /// The form of the last page, with these fields.
    async fn send(&mut self, at: SocketAddr, path: &str, fields: &[(&str, &str)]) -> u16 {
        let token = self.field("form-token");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("form-token", &token);
        form.extend_pairs(fields);
        let form = form.finish();
        self.ask(at, path, Some(form)).await
    }

    async fn ask(&mut self, at: SocketAddr, path: &str, form: Option<String>) -> u16 {
        let (jar, got) = (self.folder.path().join("jar"), self.folder.path().join("got"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-k", "--max-time", "20", "-H", "accept: text/html", "-H", "sec-fetch-site: same-origin"]);
        curl.args(["-b", &text(&jar), "-c", &text(&jar), "-o", &text(&got), "-w", "%{http_code}"]);
        curl.args(["--resolve", &format!("{PORTAL}:{}:{}", at.port(), at.ip())]);
        if let Some(form) = form {
            // Not on the command line, where every user of the machine could read it.
            std::fs::write(self.folder.path().join("form"), form).unwrap();
            curl.args(["--data-binary", &format!("@{}", text(&self.folder.path().join("form")))]);
        }
        curl.arg(format!("https://{PORTAL}:{}{path}", at.port()));
        let output = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        self.page = std::fs::read_to_string(got).unwrap_or_default();
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }

    /// What a hidden field holds.
    fn field(&self, name: &str) -> String {
        let (_, rest) =
            self.page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{}", self.page));
        rest.split('"').next().unwrap().to_owned()
    }

    async fn is_signed_in(&mut self, at: SocketAddr) -> bool {
        self.get(at, "/account").await == 200
    }
}

/// RFC 6238, as an app does it.
fn code(letters: &str, at: Timestamp) -> String {
    let bytes = data_encoding::BASE32_NOPAD.decode(letters.replace('-', "").as_bytes()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let step = u64::try_from(at.as_second()).unwrap() / 30;
    let signed = hmac::sign(&key, &step.to_be_bytes());
    let from = usize::from(signed.as_ref()[19] & 15);
    let four: [u8; 4] = signed.as_ref()[from..from + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_comes_by_the_link_and_signs_in_with_an_app_over_a_restart() {
    let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
    let made = lab.control().make_owner_link(None, Timestamp::now()).await.unwrap();
    let (mut owner, at) = (Curl::new(), lab.https());
    assert_eq!(owner.get(at, "/welcome").await, 200);
    assert_eq!(owner.send(at, "/welcome", &[("code", made.secret.expose())]).await, 200);
    let code_of_link = owner.field("code");
    let answer = [("code", code_of_link.as_str()), ("name", "olga"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(owner.send(at, "/welcome/accept", &answer).await, 200);
    assert!(owner.is_signed_in(at).await);
    assert!(owner.page.contains("<dd>olga</dd>"), "{}", owner.page);

    assert_eq!(owner.send(at, "/account/totp", &[("password", PASSWORD)]).await, 200);
    let letters = owner.page.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let (ticket, first) = (owner.field("ticket"), code(&letters, Timestamp::now()));
    assert_eq!(
        owner.send(at, "/account/totp/code", &[("ticket", &ticket), ("code", &first)]).await,
        200,
        "{}",
        owner.page
    );

    let mut other = Curl::new();
    assert_eq!(other.get(at, "/sign-in").await, 200);
    assert_eq!(other.send(at, "/sign-in", &[("name", "olga"), ("password", PASSWORD)]).await, 200);
    assert!(!other.is_signed_in(at).await);
    assert_eq!(other.get(at, "/sign-in").await, 200);
    assert_eq!(other.send(at, "/sign-in", &[("name", "olga"), ("password", PASSWORD)]).await, 200);
    let ticket = other.field("ticket");
    let lab = lab.restart_gateway().await;
    let at = lab.https();
    // Of a phone whose clock is a little ahead.
    let next = code(&letters, Timestamp::now() + SignedDuration::from_secs(30));
    assert_eq!(other.send(at, "/sign-in/code", &[("ticket", &ticket), ("code", &next)]).await, 200, "{}", other.page);
    assert!(other.is_signed_in(at).await && owner.is_signed_in(at).await);
    let mut late = Curl::new();
    late.get(at, "/sign-in").await;
    late.send(at, "/sign-in", &[("name", "olga"), ("password", PASSWORD)]).await;
    let ticket = late.field("ticket");
    assert_eq!(
        late.send(at, "/sign-in/code", &[("ticket", &ticket), ("code", &next)]).await,
        403,
        "a code counts once"
    );
    assert_eq!(lab.control().make_first_welcome(Timestamp::now()).await.unwrap().map(|made| made.id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_signs_up_sees_what_its_group_may_use_and_is_out_when_its_time_is_over() {
    let lab = Lab::of(Shape { has_portal: true, ..Shape::default() }).await;
    let page = web(|request| ok(request.path())).await;
    let mut robot = service("robot", &page.url());
    robot.offer.access =
        PolicyDocument { who: WhoDocument::People, groups: vec!["robotics".to_owned()], ..PolicyDocument::default() };
    let _device = lab.device("pi", vec![robot]).await;
    let (control, at) = (lab.control(), lab.https());
    control.add_group(Label::parse("robotics").unwrap(), None, Vec::new(), Timestamp::now()).await.unwrap();
    let request = InvitationRequest {
        uses: 2,
        role: Role::Guest,
        groups: vec![Label::parse("robotics").unwrap()],
        account_ends_at: Some(Timestamp::now() + SignedDuration::from_hours(24)),
        ..InvitationRequest::default()
    };
    let made = control.invite_people(request, Timestamp::now()).await.unwrap();
    let mut pupils = Vec::new();
    for name in ["anna", "ben"] {
        let mut pupil = Curl::new();
        assert_eq!(pupil.get(at, "/welcome").await, 200);
        assert_eq!(pupil.send(at, "/welcome", &[("code", made.secret.expose())]).await, 200);
        let code = pupil.field("code");
        let answer = [("code", code.as_str()), ("name", name), ("password", PASSWORD), ("again", PASSWORD)];
        assert_eq!(pupil.send(at, "/welcome/accept", &answer).await, 200);
        assert_eq!(pupil.get(at, "/").await, 200);
        assert!(pupil.page.contains("robot"), "{}", pupil.page);
        pupils.push(pupil);
    }
    let mut late = Curl::new();
    late.get(at, "/welcome").await;
    assert_eq!(late.send(at, "/welcome", &[("code", made.secret.expose())]).await, 410);
    let anna = control.snapshot().person_by_name(&Label::parse("anna").unwrap()).unwrap().clone();
    let over = PersonEdit { ends_at: Some(Some(Timestamp::now())), ..PersonEdit::default() };
    control.edit_person(anna.id, over, None, Timestamp::now()).await.unwrap();
    assert!(!pupils[0].is_signed_in(at).await && pupils[1].is_signed_in(at).await);
    pupils[0].get(at, "/sign-in").await;
    assert_eq!(pupils[0].send(at, "/sign-in", &[("name", "anna"), ("password", PASSWORD)]).await, 403);
}
