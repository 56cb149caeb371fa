//! One provider: leaving for it, and coming back.

use crate::claims;
use crate::discovery::{Discovered, discover};
use crate::fetch::{Asked, fetch};
use crate::keys::Keys;
use crate::settings::ProviderSettings;
use aws_lc_rs::{constant_time, digest, rand};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_core::Secret;
use doorward_core::person::provided::Provided;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

#[derive(Debug)]
pub struct Provider {
    settings: ProviderSettings,
    discovered: Mutex<Option<(Arc<Discovered>, Timestamp)>>,
    keys: Keys,
}

/// What whoever left must bring back. For one browser, once; nobody else may see it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Journey {
    pub provider: String,
    state: String,
    nonce: String,
    verifier: String,
    /// Where the provider sends them back to.
    redirect: String,
}

/// Where a browser goes.
pub struct Leaving {
    pub url: String,
    pub journey: Journey,
}

/// What stands in the URL by which a browser comes back.
#[derive(Deserialize)]
pub struct Back {
    code: Option<String>,
    state: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Error)]
pub enum ProviderError {
    /// It may be otherwise in a moment.
    #[error("it gives no answer that makes sense: {0}")]
    Unreachable(String),
    /// They pressed cancel there, or are nobody there any more.
    #[error("it let nobody in: {0}")]
    Refused(String),
    /// Another browser's, an older one's, or made up.
    #[error("this is not the answer to what this browser asked")]
    NotOurs,
    /// Not to be believed. The owner should know.
    #[error("{0}")]
    Untrustworthy(String),
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// Endpoints move seldom, and are looked up anew this often.
const DISCOVERED_FOR: SignedDuration = SignedDuration::from_hours(1);

impl Provider {
    pub(crate) fn new(settings: ProviderSettings) -> Self {
        Self { settings, discovered: Mutex::default(), keys: Keys::default() }
    }

    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// `redirect`: where they come back to.
    pub async fn leave(&self, redirect: &str, now: Timestamp) -> Result<Leaving, ProviderError> {
        let discovered = self.discovered(now).await?;
        let [state, nonce, verifier] = std::array::from_fn(|_| random());
        let challenge = digest::digest(&digest::SHA256, verifier.as_bytes());
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.scope())
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &BASE64URL_NOPAD.encode(challenge.as_ref()))
            .append_pair("code_challenge_method", "S256")
            .finish();
        let endpoint = &discovered.authorization_endpoint;
        let url = format!("{endpoint}{}{query}", if endpoint.contains('?') { '&' } else { '?' });
        let (provider, redirect) = (self.settings.name.to_string(), redirect.to_owned());
        Ok(Leaving { url, journey: Journey { provider, state, nonce, verifier, redirect } })
    }

    /// Who it is, if this is the answer to that journey and the provider vouches for them.
    pub async fn come_back(&self, journey: Journey, back: Back, now: Timestamp) -> Result<Provided, ProviderError> {
        let state = back.state.ok_or(ProviderError::NotOurs)?;
        constant_time::verify_slices_are_equal(state.as_bytes(), journey.state.as_bytes())
            .map_err(|_| ProviderError::NotOurs)?;
        if journey.provider != self.settings.name.as_str()
            || back.iss.is_some_and(|issuer| issuer != self.settings.issuer.as_str())
        {
            return Err(ProviderError::NotOurs);
        }
        if let Some(error) = back.error {
            return Err(ProviderError::Refused(short(&error)));
        }
        let code = back.code.ok_or(ProviderError::NotOurs)?;
        let discovered = self.discovered(now).await?;
        let tokens = self.redeem(&discovered, &journey, &code).await?;
        let claims = self.keys.open(&tokens.id_token, &discovered, &self.settings, now).await?;
        let subject = claims::check(&claims, &self.settings, &journey.nonce, now)
            .map_err(|unfit| ProviderError::Untrustworthy(format!("its ID token {unfit}")))?;
        let besides = match (&discovered.userinfo_endpoint, tokens.access_token) {
            (Some(url), Some(token)) if !claims::is_complete(&claims, &self.settings) => {
                self.ask_about(url, &Secret::new(token), &subject).await?
            }
            (_, _) => Map::new(),
        };
        Ok(claims::provided(subject, &claims, &besides, &self.settings))
    }

    async fn discovered(&self, now: Timestamp) -> Result<Arc<Discovered>, ProviderError> {
        let held = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = |since: Timestamp| {
            let age = now.duration_since(since);
            !age.is_negative() && age < DISCOVERED_FOR
        };
        if let Some((discovered, _)) = held.filter(|(_, since)| is_fresh(*since)) {
            return Ok(discovered);
        }
        let discovered = Arc::new(discover(&self.settings).await?);
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = Some((discovered.clone(), now));
        Ok(discovered)
    }

    fn scope(&self) -> String {
        let besides = self.settings.scopes.iter().filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(besides.map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// The code for a token (RFC 6749, 4.1.3).
    async fn redeem(&self, discovered: &Discovered, journey: &Journey, code: &str) -> Result<Tokens, ProviderError> {
        let (form, headers) = self.question(discovered, journey, code);
        let url = &discovered.token_endpoint;
        let answer = fetch(url, &self.settings.trust, Asked::Form(form), headers).await?;
        match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map_err(|_| ProviderError::Untrustworthy(format!("{url} answers without an ID token"))),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ProviderError::Refused(told(&answer.body)))
            }
            status => Err(ProviderError::Unreachable(format!("{url} answers {status}"))),
        }
    }

    fn question(&self, discovered: &Discovered, journey: &Journey, code: &str) -> (String, HeaderMap) {
        let (id, mut headers) = (&self.settings.client_id, HeaderMap::new());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &journey.redirect)
            .append_pair("code_verifier", &journey.verifier);
        match &self.settings.client_secret {
            None => {
                form.append_pair("client_id", id);
            }
            Some(secret) if discovered.wants_secret_in_form() => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            Some(secret) => {
                headers.insert(AUTHORIZATION, basic(id, secret));
            }
        }
        (form.finish(), headers)
    }

    /// What the token did not say (OpenID Connect Core, 5.3). An answer about somebody else is none.
    async fn ask_about(
        &self,
        url: &str,
        token: &Secret<String>,
        subject: &str,
    ) -> Result<Map<String, Value>, ProviderError> {
        let refuse = |why: &str| ProviderError::Untrustworthy(format!("{url} {why}"));
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| refuse("is asked with a token that is none"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        let answer = fetch(url, &self.settings.trust, Asked::Get, headers).await?;
        if answer.status != StatusCode::OK {
            return Err(ProviderError::Unreachable(format!("{url} answers {}", answer.status)));
        }
        let about: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| refuse("answers no JSON"))?;
        if about.get("sub").and_then(Value::as_str) == Some(subject) {
            Ok(about)
        } else {
            Err(refuse("answers about somebody else"))
        }
    }
}

/// 256 bits.
fn random() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    BASE64URL_NOPAD.encode(&bytes)
}

/// RFC 6749, 2.3.1: each part is encoded as in a form first.
fn basic(id: &str, secret: &Secret<String>) -> HeaderValue {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose()));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes()))).expect("base64 is ASCII");
    value.set_sensitive(true);
    value
}

/// The error's word of RFC 6749, 5.2; nothing that it tells besides is shown to anybody.
fn told(body: &[u8]) -> String {
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    short(body.get("error").and_then(Value::as_str).unwrap_or("no reason is given"))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.')).take(60).collect()
}
