//! The keys with which a provider signs (RFC 7517). They change whenever it likes, so a token that fits none of those that we know is
//! a reason to ask again, now and then.

use crate::discovery::{Discovered, json};
use crate::provider::ProviderError;
use crate::settings::ProviderSettings;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Signatures by which nobody but the provider can vouch: neither `none` nor a secret that we share with it.
const TAKEN: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How soon they are asked for again, whatever tokens come.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How long keys count that the provider may have taken back.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<Option<Held>>);

#[derive(Clone, Debug)]
struct Held {
    keys: Arc<JwkSet>,
    since: Timestamp,
}

impl Keys {
    /// What the token says, if the provider signed it. What it says is not looked at here.
    pub(crate) async fn open(
        &self,
        token: &str,
        discovered: &Discovered,
        settings: &ProviderSettings,
        now: Timestamp,
    ) -> Result<Map<String, Value>, ProviderError> {
        let held = self.held().filter(|held| held.age(now) < KEPT_FOR);
        if let Some(held) = held {
            match opened(token, &held.keys) {
                Ok(claims) => return Ok(claims),
                Err(error) if held.age(now) < AGAIN_AFTER => return Err(error),
                Err(_) => {}
            }
        }
        let keys: Arc<JwkSet> = Arc::new(json(&discovered.jwks_uri, settings).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Held { keys: keys.clone(), since: now });
        opened(token, &keys)
    }

    fn held(&self) -> Option<Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    /// A clock that was put back makes them as old as they get.
    fn age(&self, now: Timestamp) -> SignedDuration {
        let age = now.duration_since(self.since);
        if age.is_negative() { KEPT_FOR } else { age }
    }
}

fn opened(token: &str, keys: &JwkSet) -> Result<Map<String, Value>, ProviderError> {
    let refuse = |why: &str| ProviderError::Untrustworthy(format!("its ID token {why}"));
    let header = decode_header(token).map_err(|_| refuse("cannot be read"))?;
    let algorithm = header.alg;
    if !TAKEN.contains(&algorithm) {
        return Err(refuse("is signed in a way that proves nothing"));
    }
    let mut fitting = keys.keys.iter().filter(|key| fits(key, algorithm, header.kid.as_deref()));
    let (Some(key), None) = (fitting.next(), fitting.next()) else {
        return Err(refuse("is signed with a key that it does not publish"));
    };
    let key = DecodingKey::from_jwk(key).map_err(|_| refuse("is signed with a key that cannot be read"))?;
    let mut signature_alone = Validation::new(algorithm);
    // The claims are judged by `claims`, which is told what time it is.
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    let opened = decode::<Map<String, Value>>(token, &key, &signature_alone);
    opened.map(|opened| opened.claims).map_err(|_| refuse("is not signed by it"))
}

/// A key for signatures of this very kind. Where tokens name no key, there must be one alone that fits.
fn fits(key: &Jwk, algorithm: Algorithm, id: Option<&str>) -> bool {
    let family = DecodingKey::from_jwk(key).map(|key| key.family());
    let is_for_signing = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)));
    let is_of_kind = key.common.key_algorithm.is_none_or(|own| own == algorithm.into());
    let is_named = id.is_none_or(|id| key.common.key_id.as_deref() == Some(id));
    is_for_signing
        && is_of_kind
        && is_named
        && family.is_ok_and(|family| is_asymmetric(family) && family == algorithm.family())
}

fn is_asymmetric(family: AlgorithmFamily) -> bool {
    family != AlgorithmFamily::Hmac
}
