//! Services that are no web pages, carried inside a WebSocket on the portal's host to a port of a person's own machine
//! (`doorward open`). Nothing listens for them in public: who comes is told by a token, `decide` says whether, and what ends their
//! session cuts them, as by every entrance.

use super::breaking::VisitorSide;
use super::connection::VisitorConnection;
use super::forward::Web;
use super::upgrade::UpgradedVisitor;
use super::{Body, empty, page, tokens};
use crate::access_log;
use crate::admit::{Admission, Admitted};
use crate::listen::tcp;
use crate::live::Way;
use doorward_core::access::{Denied, Proof, Visitor};
use doorward_core::names::Label;
use doorward_core::service::{Entrance, Service, ServiceKind};
use doorward_core::site::CARRY_PATH as PATH;
use doorward_tunnel::{
    Duplex, Flow, OpenError, PacketQueue, Stream, accept_carried, answer_link_upgrade, read_packet, write_packet,
};
use http::header::ORIGIN;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::sync::Arc;
use tracing::{debug, info};

/// Followed by `device/service`.
pub(super) const CARRY_PATH: &str = PATH;

/// A way to the device that stands already.
enum Opened {
    Stream(Stream),
    Flow(Flow),
}

impl Web {
    /// `named`: what follows [`CARRY_PATH`].
    pub(super) async fn carry(
        &self,
        connection: &Arc<VisitorConnection>,
        mut request: Request<Incoming>,
        named: &str,
        source: IpAddr,
    ) -> Response<Body> {
        let headers = request.headers().clone();
        // Programs of ours say nothing of this kind; pages cannot leave it out.
        if headers.contains_key(ORIGIN) {
            return page::foreign(&headers);
        }
        let Some(switching) = answer_link_upgrade(&request) else {
            return page::malformed(&headers, "it is not a WebSocket");
        };
        let portal = self.portal_home(&request);
        let admitted = match self.admit_carried(&headers, named, source, &portal) {
            Ok(admitted) => admitted,
            Err(refusal) => return *refusal,
        };
        let cut = admitted.presence.cut_owned();
        let opened = tokio::select! {
            opened = open(&self.admission, &admitted) => opened,
            () = cut => return page::nothing_here(&headers),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(failure) => return page::hop_failed(&headers, failure.hop, &admitted.service),
        };
        let side = VisitorSide::of(request.version(), &connection.breaker);
        let (on_upgrade, admission) = (hyper::upgrade::on(&mut request), self.admission.clone());
        let turns = connection.turns.clone();
        connection.spawn(async move {
            let _turn = turns.begin();
            let upgraded = tokio::select! {
                biased;
                () = admitted.presence.cut() => return side.break_off(),
                upgraded = on_upgrade => upgraded,
            };
            let Ok(upgraded) = upgraded else { return debug!("carrying came to nothing") };
            let carried = accept_carried(UpgradedVisitor::new(upgraded, side)).await;
            match opened {
                Opened::Stream(stream) => tcp::pass(carried, stream, &admitted).await,
                Opened::Flow(flow) => pass_packets(carried, flow, &admission, &admitted).await,
            }
        });
        switching.map(|()| empty())
    }

    fn admit_carried(
        &self,
        headers: &HeaderMap,
        named: &str,
        source: IpAddr,
        portal: &str,
    ) -> Result<Admitted, Box<Response<Body>>> {
        let shown = tokens::shown(headers).map_err(|why| Box::new(page::malformed(headers, why.0)))?;
        let token = shown.ok_or_else(|| Box::new(page::token_needed(headers)))?;
        let service = self.named(named).ok_or_else(|| Box::new(self.idle_token(headers, source)))?;
        let login = self.login_by_token(headers, &token, &service, source)?;
        let mut visitor = Visitor::new(source, Entrance::Carried);
        visitor.proofs.push(Proof::Login(login));
        let admitted = self.admission.admit(service.clone(), &visitor, Way::Inner { virtual_port: None });
        let admitted = admitted.map_err(|denied| match denied {
            Denied::SessionNeeded | Denied::SessionOver | Denied::ApprovalNeeded | Denied::InUse => {
                page::session_needed_by_program(headers, &service, portal)
            }
            Denied::BudgetSpent { until } => page::used_up(headers, until),
            Denied::Full => page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE),
            Denied::NotOffered
            | Denied::DeviceRevoked
            | Denied::Nobody
            | Denied::SourceNetwork
            | Denied::OtherSource
            | Denied::Closed { .. }
            | Denied::PasswordNeeded
            | Denied::NotOneOfThem
            | Denied::NotASender
            | Denied::LoginOver
            | Denied::AccountDisabled
            | Denied::AccountEnded
            | Denied::NeedsMore(_)
            | Denied::ReadOnly
            | Denied::ShareOver => page::nothing_here(headers),
        })?;
        if !self.rates.has_room(admitted.presence.crowd) {
            return Err(Box::new(page::too_often(headers, StatusCode::SERVICE_UNAVAILABLE)));
        }
        Ok(admitted)
    }

    /// Web services have addresses, at which what is said to them is looked at.
    fn named(&self, path: &str) -> Option<Arc<Service>> {
        let (device, service) = path.split_once('/')?;
        let snapshot = self.admission.control.snapshot();
        let device = snapshot.device_by_name(&Label::parse(device).ok()?)?;
        let service = snapshot.service_of(device.id, &Label::parse(service).ok()?)?;
        match service.kind {
            ServiceKind::Tcp | ServiceKind::Udp => Some(service),
            ServiceKind::Http | ServiceKind::Camera => None,
        }
    }
}

async fn open(admission: &Admission, admitted: &Admitted) -> Result<Opened, OpenError> {
    match admitted.service.kind {
        ServiceKind::Http | ServiceKind::Tcp | ServiceKind::Camera => {
            admission.open(admitted, None).await.map(Opened::Stream)
        }
        ServiceKind::Udp => admission.open_flow(admitted).await.map(Opened::Flow),
    }
}

/// Where one side falls behind the oldest packets are lost, as UDP does.
async fn pass_packets(carried: impl Duplex, flow: Flow, admission: &Admission, admitted: &Admitted) {
    let flow = flow.counted_too(admitted.presence.traffic());
    let (to_device, to_visitor) = (PacketQueue::default(), PacketQueue::default());
    let (mut reader, mut writer) = tokio::io::split(carried);
    let running = async {
        let deliver = |packet: &[u8]| to_visitor.push(bytes::Bytes::copy_from_slice(packet));
        let reading = async {
            while let Ok(Some(packet)) = read_packet(&mut reader).await {
                to_device.push(packet);
            }
        };
        let writing = async {
            while let Some(packet) = to_visitor.next().await {
                if write_packet(&mut writer, &packet).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            end = flow.run(&to_device, deliver, admission.flows.load().idle, admitted.presence.cut()) => end.word(),
            () = reading => "finished",
            () = writing => "broken",
        }
    };
    let end = running.await;
    reader.unsplit(writer).abort();
    admitted.presence.ends(end);
    info!(
        target: "doorward::access",
        entrance = "carried",
        service = admitted.service.path(),
        source = access_log::source(admitted.permit.visitor().source()),
        end,
    );
}
