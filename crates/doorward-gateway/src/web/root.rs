//! The root of the gateway's own authority, for phones and others that are to trust it: public, and only while it is
//! in use. Over plain HTTP, too, for whoever does not trust it yet; people compare its fingerprint.

use super::Body;
use doorward_control::OwnAuthority;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use std::sync::Arc;
use tokio::sync::watch;

/// DER, at which phones and browsers offer to install it.
pub const ROOT_PATH: &str = "/.well-known/doorward/ca.crt";
pub(crate) const ROOT_PEM_PATH: &str = "/.well-known/doorward/ca.pem";

pub(crate) type InUse = watch::Receiver<Option<Arc<OwnAuthority>>>;

pub(crate) fn root_for<B>(request: &Request<B>, authority: &InUse) -> Option<Response<Body>> {
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let authority = authority.borrow().clone().filter(|_| is_reading)?;
    let (body, kind) = match request.uri().path() {
        // As systems know it; RFC 5280, 4.2.1.13's application/pkix-cert is not offered for installation everywhere.
        ROOT_PATH => (authority.certificate.clone(), "application/x-x509-ca-cert"),
        ROOT_PEM_PATH => (authority.pem().into_bytes(), "application/x-pem-file"),
        _ => return None,
    };
    let mut response = Response::new(super::body(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
