//! Who arrives at a web service: by a password, a token, a certificate or the cookie of a login; or as nobody, at a path where the application
//! asks.

use super::connection::VisitorConnection;
use super::forward::Web;
use super::presented::Shown;
use super::request::Malformed;
use super::{Body, open_path, page, tokens};
use doorward_core::Secret;
use doorward_core::access::{Proof, Visitor, Who};
use doorward_core::names::HostName;
use doorward_core::service::{Entrance, Service, WebRoute};
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use std::net::IpAddr;

/// What a request says of whoever sent it, before anybody looks for what it wants.
pub(super) struct Arriving {
    /// As it was asked for.
    pub(super) host: HostName,
    pub(super) source: IpAddr,
    token: Option<Secret<String>>,
}

impl Arriving {
    pub(super) fn of<B>(request: &Request<B>, host: HostName, source: IpAddr) -> Result<Self, Malformed> {
        Ok(Self { host, source, token: tokens::shown(request.headers())? })
    }

    /// Whoever shows a token is a program, whatever else it says.
    pub(super) fn shows_token(&self) -> bool {
        self.token.is_some()
    }
}

impl Web {
    /// The visitor with all that they proved.
    pub(super) async fn find_out_who<B>(
        &self,
        service: &Service,
        route: &WebRoute,
        request: &Request<B>,
        arriving: &Arriving,
        connection: &VisitorConnection,
    ) -> Result<Visitor, Box<Response<Body>>> {
        let (headers, source) = (request.headers(), arriving.source);
        let mut visitor = Visitor::new(source, Entrance::Web);
        let open_path = open_path::of(service, route, request.uri().path());
        match (&service.policy.who, &arriving.token) {
            (Who::People(_), Some(token)) => {
                visitor.proofs.push(Proof::Login(self.login_by_token(headers, token, service, source)?));
            }
            // At an open path, what stands in the header may be the application's.
            (Who::Password(_), _) if open_path.is_none() => {
                visitor = self.prove(service, headers, visitor).await?;
                self.recognise(service, &arriving.host, headers, &mut visitor);
            }
            (Who::Nobody | Who::Public | Who::Senders | Who::Password(_) | Who::People(_), _) => {
                self.recognise(service, &arriving.host, headers, &mut visitor);
            }
        }
        if service.policy.certificates && !self.is_signed_in(&visitor) {
            self.look_at_certificate(headers, connection, &mut visitor)?;
        }
        if !self.is_signed_in(&visitor) {
            visitor.proofs.extend(open_path.map(Proof::OpenPath));
        }
        Ok(visitor)
    }

    /// Browsers use a connection for every host that its certificate covers; over one that was made for another host nobody was
    /// asked.
    fn look_at_certificate(
        &self,
        headers: &HeaderMap,
        connection: &VisitorConnection,
        visitor: &mut Visitor,
    ) -> Result<(), Box<Response<Body>>> {
        match connection.shown_in_turn() {
            Some(Shown::Certificate(shown)) => {
                let login = self.admission.control.login_by_certificate(shown, Timestamp::now());
                visitor.proofs.extend(login.map(Proof::Login));
                Ok(())
            }
            Some(Shown::NotAsked) => Err(Box::new(page::misdirected(headers))),
            Some(Shown::Nothing) | None => Ok(()),
        }
    }

    /// Whether visitors who come to this host are asked for a certificate.
    pub(crate) fn asks_for_certificates(&self, host: &HostName) -> bool {
        self.admission.control.snapshot().asks_for_certificates(host)
    }

    /// For those who may not know what is there. Browsers on their way to a page are sent to sign in, programs told what to send.
    pub(super) fn turn_away<B>(&self, request: &Request<B>, arriving: &Arriving) -> Response<Body> {
        let headers = request.headers();
        if arriving.shows_token() {
            return self.idle_token(headers, arriving.source);
        }
        let has_portal = self.admission.control.site().portal.is_some() && self.portal.is_some();
        let has_portal = has_portal && self.shows_portal(arriving.source);
        if !has_portal {
            return page::nothing_here(headers);
        }
        if super::door::is_navigation(request.method(), headers) {
            return self
                .to_portal(request, &arriving.host, arriving.source)
                .unwrap_or_else(|| page::nothing_here(headers));
        }
        page::token_needed(headers)
    }
}
