//! A POST of JSON to a program of the owner's, signed with a secret that both know.

use crate::post::{AttemptError, post};
use crate::texts::Message;
use crate::{Trust, Url};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use doorward_control::Alert;
use doorward_core::Secret;
use doorward_core::notice::Notice;
use jiff::Timestamp;
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: Url,
    /// Without one it is not signed.
    pub secret: Option<Secret<String>>,
    pub trust: Trust,
}

/// `t=1700000000,v1=HEX`: HMAC-SHA-256 by the secret over the time, a dot and the body. The time is that of the attempt,
/// so that an old message cannot be sent again.
pub const SIGNATURE: &str = "doorward-signature";

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    at: Timestamp,
    kind: &'static str,
    subject: &'a str,
    title: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    details: serde_json::Value,
}

impl Webhook {
    pub(crate) async fn send(&self, alert: &Alert, message: &Message) -> Result<(), AttemptError> {
        let body = Body {
            id: &alert.id,
            at: alert.at,
            kind: alert.notice.kind().word(),
            subject: alert.notice.subject(),
            title: &message.title,
            text: &message.text,
            link: message.link.as_deref(),
            details: details(&alert.notice),
        };
        let body = serde_json::to_vec(&body).map_err(|error| AttemptError::Never(error.to_string()))?;
        let mut headers =
            vec![("content-type", b"application/json".to_vec()), ("doorward-id", alert.id.clone().into_bytes())];
        if let Some(secret) = &self.secret {
            headers.push((SIGNATURE, sign(secret, Timestamp::now(), &body).into_bytes()));
        }
        post(&self.url, &self.trust, headers, body).await
    }
}

fn sign(secret: &Secret<String>, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.as_second().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    [seconds.as_bytes(), b".", body].iter().for_each(|part| context.update(part));
    format!("t={seconds},v1={}", HEXLOWER.encode(context.sign().as_ref()))
}

/// What programs want to know apart from the text.
fn details(notice: &Notice) -> serde_json::Value {
    use serde_json::json;
    match notice {
        Notice::DeviceOffline { device, since } => json!({ "device": device, "since": since }),
        Notice::DeviceOnline { device, away_since } => json!({ "device": device, "away-since": away_since }),
        Notice::ApprovalWanted { person, service, link: _ } => json!({ "person": person, "service": service }),
        Notice::NewLogin { person, title, source } => json!({ "person": person, "with": title, "source": source }),
        Notice::CertificateFailing { names, why } => json!({ "names": names, "why": why }),
        Notice::BudgetNearlyUsed { service, percent, until } => {
            json!({ "service": service, "percent": percent, "until": until })
        }
        Notice::Test => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python: `hmac.new(b'Jefe', b'1700000000.{"a":1}', 'sha256').hexdigest()`
    #[test]
    fn the_signature_is_as_others_compute_it() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let signed = sign(&Secret::new("Jefe".to_owned()), now, br#"{"a":1}"#);
        assert_eq!(signed, "t=1700000000,v1=fa5f6481efc59da48b19c9dc10196c9953e5651f8304b3a318b6b87d70272e0a");
    }
}
