//! Signing in at an identity provider: OpenID Connect with the authorization code flow, PKCE (RFC 7636), state and nonce.
//!
//! Only servers that the owner wrote down are spoken to, and those that they name in their discovery document, over TLS.
//! Nothing waits here for a browser: what is between leaving and coming back is a [`Journey`], which the portal seals into a cookie.

mod claims;
mod discovery;
mod fetch;
mod keys;
mod provider;
mod settings;

pub use fetch::{Trust, TrustError};
pub use provider::{Back, Journey, Leaving, Provider, ProviderError};
pub use settings::{Issuer, IssuerError, ProviderSettings};

use std::sync::{Arc, PoisonError, RwLock};

/// All that the owner wrote down. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Providers(Arc<RwLock<Arc<Vec<Arc<Provider>>>>>);

impl Providers {
    /// From now on these. What is known of one that stays as it is, is kept.
    pub fn serve(&self, settings: Vec<ProviderSettings>) {
        let before = self.all();
        let kept = |settings: ProviderSettings| {
            let same = before.iter().find(|held| *held.settings() == settings).cloned();
            same.unwrap_or_else(|| Arc::new(Provider::new(settings)))
        };
        let now = Arc::new(settings.into_iter().map(kept).collect());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub fn all(&self) -> Arc<Vec<Arc<Provider>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn named(&self, name: &str) -> Option<Arc<Provider>> {
        self.all().iter().find(|provider| provider.settings().name.as_str() == name).cloned()
    }

    pub fn of_issuer(&self, issuer: &str) -> Option<Arc<Provider>> {
        self.all().iter().find(|provider| provider.settings().issuer.as_str() == issuer).cloned()
    }
}
