use crate::caller::Caller;
use crate::{BackupHook, PortalState};
use axum::body::{Body, Bytes};
use axum::{Extension, Router};
use doorward_control::{Control, ControlSettings, Device, Enrolment, InviteRequest, SiteSettings, WebFace, accounts};
use doorward_core::AccountId;
use doorward_core::names::HostName;
use doorward_core::service::Offer;
use doorward_core::site::Address;
use doorward_oidc::Providers;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) struct Portal {
    pub(crate) state: PortalState,
    pub(crate) addresses: watch::Sender<Vec<Address>>,
    _directory: TempDir,
}

pub(crate) fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

impl Portal {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = SiteSettings {
            ssh_port: Some(2222),
            domain: Some(HostName::parse("example.org").unwrap()),
            web: WebFace::HTTPS,
            port_host: None,
            tcp_ports: 20000..=20009,
            udp_ports: 30000..=30009,
            session_ports: Some(40000..=40001),
            knock: doorward_control::KnockSettings { port: Some(62201), ..Default::default() },
            suffixes: Vec::new(),
            kept_hosts: Vec::new(),
            portal: Some(HostName::parse("portal.example.org").unwrap()),
            link_hosts: Vec::new(),
            tls_port: Some(443),
        };
        let settings = ControlSettings { directory: directory.path().join("data"), site, now: noon() };
        let control = Control::open(settings).await.unwrap();
        let (addresses, listening) = watch::channel(vec![Address::parse("gw.example.org").unwrap()]);
        let backup: BackupHook = Arc::new({
            let control = control.clone();
            move |request| {
                let control = control.clone();
                Box::pin(async move { control.backup_into(&request.path).await.map_err(|e| e.to_string()) })
            }
        });
        let state = PortalState {
            control,
            addresses: listening,
            release: "0.0.0",
            backup,
            providers: Providers::default(),
            clock: noon,
        };
        Self { state, addresses, _directory: directory }
    }

    pub(crate) async fn join(&self, key: u8, name: &str) -> Arc<Device> {
        self.join_for(accounts::OWNER, key, name).await
    }

    /// A device that is this account's.
    pub(crate) async fn join_for(&self, account: AccountId, key: u8, name: &str) -> Arc<Device> {
        let control = &self.state.control;
        let (_, secret) = control.create_invite(account, InviteRequest::default(), noon()).await.unwrap();
        let source = "192.0.2.7".parse().unwrap();
        let enrolment = Enrolment { secret, key: [key; 32], suggested_name: name.to_owned(), source };
        control.enrol(enrolment, noon()).await.unwrap()
    }

    pub(crate) async fn offer(&self, device: &Device, texts: &[&str]) {
        for registration in self.state.control.register(device.id, offers(texts), noon()).await.unwrap() {
            assert_eq!(registration.problems, Vec::<String>::new());
        }
    }

    /// What this caller is answered; `None`: a stranger.
    pub(crate) async fn ask_as(&self, caller: Option<Caller>, request: Request<Body>) -> Answer {
        let router = Router::new().nest("/api/v1", crate::api::router(&self.state));
        let router = crate::finish(router).with_state(self.state.clone());
        match caller {
            Some(caller) => send(router.layer(Extension(caller)), request).await,
            None => send(router, request).await,
        }
    }

    /// A request of the owner.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_seeing(method, path, body, None).await
    }

    pub(crate) async fn ask_seeing(&self, method: &str, path: &str, body: &str, version: Option<i64>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        send(crate::owner(self.state.clone()), request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

pub(crate) fn offers(texts: &[&str]) -> Vec<Offer> {
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) response: Response<()>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// What the error says, having checked its form.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert!(!body["remedy"].as_str().unwrap().is_empty());
        assert_eq!((&body["status"], &body["error"]["what"]), (&status.into(), &body["detail"]));
        body["detail"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    // What never ends is looked at elsewhere.
    let is_endless = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let bytes = if is_endless { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let answer = Answer { status: head.status, response: Response::from_parts(head, ()), text };
    assert_eq!(answer.header("cache-control"), "no-store");
    super::described::is_described(&method, &path, &answer);
    answer
}
