//! Ways to a camera: its own host or path, and `/frames/` on the portal's host for whoever is signed in there.
//!
//! What a stranger gets at `/frames/` is what the portal says of a path that it does not have. These are `GET`s that change
//! nothing; still nobody else's page watches with a person's login.

use super::asked::{Asked, At};
use super::feed;
use super::image::{Blind, first, head, image, parts};
use super::{Crowded, Key};
use crate::admit::Admitted;
use crate::live::Way;
use crate::web::breaking::VisitorSide;
use crate::web::connection::VisitorConnection;
use crate::web::credentials::cookie;
use crate::web::forward::Web;
use crate::web::origin::PublicOrigin;
use crate::web::{Body, empty, page, upgrade};
use doorward_core::access::{Proof, Visitor};
use doorward_core::hop::HopFailure;
use doorward_core::login::{LOGIN_COOKIE, Login, LoginKind};
use doorward_core::names::{Label, PathPrefix};
use doorward_core::service::{Entrance, Service};
use doorward_frames::pace::Caps;
use doorward_tunnel::Reset;
use http::header::{HOST, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// On the portal's host; followed by `feed`, or by a service and what is asked of it.
const FRAMES_PATH: &str = "/frames/";

impl Web {
    /// Shows the camera to somebody who was let in to it.
    pub(crate) async fn show(
        &self,
        connection: &VisitorConnection,
        request: &Request<Incoming>,
        admitted: Admitted,
        at: At<'_>,
    ) -> Result<Response<Body>, Reset> {
        let headers = request.headers();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Ok(page::only_to_look_at(headers));
        }
        let Some(asked) = Asked::of(at.rest, request.uri()) else { return Ok(page::nothing_here(headers)) };
        if request.method() == Method::HEAD {
            return Ok(match asked {
                Asked::Stream => head(&parts().content_type(), empty()),
                Asked::Picture => head("image/jpeg", empty()),
            });
        }
        let service = admitted.service.clone();
        let key = Key { service: service.id, mount: at.mount };
        let side = VisitorSide::of(request.version(), &connection.breaker);
        let shown = match asked {
            Asked::Picture => self.frames.glance(key, admitted).await,
            Asked::Stream => self.stream(connection, key, admitted, side.clone()).await,
        };
        match shown {
            Ok(response) => Ok(response),
            Err(Blind::Failed) => Ok(page::hop_failed(headers, self.why(&service), &service)),
            Err(Blind::TooLate) => Ok(page::hop_failed(headers, HopFailure::TargetTimedOut, &service)),
            Err(Blind::Over) => {
                side.break_off();
                Err(Reset::Cut)
            }
        }
    }

    async fn stream(
        &self,
        connection: &VisitorConnection,
        key: Key,
        admitted: Admitted,
        side: VisitorSide,
    ) -> Result<Response<Body>, Blind> {
        let viewer = self.frames.look(key, admitted, Caps::default()).map_err(|Crowded| Blind::TooLate)?;
        first(&viewer, None).await?;
        connection.keep_little_unsent();
        Ok(image(viewer, side))
    }

    /// The hop that failed, if it was one before the camera itself.
    fn why(&self, service: &Service) -> HopFailure {
        let failure = self.admission.control.presence().service_failure(service.id);
        failure.map_or(HopFailure::TargetUnreachable, |failure| failure.failure)
    }

    /// On the portal's host. `Err`: the portal answers.
    pub(crate) async fn at_frames(
        self: &Arc<Self>,
        connection: &Arc<VisitorConnection>,
        request: Request<Incoming>,
        source: IpAddr,
    ) -> Result<Result<Response<Body>, Reset>, Request<Incoming>> {
        let Some(named) = request.uri().path().strip_prefix(FRAMES_PATH).map(str::to_owned) else {
            return Err(request);
        };
        let Some(login) = self.login_at_portal(&request).filter(|_| self.is_from_portal(connection, &request)) else {
            return Err(request);
        };
        if named == "feed" && upgrade::is_upgrade(&request) {
            return Ok(Ok(feed::open(self, connection, request, &login, source)));
        }
        let Some(named) = Named::of(&named) else { return Err(request) };
        let admitted = match self.admit_at_portal(&login, source, named.device, named.service, named.mount.as_ref()) {
            Ok(admitted) => admitted,
            Err(Unseen::Nothing | Unseen::NotNow(_)) => return Err(request),
            Err(Unseen::TooMany) => {
                return Ok(Ok(page::too_often(request.headers(), StatusCode::SERVICE_UNAVAILABLE)));
            }
        };
        let at = At { mount: named.mount, rest: named.rest };
        Ok(self.show(connection, &request, admitted, at).await)
    }

    /// Whoever is signed in at the portal with this browser.
    fn login_at_portal<B>(&self, request: &Request<B>) -> Option<Login> {
        let token = cookie(request.headers(), LOGIN_COOKIE)?;
        let (_, login) = self.admission.control.signed_in(&token, Timestamp::now())?;
        (login.kind == LoginKind::Browser).then_some(login)
    }

    /// Whether a page of the portal's asks. Browsers name the origin of whoever opens a WebSocket; of pictures they say at least
    /// whether the page is ours.
    fn is_from_portal<B>(&self, connection: &VisitorConnection, request: &Request<B>) -> bool {
        let headers = request.headers();
        let is_ours = |site: &HeaderValue| site == "same-origin";
        if !headers.get_all("sec-fetch-site").iter().all(is_ours) {
            return false;
        }
        if !upgrade::is_upgrade(request) {
            return true;
        }
        let from_target = || request.uri().authority().and_then(|a| HeaderValue::try_from(a.as_str()).ok());
        let Some(host) = headers.get(HOST).cloned().or_else(from_target) else { return false };
        let public = PublicOrigin { is_https: self.is_https(connection, headers), host };
        let is_own = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| public.is(origin));
        headers.contains_key(ORIGIN) && headers.get_all(ORIGIN).iter().all(is_own)
    }

    /// As the portal's login lets them: policy, hours and sessions as everywhere. A password is not asked for here.
    pub(super) fn admit_at_portal(
        &self,
        login: &Login,
        source: IpAddr,
        device: &str,
        service: &str,
        mount: Option<&PathPrefix>,
    ) -> Result<Admitted, Unseen> {
        let snapshot = self.admission.control.snapshot();
        let label = |text: &str| Label::parse(text).map_err(|_| Unseen::Nothing);
        let device = snapshot.device_by_name(&label(device)?).ok_or(Unseen::Nothing)?;
        let service = snapshot.service_of(device.id, &label(service)?).ok_or(Unseen::Nothing)?;
        let mounted = mount.map(|path| service.web.mounts.iter().find(|mounted| mounted.path == *path));
        let is_camera = match mounted {
            Some(None) => false,
            Some(found @ Some(_)) => service.is_camera(found),
            None => service.is_camera(None),
        };
        if !is_camera {
            return Err(Unseen::Nothing);
        }
        let mut visitor = Visitor::new(source, Entrance::Web);
        visitor.proofs.push(Proof::Login(login.id));
        let admitted = self.admission.admit(service, &visitor, Way::Portal).map_err(|denied| Unseen::of(&denied))?;
        let is_too_often = !self.rates.by_service.admit(admitted.service.id, Instant::now());
        if is_too_often || !self.rates.has_room(admitted.presence.crowd) {
            return Err(Unseen::TooMany);
        }
        Ok(admitted)
    }
}

