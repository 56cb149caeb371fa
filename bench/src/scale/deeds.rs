//! What is done in both stores: by anna, a member with a few devices of her own, and by the gateway's owner.

use super::store::{self, ANNA, noon};
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use doorward_control::{Control, SessionRequest, accounts};
use doorward_core::access::{Proof, Visitor, preview_visit};
use doorward_core::service::Entrance;
use doorward_core::site::Address;
use doorward_core::{AccountId, LoginId, ServiceId};
use doorward_oidc::Providers;
use doorward_portal::{BackupHook, PortalState};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt;

#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    Anna,
    Owner,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// A thousand decisions about somebody who has a session.
    Decide,
    /// A thousand times from a host to its service.
    Route,
    /// Opened and ended.
    OpenSession,
    /// Another policy for one service, and its own again.
    ChangePolicy,
    Page(Who, &'static str),
    /// A piece of a list, or one thing, by the API.
    Ask(Who, &'static str),
}

use Deed::{Ask, ChangePolicy, Decide, OpenSession, Page, Route};
use Who::{Anna, Owner};

pub(super) const ALL: [Deed; 27] = [
    Decide,
    Route,
    OpenSession,
    ChangePolicy,
    Page(Anna, "/"),
    Page(Anna, "/account"),
    Page(Anna, "/logins"),
    Page(Anna, "/door?host=service-9-device-9.gw.test&challenge=CHALLENGE&to=/"),
    Page(Anna, "/door?host=service-6-device-6.gw.test&challenge=CHALLENGE&to=/"),
    Page(Owner, "/"),
    Ask(Anna, "/api/v1/services?limit=5"),
    Ask(Anna, "/api/v1/services?limit=5&after=device-3/service-3"),
    Ask(Anna, "/api/v1/services/device-1/service-1"),
    Ask(Anna, "/api/v1/devices?limit=5"),
    Ask(Anna, "/api/v1/sessions?limit=2"),
    Ask(Anna, "/api/v1/sessions?limit=20&all=true"),
    Ask(Owner, "/api/v1/services?limit=20"),
    Ask(Owner, "/api/v1/services?limit=20&after=device-3/service-3"),
    Ask(Owner, "/api/v1/devices?limit=20"),
    Ask(Owner, "/api/v1/people?limit=20"),
    Ask(Owner, "/api/v1/people?limit=20&after=person-1"),
    Ask(Owner, "/api/v1/groups?limit=20"),
    Ask(Owner, "/api/v1/sessions?limit=20"),
    Ask(Owner, "/api/v1/sessions?limit=20&after=60"),
    Ask(Owner, "/api/v1/sessions?limit=20&all=true"),
    Ask(Owner, "/api/v1/audit?limit=20"),
    Ask(Owner, "/api/v1/status"),
];

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |who: &Who| match who {
            Anna => "a member",
            Owner => "the owner",
        };
        match self {
            Decide => f.write_str("1000 decisions"),
            Route => f.write_str("1000 looks for a host's service"),
            OpenSession => f.write_str("open a session and end it"),
            ChangePolicy => f.write_str("change a policy twice"),
            Page(whose, path) => write!(f, "page {} of {}", path.split('?').next().unwrap_or_default(), who(whose)),
            Ask(whose, path) => write!(f, "{path} of {}", who(whose)),
        }
    }
}

/// A store with a portal upon it, and the two who ask.
pub(super) struct House {
    control: Control,
    site: Router,
    annas: (LoginId, String),
    owners: String,
    _addresses: watch::Sender<Vec<Address>>,
}

impl House {
    pub(super) async fn open(folder: &Path) -> Result<Self> {
        let control = Control::open(store::settings(folder)).await?;
        let (addresses, listening) = watch::channel(vec![Address::parse("gw.test")?]);
        let backup: BackupHook = Arc::new(|_| Box::pin(async { Err(String::new()) }));
        let state = PortalState {
            control: control.clone(),
            addresses: listening,
            release: "0.0.0",
            backup,
            providers: Providers::default(),
            clock: noon,
        };
        let login = control.begin_login(AccountId(ANNA), "a browser", None, noon()).await?;
        let annas = (login.id, login.token.expose().clone());
        let owners = control.begin_login(accounts::OWNER, "a browser", None, noon()).await?.token.expose().clone();
        let site = doorward_portal::site(state);
        Ok(Self { control, site, annas, owners, _addresses: addresses })
    }

    pub(super) async fn close(self) {
        self.control.close().await;
    }

    pub(super) async fn run(&self, deed: Deed) -> Result<()> {
        match deed {
            Decide => self.decide(),
            Route => self.route(),
            OpenSession => self.open_session().await,
            ChangePolicy => self.change_policy().await,
            Page(who, path) => self.get(who, path, "text/html").await,
            Ask(who, path) => self.get(who, path, "application/json").await,
        }
    }

    fn decide(&self) -> Result<()> {
        let mut visitor = Visitor::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Entrance::Web);
        let snapshot = self.control.snapshot();
        let session = snapshot.session_for(AccountId(ANNA), ServiceId(7)).context("it is open")?.id;
        visitor.proofs.extend([Proof::Login(self.annas.0), Proof::Session(session)]);
        for _ in 0..1000 {
            let snapshot = self.control.snapshot();
            let service = snapshot.service(ServiceId(7)).context("it is there")?;
            ensure!(preview_visit(&service, &visitor, &*snapshot, noon()).is_ok());
        }
        Ok(())
    }

    fn route(&self) -> Result<()> {
        let host = doorward_core::names::HostName::parse("service-9-device-9.gw.test")?;
        for _ in 0..1000 {
            let snapshot = self.control.snapshot();
            ensure!(snapshot.web(&host, "/a/b/c").is_some_and(|(service, _)| service.id == ServiceId(10)));
        }
        Ok(())
    }

    async fn open_session(&self) -> Result<()> {
        let request = SessionRequest {
            account: AccountId(ANNA),
            service: ServiceId(4),
            length: SignedDuration::from_mins(30),
            source: None,
            id: None,
            proofs: Vec::new(),
        };
        let session = self.control.open_session(request, noon()).await?;
        self.control.end_session(session.id, None, noon()).await?;
        Ok(())
    }

    async fn change_policy(&self) -> Result<()> {
        let snapshot = self.control.snapshot();
        let record = snapshot.service_record(ServiceId(20)).context("it is there")?;
        let (device, name, own) = (record.service.device, record.service.name.clone(), record.access.clone());
        for people in [vec!["anna".to_owned()], own.people.clone()] {
            let policy = doorward_core::access::PolicyDocument { people, ..own.clone() };
            self.control.set_access(device, &name, Some(policy), None, noon()).await?;
        }
        Ok(())
    }

    async fn get(&self, who: Who, path: &str, kind: &str) -> Result<()> {
        let token = match who {
            Anna => &self.annas.1,
            Owner => &self.owners,
        };
        let path = path.replace("CHALLENGE", &"A".repeat(43));
        let request = Request::get(&path)
            .header("host", "portal.gw.test")
            .header("accept", kind)
            .header("cookie", format!("__Host-doorward={token}"))
            .body(Body::empty())?;
        let answer = self.site.clone().oneshot(request).await.map_err(|never| match never {})?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            (status == StatusCode::OK && body.len() > 20) || status == StatusCode::SEE_OTHER,
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }
}
