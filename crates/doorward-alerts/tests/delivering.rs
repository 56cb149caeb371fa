//! Notices arrive at real receivers: an HTTP server on loopback, and Debian's aiosmtpd.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

mod mailing;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use doorward_alerts::{Alerts, Destination, Language, Ntfy, SIGNATURE, Trust, Url, Way, Webhook};
use doorward_control::{AlertDestination, Control, ControlSettings, SiteSettings, WebFace};
use doorward_core::Secret;
use doorward_core::notice::{Notice, NoticeKind};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug)]
struct Heard {
    line: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// Answers each request as it was told, the last answer for ever.
struct Receiver {
    address: SocketAddr,
    heard: mpsc::Receiver<Heard>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = mpsc::channel(1000);
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut turn = 0;
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let Some(request) = read(&mut socket).await else { continue };
                let answer = &answers[turn.min(answers.len() - 1)];
                turn += 1;
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = socket.write_all(text.as_bytes()).await;
                sender.send(request).await.unwrap();
            }
        });
        Self { address, heard, _serving: serving }
    }

    async fn next(&mut self) -> Heard {
        tokio::time::timeout(LIMIT, self.heard.recv()).await.expect("a request comes in time").unwrap()
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }
}

async fn read(socket: &mut tokio::net::TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let line = lines.next().unwrap().to_owned();
            let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
            let headers: HashMap<_, _> = lines.filter_map(pair).collect();
            let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            while bytes.len() < end + 4 + length {
                if socket.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(Heard { line, headers, body: bytes[end + 4..].to_vec() });
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

pub(crate) struct Site {
    pub(crate) control: Control,
    _directory: TempDir,
}

impl Site {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = SiteSettings {
            ssh_port: None,
            domain: None,
            web: WebFace::HTTPS,
            port_host: None,
            tcp_ports: 20000..=20009,
            udp_ports: 30000..=30001,
            session_ports: None,
            suffixes: Vec::new(),
            kept_hosts: Vec::new(),
            portal: None,
            link_hosts: Vec::new(),
            tls_port: None,
            knock: doorward_control::KnockSettings::default(),
        };
        let settings = ControlSettings { directory: directory.path().join("data"), site, now: Timestamp::now() };
        Self { control: Control::open(settings).await.unwrap(), _directory: directory }
    }

    /// With pauses that nobody waits for.
    pub(crate) fn serve(&self, destinations: Vec<Destination>) -> Alerts {
        let mut alerts = Alerts::with_pauses(self.control.clone(), &[Duration::from_millis(20); 3]);
        alerts.serve(destinations);
        alerts
    }

    /// The destination's state as soon as it is like this.
    pub(crate) async fn until(&self, name: &str, is: impl Fn(&AlertDestination) -> bool) -> AlertDestination {
        let mut board = self.control.alert_destinations();
        let board = tokio::time::timeout(LIMIT, board.wait_for(|board| board.get(name).is_some_and(&is))).await;
        board.expect("the destination comes to this in time").unwrap()[name].clone()
    }

    pub(crate) fn raise(&self, notice: Notice) -> String {
        self.control.alert(notice, Timestamp::now()).expect("it is news")
    }
}

pub(crate) fn to(name: &str, way: Way) -> Destination {
    Destination { name: name.to_owned(), notices: None, language: Language::English, way }
}

fn webhook(receiver: &Receiver) -> Way {
    let secret = Some(Secret::new("Jefe".to_owned()));
    Way::Webhook(Webhook { url: receiver.url("/hook?a=1"), secret, trust: Trust::System })
}

fn offline(device: &str) -> Notice {
    Notice::DeviceOffline { device: device.to_owned(), since: "2026-11-23T12:00:00Z".parse().unwrap() }
}

#[tokio::test]
async fn a_webhook_is_signed_over_time_and_body_and_says_all_there_is() {
    let site = Site::open().await;
    let mut receiver = Receiver::start(&["204 No Content"]).await;
    let _alerts = site.serve(vec![to("hook", webhook(&receiver))]);
    let id = site.raise(offline("zumi01"));
    let heard = receiver.next().await;
    assert_eq!(heard.line, "POST /hook?a=1 HTTP/1.1");
    assert_eq!(heard.headers["doorward-id"], id);
    let (time, signature) = heard.headers[SIGNATURE].split_once(',').unwrap();
    let (time, signature) = (time.strip_prefix("t=").unwrap(), signature.strip_prefix("v1=").unwrap());
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
    let signed = [time.as_bytes(), b".", &heard.body].concat();
    hmac::verify(&key, &signed, &HEXLOWER.decode(signature.as_bytes()).unwrap()).expect("it is signed");
    assert!(Timestamp::now().as_second() - time.parse::<i64>().unwrap() < 60);
    let body: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!(body["kind"], "device-offline");
    assert_eq!(body["title"], "zumi01 is offline");
    assert_eq!(body["details"]["since"], "2026-11-23T12:00:00Z");
    let state = site.until("hook", |state| state.sent == 1).await;
    assert_eq!((state.failed, state.waiting, state.trouble), (0, 0, None));
}

#[tokio::test]
async fn ntfy_gets_title_priority_click_and_token() {
    let site = Site::open().await;
    let mut receiver = Receiver::start(&["200 OK"]).await;
    let token = Some(Secret::new("tk_1".to_owned()));
    let ntfy = Ntfy { url: receiver.url("/topic"), token, trust: Trust::System };
    let _alerts = site.serve(vec![Destination { language: Language::German, ..to("phone", Way::Ntfy(ntfy)) }]);
    let link = Some("https://portal.example.org/approve/1".to_owned());
    site.raise(Notice::ApprovalWanted { person: "ada".into(), service: "zumi01/jupyter".into(), link });
    let heard = receiver.next().await;
    assert_eq!(heard.line, "POST /topic HTTP/1.1");
    assert_eq!(heard.headers["title"], "ada bittet um zumi01/jupyter");
    assert_eq!(heard.headers["priority"], "5");
    assert_eq!(heard.headers["click"], "https://portal.example.org/approve/1");
    assert_eq!(heard.headers["authorization"], "Bearer tk_1");
    let text = String::from_utf8(heard.body).unwrap();
    assert_eq!(text, "ada möchte zumi01/jupyter benutzen und wartet auf Ihre Antwort.");
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again_with_the_same_id_and_what_fails_for_ever_is_given_up() {
    let site = Site::open().await;
    let mut receiver = Receiver::start(&["503 Busy", "429 Slow Down", "200 OK", "400 No", "200 OK"]).await;
    let _alerts = site.serve(vec![to("hook", webhook(&receiver))]);
    let id = site.raise(offline("zumi01"));
    for _ in 0..3 {
        assert_eq!(receiver.next().await.headers["doorward-id"], id);
    }
    site.until("hook", |state| state.sent == 1).await;
    site.raise(offline("zumi02"));
    receiver.next().await;
    let state = site.until("hook", |state| state.failed == 1).await;
    assert!(state.trouble.unwrap().contains("400"));
    // What comes next is not held up, and tells that all is well again.
    site.raise(offline("zumi03"));
    assert!(String::from_utf8(receiver.next().await.body).unwrap().contains("zumi03"));
    assert_eq!(site.until("hook", |state| state.sent == 2).await.trouble, None);
}

#[tokio::test]
async fn a_redirection_is_never_followed() {
    let site = Site::open().await;
    let mut elsewhere = Receiver::start(&["200 OK"]).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!("{status}\r\nlocation: http://{}/", elsewhere.address);
        let mut receiver = Receiver::start(&[&answer]).await;
        let _alerts = site.serve(vec![to(status, webhook(&receiver))]);
        site.raise(offline("zumi01"));
        receiver.next().await;
        let state = site.until(status, |state| state.failed == 1).await;
        assert!(state.trouble.unwrap().contains("not followed"));
    }
    assert!(elsewhere.heard.try_recv().is_err(), "nobody came");
}

#[tokio::test]
async fn one_that_hangs_holds_up_nobody_and_its_queue_is_bounded() {
    let site = Site::open().await;
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let mut receiver = Receiver::start(&["200 OK"]).await;
    let silent_hook = Way::Webhook(Webhook { url, secret: None, trust: Trust::System });
    let _alerts = site.serve(vec![to("silent", silent_hook), to("hook", webhook(&receiver))]);
    for n in 0..200 {
        site.raise(offline(&format!("d{n}")));
        receiver.next().await;
    }
    site.until("hook", |state| state.sent == 200).await;
    let state = site.until("silent", |state| state.dropped == 200 - 64).await;
    assert_eq!((state.waiting, state.sent), (64, 0));
}

#[tokio::test]
async fn each_destination_hears_what_it_asked_for_and_every_test() {
    let site = Site::open().await;
    let mut receiver = Receiver::start(&["200 OK"]).await;
    let only = Some([NoticeKind::DeviceOnline].into());
    let _alerts = site.serve(vec![Destination { notices: only, ..to("hook", webhook(&receiver)) }]);
    site.raise(offline("zumi01"));
    let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    site.raise(Notice::DeviceOnline { device: "zumi01".into(), away_since: at });
    assert!(String::from_utf8(receiver.next().await.body).unwrap().contains("device-online"));
    let id = site.raise(Notice::Test);
    assert!(String::from_utf8(receiver.next().await.body).unwrap().contains("A test"));
    let state = site.until("hook", |state| state.tested.is_some()).await;
    assert_eq!(state.tested.map(|tested| (tested.id, tested.trouble)), Some((id, None)));
}

#[tokio::test]
async fn a_test_that_fails_says_why_at_once() {
    let site = Site::open().await;
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{closed}/token")).unwrap();
    let hook = Way::Webhook(Webhook { url, secret: None, trust: Trust::System });
    let mut alerts = Alerts::new(site.control.clone());
    alerts.serve(vec![to("hook", hook)]);
    site.raise(Notice::Test);
    let why = site.until("hook", |state| state.tested.is_some()).await.tested.unwrap().trouble.unwrap();
    assert!(why.contains("refused") && !why.contains("token"), "{why}");
}

#[tokio::test]
async fn what_waits_survives_new_settings_and_a_destination_that_went_is_forgotten() {
    let site = Site::open().await;
    let mut receiver = Receiver::start(&["200 OK"]).await;
    // Fails, and would be tried again in a minute.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{closed}/")).unwrap();
    let hook = Way::Webhook(Webhook { url, secret: None, trust: Trust::System });
    let mut alerts = Alerts::with_pauses(site.control.clone(), &[Duration::from_secs(60)]);
    alerts.serve(vec![to("hook", hook.clone()), to("other", hook)]);
    site.raise(offline("zumi01"));
    site.until("hook", |state| state.trouble.is_some()).await;
    alerts.serve(vec![to("hook", webhook(&receiver))]);
    assert!(String::from_utf8(receiver.next().await.body).unwrap().contains("zumi01"));
    site.until("hook", |state| state.sent == 1).await;
    assert_eq!(site.control.alert_destinations().borrow().len(), 1);
}
