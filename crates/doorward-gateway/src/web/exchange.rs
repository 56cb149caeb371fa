//! One request to the target and the head of its answer.

use super::connection::VisitorConnection;
use super::forward::Web;
use super::multiplexed::SendError;
use super::passage::Passage;
use super::upstreams::{TargetPlace, Upstream};
use super::{Body, page};
use crate::admit::Admitted;
use crate::pacing::Terms;
use doorward_core::hop::HopFailure;
use doorward_core::web::WebProtocol;
use doorward_tunnel::OpenError;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use std::fmt::Display;
use std::io;
use tracing::debug;

type Answered = (Response<Body>, Upstream);

/// How often a request that its target has not looked at is sent over another connection.
const HTTP2_TRIES: usize = 3;

impl Web {
    /// Sends the request over a kept connection or a fresh stream.
    pub(super) async fn exchange(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        passage: &Passage,
        request: Request<Body>,
    ) -> Result<Answered, OpenError> {
        let terms = Terms::of(&admitted.service.policy.limits);
        let place = (admitted.service.id, passage.mount.clone(), terms);
        match passage.protocol {
            WebProtocol::Http1 => self.exchange_http1(connection, admitted, place, request).await,
            WebProtocol::H2c | WebProtocol::H2 => self.exchange_http2(connection, admitted, place, request).await,
        }
    }

    /// A kept connection may have been closed by the target meanwhile. A request that was not sent yet then goes over a
    /// fresh one, and so does one that was, if it may be sent twice (RFC 9110, 9.2.2). A fresh one is tried once.
    async fn exchange_http1(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        place: TargetPlace,
        mut request: Request<Body>,
    ) -> Result<Answered, OpenError> {
        let until = admitted.permit.until();
        while let Some(mut kept) = connection.upstreams.take(&place, until) {
            let copy = copy_of_harmless(&request);
            match kept.sender.try_send_request(request).await {
                Ok(response) => return Ok((response.map(boxed), Upstream::One(kept))),
                Err(mut failed) => match (failed.take_message(), copy) {
                    (Some(unsent), _) => request = unsent,
                    (None, Some(copy)) if is_lost(failed.error()) => {
                        request = copy;
                        break;
                    }
                    (None, Some(_) | None) => return Err(broken(failed.error())),
                },
            }
        }
        let stream = self.admission.open(admitted, place.1.clone()).await?;
        let spoken = connection.upstreams.speak(stream, place, until).await;
        let mut fresh = spoken.map_err(|error| broken(&error))?;
        match fresh.sender.send_request(request).await {
            Ok(response) => Ok((response.map(boxed), Upstream::One(fresh))),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Requests share a connection; those who come while it is being opened wait for it.
    async fn exchange_http2(
        &self,
        connection: &VisitorConnection,
        admitted: &Admitted,
        place: TargetPlace,
        mut request: Request<Body>,
    ) -> Result<Answered, OpenError> {
        let mut tries = 0;
        loop {
            let shared = connection.upstreams.find_shared(&place, admitted.permit.until());
            let opening = async || {
                let stream = self.admission.open(admitted, place.1.clone()).await?;
                connection.upstreams.speak_http2(stream).await.map_err(|error| broken(&error))
            };
            let opened = match shared.opened.get_or_init(opening).await {
                Ok(opened) => opened,
                Err(failure) => {
                    connection.upstreams.forget(&shared);
                    return Err(failure.clone());
                }
            };
            if *request.method() == Method::CONNECT && !opened.takes_websockets().await {
                let refusal = page::no_upgrade(request.headers(), &admitted.service.title);
                return Ok((refusal, Upstream::Two(opened.lease())));
            }
            tries += 1;
            match opened.send(request).await {
                Ok((response, lease)) => return Ok((response, Upstream::Two(lease))),
                Err(SendError::Unsent(unsent, error)) => {
                    connection.upstreams.forget(&shared);
                    if tries == HTTP2_TRIES {
                        return Err(broken(&error));
                    }
                    request = *unsent;
                }
                Err(SendError::Broken(error)) => return Err(broken(&error)),
            }
        }
    }
}

/// For requests that change nothing and carry nothing.
fn copy_of_harmless(request: &Request<Body>) -> Option<Request<Body>> {
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_harmless || !http_body::Body::is_end_stream(request.body()) {
        return None;
    }
    let mut copy = Request::new(super::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the connection ended, rather than that something wrong was said on it.
fn is_lost(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}

fn boxed(incoming: hyper::body::Incoming) -> Body {
    incoming.map_err(io::Error::other).boxed_unsync()
}

fn broken(error: &impl Display) -> OpenError {
    let mut failure = OpenError::new(HopFailure::TargetUnreachable);
    failure.detail = format!("it closed the connection without an answer: {error}");
    debug!(%error, "a target broke off");
    failure
}
