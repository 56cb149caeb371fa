use crate::acting::Acting;
use crate::answer::Problem;
use axum::Json;
use doorward_control::OwnAuthority;
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::net::IpAddr;

/// The authority of the gateway's own, all of it public.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AuthorityBody {
    /// It counts for this and all names below it.
    domain: String,
    addresses: Vec<IpAddr>,
    /// SHA-256 of the certificate.
    fingerprint: String,
    #[schemars(with = "Instant")]
    not_before: Timestamp,
    #[schemars(with = "Instant")]
    not_after: Timestamp,
    pem: String,
}

impl From<&OwnAuthority> for AuthorityBody {
    fn from(authority: &OwnAuthority) -> Self {
        Self {
            domain: authority.scope.domain.to_string(),
            addresses: authority.scope.addresses.iter().copied().collect(),
            fingerprint: authority.fingerprint(),
            not_before: authority.not_before,
            not_after: authority.not_after,
            pem: authority.pem(),
        }
    }
}

pub(crate) async fn show(Acting(state): Acting) -> Result<Json<AuthorityBody>, Problem> {
    let authority = state.control.own_authority().borrow().clone();
    let none = || {
        Problem::unknown("no authority of the gateway's own is in use: its certificate is in files, or it has no HTTPS")
    };
    authority.map(|authority| Json(AuthorityBody::from(&*authority))).ok_or_else(none)
}

/// Another root in place of this one, for the addresses that the gateway has now. The old one counts no more.
pub(crate) async fn renew(Acting(state): Acting) -> Result<Json<AuthorityBody>, Problem> {
    let made = state.control.renew_own_authority((state.clock)()).await?;
    Ok(Json(AuthorityBody::from(&*made)))
}
