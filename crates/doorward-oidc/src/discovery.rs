//! Where a provider's endpoints are (OpenID Connect Discovery 1.0).

use crate::fetch::{Asked, NoAnswer, fetch};
use crate::provider::ProviderError;
use crate::settings::{ProviderSettings, is_spoken_to};
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Discovered {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    pub(crate) userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Discovered {
    /// Whether the client's secret belongs into the form rather than a header: only where nothing else is taken.
    pub(crate) fn wants_secret_in_form(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let has = |method: &str| methods.iter().any(|known| known == method);
        has("client_secret_post") && !has("client_secret_basic")
    }

    /// What it names must be as safe as itself, and be about the issuer that was asked.
    fn check(self, settings: &ProviderSettings) -> Result<Self, ProviderError> {
        if self.issuer != settings.issuer.as_str() {
            let why = format!("its discovery document is of the issuer {:?}, not of {}", self.issuer, settings.issuer);
            return Err(ProviderError::Untrustworthy(why));
        }
        let all = [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri];
        for url in all.into_iter().chain(&self.userinfo_endpoint) {
            if !url.parse::<Uri>().is_ok_and(|uri| is_spoken_to(&uri)) {
                return Err(ProviderError::Untrustworthy(format!("its discovery document leads to {url:?}")));
            }
        }
        Ok(self)
    }
}

pub(crate) async fn discover(settings: &ProviderSettings) -> Result<Discovered, ProviderError> {
    let document: Discovered = json(&settings.issuer.discovery(), settings).await?;
    document.check(settings)
}

pub(crate) async fn json<T: DeserializeOwned>(url: &str, settings: &ProviderSettings) -> Result<T, ProviderError> {
    let answer = fetch(url, &settings.trust, Asked::Get, HeaderMap::new()).await?;
    if answer.status != StatusCode::OK {
        return Err(ProviderError::Unreachable(format!("{url} answers {}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| ProviderError::Untrustworthy(format!("{url}: {error}")))
}

impl From<NoAnswer> for ProviderError {
    fn from(error: NoAnswer) -> Self {
        Self::Unreachable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn a_document_about_another_issuer_or_that_leads_out_of_tls_is_not_believed() {
        let document = |issuer: &str, token: &str, methods: &str| -> Discovered {
            let text = format!(
                r#"{{"issuer": {issuer:?}, "authorization_endpoint": "https://id.test/a", "token_endpoint": {token:?},
                    "jwks_uri": "https://id.test/k", "token_endpoint_auth_methods_supported": {methods}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let good = document("https://id.test", "https://id.test/t", "null");
        assert!(good.check(&settings()).is_ok());
        for (issuer, token) in [
            ("https://id.test/", "https://id.test/t"),
            ("https://evil.test", "https://id.test/t"),
            ("https://id.test", "http://id.test/t"),
            ("https://id.test", "ftp://id.test/t"),
            ("https://id.test", "/t"),
        ] {
            assert!(document(issuer, token, "null").check(&settings()).is_err(), "{issuer} {token}");
        }
        for (methods, expected) in [
            ("null", false),
            (r#"["client_secret_post"]"#, true),
            (r#"["client_secret_basic", "client_secret_post"]"#, false),
        ] {
            let document = document("https://id.test", "https://id.test/t", methods);
            assert_eq!(document.wants_secret_in_form(), expected, "{methods}");
        }
    }
}
