//! Admission: from a visitor's facts to a stream. There is no other way to a device: only this calls
//! `core::access::decide`, and only a permit opens a link.

use crate::links::Links;
use crate::live::{Live, Presence, Way};
use crate::preparing::Preparing;
use crate::settings::FlowSettings;
use arc_swap::ArcSwap;
use doorward_control::{Control, Protocol, Snapshot};
use doorward_core::access::{Denied, How, Permit, Proof, Visitor, decide};
use doorward_core::audit::Deed;
use doorward_core::hop::HopFailure;
use doorward_core::names::PathPrefix;
use doorward_core::service::Service;
use doorward_tunnel::{Flow, OpenError, OpenRequest, Pace, Stream};
use jiff::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;
use tracing::debug;

#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) control: Control,
    pub(crate) live: Arc<Live>,
    pub(crate) links: Arc<Links>,
    pub(crate) flows: Arc<ArcSwap<FlowSettings>>,
    pub(crate) preparing: Arc<Preparing>,
}

/// Somebody who may come in, entered in the index of what is open: from here on a change finds them.
pub(crate) struct Admitted {
    pub(crate) permit: Permit,
    pub(crate) service: Arc<Service>,
    pub(crate) presence: Presence,
}

impl Admission {
    pub(crate) fn admit(&self, service: Arc<Service>, visitor: &Visitor, way: Way) -> Result<Admitted, Denied> {
        let (snapshot, now) = (self.control.snapshot(), Timestamp::now());
        let visitor = &with_session(visitor, &service, &snapshot);
        match decide(&service, visitor, &*snapshot, now) {
            Ok(permit) => {
                metrics::counter!("doorward_visits_total", "entrance" => visitor.entrance.word(), "answer" => "admitted")
                    .increment(1);
                let (limits, who) = (&service.policy.limits, snapshot.accounts_of(visitor).next());
                let Ok(presence) = self.live.enter(&permit, way, limits, who, || self.control.snapshot()) else {
                    self.control.refused(Deed::VisitRefused, Some(visitor.source()), Some(service.id), "full", now);
                    return Err(Denied::Full);
                };
                presence.attended(self.control.attend(&permit, now));
                Ok(Admitted { permit, service, presence })
            }
            Err(denied) => {
                metrics::counter!("doorward_visits_total", "entrance" => visitor.entrance.word(), "answer" => denied.word())
                    .increment(1);
                debug!(service = service.path(), source = %visitor.source(), %denied, "refused");
                // Being asked for a password is how every such visit begins; a wrong one is audited where it is checked.
                if denied != Denied::PasswordNeeded {
                    let source = Some(visitor.source());
                    self.control.refused(Deed::VisitRefused, source, Some(service.id), denied.word(), now);
                }
                Err(denied)
            }
        }
    }

    /// Whoever comes to a public port. That of a session leads to its service, and tells which session they mean.
    pub(crate) async fn admit_to_port(
        &self,
        (protocol, port): (Protocol, u16),
        mut visitor: Visitor,
    ) -> Result<Admitted, Denied> {
        let snapshot = self.control.snapshot();
        if let Some((service, session)) = snapshot.at_session_port(protocol, port) {
            visitor.proofs.push(Proof::Port(session));
            let way = Way::SessionPort(protocol, port, session);
            let admitted = self.admit(service.clone(), &visitor, way.clone());
            return match admitted {
                Err(Denied::OtherSource)
                    if self.control.is_first_comer(session, visitor.source(), Timestamp::now()).await =>
                {
                    self.admit(service, &visitor, way)
                }
                Ok(_) | Err(_) => admitted,
            };
        }
        let service = match protocol {
            Protocol::Tcp => snapshot.tcp(port),
            Protocol::Udp => snapshot.udp(port),
        };
        // It was given up since somebody knocked.
        self.admit(service.ok_or(Denied::NotOffered)?, &visitor, Way::Port(protocol, port))
    }

    /// Whether a password is all that this visitor lacks.
    pub(crate) fn wants_password(&self, service: &Service, visitor: &Visitor) -> bool {
        let snapshot = self.control.snapshot();
        matches!(decide(service, visitor, &*snapshot, Timestamp::now()), Err(Denied::PasswordNeeded))
    }

    /// A stream to the service or one of its mounts, acknowledged by the device. Where the service is made ready first, it
    /// is waited for.
    pub(crate) async fn open(&self, admitted: &Admitted, mount: Option<PathPrefix>) -> Result<Stream, OpenError> {
        self.until_ready(admitted).await?;
        let opened = self.links.open(&admitted.permit, &request(admitted, mount)).await;
        self.note(admitted, opened.as_ref().err());
        let pace = self.pace(admitted);
        opened.map(|stream| match pace {
            Some(pace) => stream.paced(pace),
            None => stream,
        })
    }

    /// The same for a UDP flow.
    pub(crate) async fn open_flow(&self, admitted: &Admitted) -> Result<Flow, OpenError> {
        self.until_ready(admitted).await?;
        let opened = self.links.open_flow(&admitted.permit, &request(admitted, None)).await;
        self.note(admitted, opened.as_ref().err());
        let pace = self.pace(admitted);
        opened.map(|flow| match pace {
            Some(pace) => flow.paced(pace),
            None => flow,
        })
    }

    fn pace(&self, admitted: &Admitted) -> Option<Pace> {
        self.live.pacing.of(admitted.service.id, &admitted.service.policy.limits)
    }

    /// Whoever is cut while they wait is not let in when it is ready.
    async fn until_ready(&self, admitted: &Admitted) -> Result<(), OpenError> {
        if admitted.service.prepare.is_none() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = admitted.presence.cut() => Err(OpenError::new(HopFailure::NotReady)),
            ready = self.preparing.until_ready(&admitted.service) => {
                ready.inspect_err(|failure| self.note(admitted, Some(failure)))
            }
        }
    }

    fn note(&self, admitted: &Admitted, failure: Option<&OpenError>) {
        let presence = self.control.presence();
        match failure {
            None => presence.service_worked(admitted.service.id),
            Some(error) => {
                admitted.presence.ends(error.hop.word());
                metrics::counter!("doorward_opens_failed_total", "hop" => error.hop.word()).increment(1);
                debug!(service = admitted.service.path(), %error, "a visit failed behind admission");
                presence.service_failed(admitted.service.id, error.hop, Timestamp::now());
            }
        }
    }
}

/// Whoever is proved to be somebody comes by the session that they opened, if they did: nobody else's is ever looked at.
pub(crate) fn with_session<'a>(visitor: &'a Visitor, service: &Service, snapshot: &Snapshot) -> Cow<'a, Visitor> {
    let mut visitor = Cow::Borrowed(visitor);
    match service.policy.how {
        How::SignedIn => {}
        How::OnRequest { .. } => {
            let theirs = snapshot.accounts_of(&visitor).filter_map(|account| snapshot.session_for(account, service.id));
            let proofs: Vec<_> = theirs.map(|session| Proof::Session(session.id)).collect();
            visitor.to_mut().proofs.extend(proofs);
        }
    }
    visitor
}

fn request(admitted: &Admitted, mount: Option<PathPrefix>) -> OpenRequest {
    OpenRequest {
        service: admitted.service.name.clone(),
        remaining: admitted.permit.remaining(Timestamp::now()),
        source: admitted.permit.visitor().source(),
        mount,
    }
}
