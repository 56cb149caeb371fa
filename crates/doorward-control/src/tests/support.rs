use crate::accounts::OWNER;
use crate::{
    Changes, Control, ControlSettings, Device, Enrolment, InviteRequest, KnockSettings, News, OpenError, Registration,
    SiteSettings, WebFace,
};
use doorward_core::Secret;
use doorward_core::access::PolicyDocument;
use doorward_core::names::{HostName, Label, PathPrefix};
use doorward_core::service::{EntranceWish, Offer, PathWish, ServiceKind};
use doorward_core::web::WebOffer;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A state in a directory of its own.
pub(crate) struct Site {
    pub(crate) control: Control,
    pub(crate) directory: TempDir,
}

impl Site {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = open(&data(&directory)).await.unwrap();
        Self { control, directory }
    }

    pub(crate) fn data(&self) -> PathBuf {
        data(&self.directory)
    }

    pub(crate) async fn reopen(self) -> Self {
        self.control.close().await;
        let data = self.data();
        let Self { control, directory } = self;
        drop(control);
        Self { control: open(&data).await.unwrap(), directory }
    }

    pub(crate) async fn invite(&self, request: InviteRequest) -> Secret<[u8; 16]> {
        self.control.create_invite(OWNER, request, noon()).await.unwrap().1
    }

    pub(crate) async fn join(&self, key: u8, name: &str) -> Arc<Device> {
        let secret = self.invite(InviteRequest::default()).await;
        self.control.enrol(enrolment(&secret, key, name), noon()).await.unwrap()
    }

    pub(crate) async fn register(&self, device: &Device, offers: Vec<Offer>) -> Vec<Registration> {
        self.control.register(device.id, offers, noon()).await.unwrap()
    }

    /// One offer; its registration must be without problems.
    pub(crate) async fn offer(&self, device: &Device, offer: Offer) -> Registration {
        let mut registrations = self.register(device, vec![offer]).await;
        assert_eq!(registrations[0].problems, Vec::<String>::new());
        registrations.remove(0)
    }
}

fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

pub(crate) async fn open(directory: &Path) -> Result<Control, OpenError> {
    Control::open(ControlSettings { directory: directory.to_owned(), site: site_settings(), now: noon() }).await
}

pub(crate) fn site_settings() -> SiteSettings {
    SiteSettings {
        ssh_port: None,
        domain: Some(host("example.org")),
        web: WebFace::HTTPS,
        port_host: None,
        tcp_ports: 20000..=20009,
        udp_ports: 30000..=30001,
        session_ports: Some(40000..=40001),
        knock: KnockSettings { port: Some(62201), ..KnockSettings::default() },
        suffixes: vec![host("lab.test")],
        kept_hosts: vec![host("portal.lab.test")],
        portal: Some(host("portal.example.org")),
        link_hosts: vec![host("gw.lab.test")],
        tls_port: Some(443),
    }
}

pub(crate) fn enrolment(secret: &Secret<[u8; 16]>, key: u8, name: &str) -> Enrolment {
    Enrolment {
        secret: secret.clone(),
        key: [key; 32],
        suggested_name: name.to_owned(),
        source: "192.0.2.7".parse().unwrap(),
    }
}

pub(crate) fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(crate) fn label(name: &str) -> Label {
    Label::parse(name).unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

pub(crate) fn offer(name: &str, kind: ServiceKind) -> Offer {
    Offer {
        name: label(name),
        title: None,
        kind,
        virtual_port: None,
        main: false,
        entrances: Vec::new(),
        access: PolicyDocument::public(),
        web: WebOffer::default(),
        prepare: None,
    }
}

pub(crate) fn http(name: &str) -> Offer {
    offer(name, ServiceKind::Http)
}

pub(crate) fn tcp(name: &str, port: u16) -> Offer {
    Offer { entrances: vec![EntranceWish::TcpPort(port)], ..offer(name, ServiceKind::Tcp) }
}

pub(crate) fn on_host(name: &str, on: &str) -> Offer {
    Offer { entrances: vec![EntranceWish::Host(host(on))], ..http(name) }
}

pub(crate) fn on_path(name: &str, prefix: &str) -> Offer {
    let wish = PathWish { host: None, prefix: PathPrefix::parse(prefix).unwrap(), strip: true };
    Offer { entrances: vec![EntranceWish::Path(wish)], ..http(name) }
}

pub(crate) fn reached_by(registration: &Registration) -> Vec<String> {
    registration.reached_by.iter().map(ToString::to_string).collect()
}

pub(crate) async fn next_news(changes: &mut Changes) -> Option<News> {
    tokio::time::timeout(Duration::from_secs(10), changes.next()).await.expect("no news within 10 s")
}
