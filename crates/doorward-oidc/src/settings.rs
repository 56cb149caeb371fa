//! What the owner says about a provider.

use crate::fetch::Trust;
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::person::provided::ProviderRules;
use http::Uri;
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSettings {
    /// In paths here.
    pub name: Label,
    /// On the button.
    pub title: String,
    pub issuer: Issuer,
    pub client_id: String,
    /// `None`: this gateway is a public client there, which PKCE alone protects.
    pub client_secret: Option<Secret<String>>,
    /// Beside `openid`.
    pub scopes: Vec<String>,
    /// Which claim lists somebody's groups.
    pub groups_claim: String,
    pub trust: Trust,
    pub rules: ProviderRules,
}

/// Who signs, by the URL that stands in every token, letter by letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Issuer(String);

#[derive(Debug, Error, PartialEq, Eq)]
pub enum IssuerError {
    #[error("it is no URL")]
    Malformed,
    #[error("it begins with https://, but for a provider on this very machine")]
    Scheme,
    #[error("an issuer has neither a user name nor a query nor a fragment")]
    Parts,
}

impl Issuer {
    pub fn parse(text: &str) -> Result<Self, IssuerError> {
        let uri: Uri = text.parse().map_err(|_| IssuerError::Malformed)?;
        let authority = uri.authority().ok_or(IssuerError::Malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(IssuerError::Parts);
        }
        if is_spoken_to(&uri) { Ok(Self(text.to_owned())) } else { Err(IssuerError::Scheme) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// OpenID Connect Discovery, 4.
    pub(crate) fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }
}

/// In clear only where nothing leaves this machine.
pub(crate) fn is_spoken_to(uri: &Uri) -> bool {
    let Some(host) = uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']')) else { return false };
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_here,
        Some(_) | None => false,
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use doorward_core::person::provided::Newcomers;
    use jiff::SignedDuration;

    pub(crate) fn settings() -> ProviderSettings {
        ProviderSettings {
            name: Label::parse("school").unwrap(),
            title: "School".to_owned(),
            issuer: Issuer::parse("https://id.test").unwrap(),
            client_id: "doorward".to_owned(),
            client_secret: Some(Secret::new("secret".to_owned())),
            scopes: vec!["profile".to_owned()],
            groups_claim: "groups".to_owned(),
            trust: Trust::System,
            rules: ProviderRules {
                newcomers: Newcomers::Refused,
                groups: [].into(),
                roles: [].into(),
                counts_as: [].into(),
                login_for: SignedDuration::from_hours(24),
            },
        }
    }

    #[test]
    fn an_issuer_is_spoken_to_over_tls_unless_it_is_on_this_machine() {
        for good in
            ["https://id.test", "https://id.test/realms/school/", "http://127.0.0.1:4593/oidc", "http://[::1]:1"]
        {
            assert_eq!(Issuer::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(
            Issuer::parse("https://id.test/a/").unwrap().discovery(),
            "https://id.test/a/.well-known/openid-configuration"
        );
        for (bad, error) in [
            ("http://id.test", IssuerError::Scheme),
            ("http://localhost.evil.test", IssuerError::Scheme),
            ("http://127.0.0.1.evil.test/", IssuerError::Scheme),
            ("https://id.test?x", IssuerError::Parts),
            ("https://id.test/#x", IssuerError::Parts),
            ("https://user@id.test", IssuerError::Parts),
            ("id.test/x y", IssuerError::Malformed),
            ("/id", IssuerError::Malformed),
            ("", IssuerError::Malformed),
        ] {
            assert_eq!(Issuer::parse(bad).unwrap_err(), error, "{bad}");
        }
    }
}
