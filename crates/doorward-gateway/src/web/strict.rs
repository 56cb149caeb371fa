//! What is the same for every answer of the web entrance, whoever made it: proofs for certificate authorities, and
//! HSTS (RFC 6797) for names that have a certificate of somebody browsers may trust.

use super::Body;
use super::connection::VisitorConnection;
use super::forward::Web;
use super::request::host_of;
use super::root::root_for;
use crate::certificates::resolver::nobodys_beside;
use crate::listen::redirect::proof;
use doorward_tunnel::Reset;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// The header's value; none for a duration of nothing.
pub(crate) fn hsts(duration: Duration) -> Option<HeaderValue> {
    (!duration.is_zero()).then(|| HeaderValue::from_str(&format!("max-age={}", duration.as_secs())).ok()).flatten()
}

impl Web {
    /// Answers one request. An error tells hyper to break the exchange (HTTP/2: that stream alone).
    pub(crate) async fn respond(
        self: &Arc<Self>,
        connection: Arc<VisitorConnection>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Reset> {
        // Authorities follow redirects from port 80.
        if let Some(text) = self.certificates.challenges.text_at(request.uri().path()) {
            return Ok(proof(text));
        }
        if let Some(root) = root_for(&request, &self.own_authority) {
            return Ok(root);
        }
        let (is_https, peer) = (connection.is_https(), connection.peer.ip());
        let hsts = self.hsts.load_full();
        let host = hsts.as_ref().as_ref().filter(|_| is_https).and_then(|_| host_of(&request).ok());
        let host = host.and_then(|host| if self.veils(&host, peer) { nobodys_beside(&host) } else { Some(host) });
        let mut response = self.answer(connection, request).await?;
        if let (Some(hsts), Some(host)) = (hsts.as_ref(), host)
            && self.certificates.is_issued_for(&host)
            && !self.admission.control.snapshot().passes_through(&host)
        {
            // The owner of a service may know better.
            response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
        Ok(response)
    }
}
