//! A target's answer on its way to the visitor: as a body, or as the beginning of something that is not HTTP any more.

use super::bodies::{Returning, Visit};
use super::credentials::take_out_set_cookies;
use super::headers::strip_hop_by_hop;
use super::passage::Passage;
use super::tunnelled::{self, Far};
use super::websocket::answer_as_http2;
use super::{Body, empty, page, upgrade};
use bytes::Bytes;
use doorward_core::hop::HopFailure;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use std::time::Instant;
use tokio::sync::mpsc;

pub(super) struct Answer {
    pub(super) visit: Visit,
    pub(super) passage: Passage,
    /// The visitor's.
    pub(super) headers: HeaderMap,
    pub(super) is_http2: bool,
    pub(super) started: Instant,
}

impl Answer {
    pub(super) fn whole(self, response: Response<Body>) -> Response<Body> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for that.
            return self.failed();
        }
        let (mut parts, incoming) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        self.repair(&mut parts.headers);
        parts.version = Version::default();
        let returning = Returning::new(incoming, self.visit, parts.status, self.started);
        Response::from_parts(parts, returning.boxed_unsync())
    }

    /// To a request that would change the protocol. `uplink`: how what comes next reaches a target inside HTTP/2.
    pub(super) fn upgrading(
        self,
        response: Response<Body>,
        upgraded: OnUpgrade,
        uplink: Option<mpsc::Sender<Bytes>>,
    ) -> Response<Body> {
        match uplink {
            Some(uplink) if response.status().is_success() => self.tunnelled(response, upgraded, uplink),
            Some(_) | None if response.status() == StatusCode::SWITCHING_PROTOCOLS => self.switched(response, upgraded),
            // Inside HTTP/2 this would open what the target has not opened.
            Some(_) | None if self.is_http2 && response.status().is_success() => self.failed(),
            Some(_) | None => self.whole(response),
        }
    }

    fn switched(self, mut response: Response<Body>, upgraded: OnUpgrade) -> Response<Body> {
        self.repair(response.headers_mut());
        let target_side = hyper::upgrade::on(&mut response);
        let Visit { admitted, visitor, upstream, connection, .. } = self.visit;
        upstream.let_go();
        connection.spawn(upgrade::pass(upgraded, target_side, visitor, connection.clone(), admitted));
        if self.is_http2 {
            answer_as_http2(&mut response);
        }
        response.map(|_| empty())
    }

    fn tunnelled(self, response: Response<Body>, upgraded: OnUpgrade, uplink: mpsc::Sender<Bytes>) -> Response<Body> {
        let (mut parts, downlink) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        self.repair(&mut parts.headers);
        let Visit { admitted, visitor, upstream, connection, .. } = self.visit;
        let far = Far { uplink, downlink, upstream };
        connection.spawn(tunnelled::pass(upgraded, far, visitor, connection.clone(), admitted));
        let mut response = Response::from_parts(parts, empty());
        *response.version_mut() = Version::default();
        if !self.is_http2 {
            tunnelled::answer_as_http1(&mut response, &self.headers);
        }
        response
    }

    fn repair(&self, headers: &mut HeaderMap) {
        take_out_set_cookies(headers);
        self.passage.repair(headers);
    }

    fn failed(&self) -> Response<Body> {
        page::hop_failed(&self.headers, HopFailure::TargetUnreachable, &self.visit.admitted.service)
    }
}
