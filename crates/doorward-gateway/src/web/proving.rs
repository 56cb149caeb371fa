//! Who a visitor proves to be.

use super::forward::Web;
use super::request::has_one;
use super::{Body, page};
use crate::passwords::Checked;
use data_encoding::BASE64;
use doorward_core::Secret;
use doorward_core::access::Visitor;
use doorward_core::audit::Deed;
use doorward_core::service::Service;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;

impl Web {
    /// Checks the credentials that came along, where they are what is missing: a stranger from elsewhere must not
    /// learn that there is something to guess.
    pub(super) async fn prove(
        &self,
        service: &Service,
        headers: &HeaderMap,
        mut visitor: Visitor,
    ) -> Result<Visitor, Box<Response<Body>>> {
        if !self.admission.wants_password(service, &visitor) {
            return Ok(visitor);
        }
        if !has_one(headers, AUTHORIZATION) {
            return Err(Box::new(page::malformed(headers, "it has two Authorization headers")));
        }
        let Some((user, password)) = headers.get(AUTHORIZATION).and_then(basic) else { return Ok(visitor) };
        let checked = self.passwords.check(service, &user, password, visitor.source()).await;
        metrics::counter!("doorward_passwords_total", "entrance" => "web", "answer" => checked.word()).increment(1);
        match checked {
            Checked::Right(proof) => visitor.proofs.push(proof),
            Checked::Wrong => {
                let (source, now) = (Some(visitor.source()), Timestamp::now());
                let control = &self.admission.control;
                control.refused(Deed::VisitRefused, source, Some(service.id), "wrong-password", now);
            }
            Checked::TooMany => return Err(Box::new(page::too_many(headers))),
        }
        Ok(visitor)
    }
}

/// User and password of an HTTP Basic header (RFC 7617, UTF-8).
fn basic(value: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::new(password.to_owned())))
}