/// Why somebody who is signed in is not shown a camera.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unseen {
    /// For them it is not there.
    Nothing,
    /// It is theirs, but something must come before: as a word for pages.
    NotNow(&'static str),
    TooMany,
}

impl Unseen {
    fn of(denied: &doorward_core::access::Denied) -> Self {
        use doorward_core::access::Denied;
        match denied {
            Denied::SessionNeeded | Denied::SessionOver | Denied::ApprovalNeeded | Denied::InUse => {
                Self::NotNow("session-needed")
            }
            Denied::BudgetSpent { .. } | Denied::Closed { .. } => Self::NotNow("closed"),
            Denied::NeedsMore(_) | Denied::PasswordNeeded => Self::NotNow("more-needed"),
            Denied::Full => Self::TooMany,
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::ReadOnly
            | Denied::ShareOver => Self::Nothing,
        }
    }
}

/// `DEVICE/SERVICE/…/stream` or `snapshot`; what stands between is the mount.
#[derive(Debug, PartialEq, Eq)]
struct Named<'p> {
    device: &'p str,
    service: &'p str,
    mount: Option<PathPrefix>,
    rest: &'p str,
}

impl<'p> Named<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let (device, rest) = path.split_once('/')?;
        let (service, rest) = rest.split_once('/')?;
        let (mount, rest) = match rest.rsplit_once('/') {
            Some((mount, rest)) => (Some(PathPrefix::parse(mount).ok()?), rest),
            None => (None, rest),
        };
        (rest == "stream" || rest == "snapshot").then_some(Self { device, service, mount, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_device_service_and_mount() {
        let named = |path| {
            let named = Named::of(path)?;
            Some((named.device, named.service, named.mount.map(|mount| mount.to_string()), named.rest))
        };
        assert_eq!(named("pi/cam/stream"), Some(("pi", "cam", None, "stream")));
        assert_eq!(
            named("pi/octoprint/webcam/snapshot"),
            Some(("pi", "octoprint", Some("/webcam/".into()), "snapshot"))
        );
        assert_eq!(named("pi/octoprint/a/b/stream"), Some(("pi", "octoprint", Some("/a/b/".into()), "stream")));
        for other in ["", "feed", "pi", "pi/cam", "pi/cam/", "pi/cam/else", "pi/cam//stream", "pi/cam/../stream"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
