//! What a browser that used a share holds: at the portal a *ticket*, by which it gets further passes and takes no further use, and on
//! the service's host a *pass*. Neither is a row: each names the use and carries a MAC. They count exactly as long as the share does.

use crate::Control;
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::access::Facts;
use doorward_core::names::HostName;
use doorward_core::share::ShareUse;
use doorward_core::{Secret, ServiceId, ShareId};
use jiff::Timestamp;

impl Control {
    pub fn share_ticket(&self, used: ShareUse) -> Secret<String> {
        self.signed("tickets of shares", used, "")
    }

    /// Which use of this share a ticket stands for. Whether that counts still is for the decision.
    pub fn use_by_ticket(&self, share: ShareId, ticket: &Secret<String>) -> Option<ShareUse> {
        self.verified("tickets of shares", ticket, "").filter(|used| used.share == share)
    }

    /// The cookie of a service's host, and until when the share lasts at most. `None`: it was revoked.
    pub fn share_pass(
        &self,
        used: ShareUse,
        service: ServiceId,
        host: &HostName,
    ) -> Option<(Secret<String>, Timestamp)> {
        let until = self.snapshot().share(used.share)?.until;
        Some((self.signed("passes of shares", used, &place(service, host)), until))
    }

    /// Which use a pass stands for. Whether that counts still is for the decision.
    pub fn use_by_pass(&self, pass: &Secret<String>, service: ServiceId, host: &HostName) -> Option<ShareUse> {
        self.verified("passes of shares", pass, &place(service, host))
    }

    fn signed(&self, purpose: &str, used: ShareUse, place: &str) -> Secret<String> {
        let mac = hmac::sign(&self.0.seal.derive(purpose), what_counts(used, place).as_bytes());
        Secret::new(format!("{}.{}.{}", used.share, used.number, BASE64URL_NOPAD.encode(mac.as_ref())))
    }

    fn verified(&self, purpose: &str, text: &Secret<String>, place: &str) -> Option<ShareUse> {
        let (share, rest) = text.expose().split_once('.')?;
        let (number, mac) = rest.split_once('.')?;
        let used = ShareUse { share: ShareId(share.parse().ok()?), number: number.parse().ok()? };
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).ok()?;
        hmac::verify(&self.0.seal.derive(purpose), what_counts(used, place).as_bytes(), &mac).ok()?;
        Some(used)
    }
}

/// Numbers are digits and host names have no slash: no two differ only by where one part ends.
fn place(service: ServiceId, host: &HostName) -> String {
    format!("{service}/{host}")
}

fn what_counts(used: ShareUse, place: &str) -> String {
    format!("{}/{}/{place}", used.share, used.number)
}
