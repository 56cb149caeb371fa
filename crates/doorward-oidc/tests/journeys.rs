//! A whole journey, with a provider on loopback that lies when it is told to.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::person::provided::{Newcomers, Provided, ProviderRules};
use doorward_oidc::{Back, Issuer, Leaving, Provider, ProviderError, ProviderSettings, Providers, Trust};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SECRET: &str = "s e+c";
const BACK: &str = "https://portal.test/sign-in/back";

struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key_raw();
        let part = |from: usize| BASE64URL_NOPAD.encode(&point[from..from + 32]);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": part(1), "y": part(33) })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(self.pair.serialized_der())).unwrap()
    }
}

/// What the provider says next, whatever is true.
#[derive(Default)]
struct Script {
    keys: Vec<Value>,
    /// The PKCE challenge of the journey under way.
    challenge: String,
    token: String,
    about: Value,
    asked_for_keys: usize,
}

type Shared = Arc<Mutex<Script>>;

struct Liar {
    issuer: String,
    script: Shared,
    providers: Providers,
    _serving: JoinSet<()>,
}

async fn exchange(
    State(script): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let script = script.lock().unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(BASE64URL_NOPAD.encode(digest.as_ref()), script.challenge);
    // RFC 6749, 2.3.1: both parts are encoded as in a form.
    assert_eq!(headers["authorization"], format!("Basic {}", data_encoding::BASE64.encode(b"doorward:s+e%2Bc")));
    assert_eq!((form["redirect_uri"].as_str(), form["grant_type"].as_str()), (BACK, "authorization_code"));
    match form["code"].as_str() {
        "ended" => (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "elsewhere" => Redirect::temporary("/other").into_response(),
        "nothing" => Json(json!({ "access_token": "a" })).into_response(),
        "long" => "x".repeat(600 * 1024).into_response(),
        _ => Json(json!({ "id_token": script.token, "access_token": "a", "token_type": "Bearer" })).into_response(),
    }
}

impl Liar {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script: Shared = Arc::default();
        let document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/about"),
        });
        let keys = async |State(script): State<Shared>| {
            let mut script = script.lock().unwrap();
            script.asked_for_keys += 1;
            Json(json!({ "keys": script.keys }))
        };
        let about = async |State(script): State<Shared>, headers: HeaderMap| {
            assert_eq!(headers["authorization"], "Bearer a");
            Json(script.lock().unwrap().about.clone())
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(document)))
            .route("/keys", get(keys))
            .route("/token", post(exchange))
            .route("/about", get(about))
            .route("/other", post(async || StatusCode::IM_A_TEAPOT))
            .with_state(script.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let providers = Providers::default();
        providers.serve(vec![settings(&issuer, "school")]);
        Self { issuer, script, providers, _serving: serving }
    }

    fn provider(&self) -> Arc<Provider> {
        self.providers.named("school").unwrap()
    }

    /// Leaves, and has the provider answer with what `token` makes of good claims.
    async fn travel(&self, now: Timestamp, token: impl FnOnce(Value) -> String) -> Result<Provided, ProviderError> {
        let leaving = self.provider().leave(BACK, now).await.unwrap();
        let claims = self.claims(&leaving, now);
        {
            let mut script = self.script.lock().unwrap();
            script.challenge = asked(&leaving, "code_challenge");
            script.token = token(claims);
        }
        let back = back(&[("code", "good"), ("state", &asked(&leaving, "state"))]);
        self.provider().come_back(leaving.journey, back, now).await
    }

    fn claims(&self, leaving: &Leaving, now: Timestamp) -> Value {
        json!({
            "iss": self.issuer, "aud": "doorward", "sub": "42", "exp": now.as_second() + 300, "iat": now.as_second(),
            "nonce": asked(leaving, "nonce"), "preferred_username": "anna", "name": "Anna B.", "groups": ["staff"],
            "amr": ["otp"],
        })
    }

    fn asked_for_keys(&self) -> usize {
        self.script.lock().unwrap().asked_for_keys
    }

    fn publish(&self, keys: &[&Key]) {
        self.script.lock().unwrap().keys = keys.iter().map(|key| key.public()).collect();
    }
}

fn settings(issuer: &str, name: &str) -> ProviderSettings {
    ProviderSettings {
        name: Label::parse(name).unwrap(),
        title: "School".to_owned(),
        issuer: Issuer::parse(issuer).unwrap(),
        client_id: "doorward".to_owned(),
        client_secret: Some(Secret::new(SECRET.to_owned())),
        scopes: vec!["profile".to_owned()],
        groups_claim: "groups".to_owned(),
        trust: Trust::System,
        rules: ProviderRules {
            newcomers: Newcomers::Refused,
            groups: [("staff".to_owned(), Label::parse("teachers").unwrap())].into(),
            roles: [].into(),
            counts_as: [].into(),
            login_for: SignedDuration::from_hours(24),
        },
    }
}

fn asked(leaving: &Leaving, key: &str) -> String {
    let query = leaving.url.split_once('?').unwrap().1;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned()).unwrap()
}

fn back(pairs: &[(&str, &str)]) -> Back {
    serde_json::from_value(pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()).unwrap()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_500_000).unwrap()
}

#[tokio::test]
async fn whoever_the_provider_vouches_for_comes_back_as_themselves() {
    let (liar, key) = (Liar::start().await, Key::new("1"));
    liar.publish(&[&key]);
    let leaving = liar.provider().leave(BACK, now()).await.unwrap();
    let beginning = format!("{}/authorize?tenant=1&response_type=code&", liar.issuer);
    assert!(leaving.url.starts_with(&beginning), "{}", leaving.url);
    assert_eq!((asked(&leaving, "scope").as_str(), asked(&leaving, "redirect_uri").as_str()), ("openid profile", BACK));
    assert_eq!(asked(&leaving, "code_challenge_method"), "S256");
    let provided = liar.travel(now(), |claims| key.sign(&claims)).await.unwrap();
    assert_eq!((provided.issuer.as_str(), provided.subject.as_str()), (liar.issuer.as_str(), "42"));
    assert!(provided.groups.contains("staff") && provided.methods.contains("otp"));
    // What the token lacks is asked for, and believed of the same subject alone.
    liar.script.lock().unwrap().about = json!({ "sub": "42", "groups": ["board"], "amr": ["hwk"], "name": "Anna" });
    let short = |mut claims: Value| {
        claims.as_object_mut().unwrap().remove("groups");
        key.sign(&claims)
    };
    let provided = liar.travel(now(), short).await.unwrap();
    assert!(provided.groups.contains("board") && !provided.methods.contains("hwk"), "{provided:?}");
    liar.script.lock().unwrap().about = json!({ "sub": "43", "groups": ["admins"] });
    assert!(matches!(liar.travel(now(), short).await, Err(ProviderError::Untrustworthy(_))));
}

type Forger<'f> = Box<dyn Fn(Value) -> String + 'f>;

#[tokio::test]
async fn no_token_counts_that_the_provider_did_not_sign_for_this_journey() {
    let (liar, key, other) = (Liar::start().await, Key::new("1"), Key::new("1"));
    liar.publish(&[&key]);
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let bare = |header: Value, claims: &Value| format!("{}.{}.", part(&header), part(claims));
    let by_secret = |secret: &[u8], claims: &Value| {
        let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let swapped = |claims: Value| {
        let signed = key.sign(&claims);
        let (head, signature) = (signed.split('.').next().unwrap(), signed.rsplit('.').next().unwrap());
        format!("{head}.{}.{signature}", part(&with(claims, "sub", json!("1"))))
    };
    let bringing_its_own = |claims: Value| {
        let mut header = Header::new(Algorithm::ES256);
        header.jwk = serde_json::from_value(other.public()).ok();
        encode(&header, &claims, &EncodingKey::from_ec_der(other.pair.serialized_der())).unwrap()
    };
    let point = key.pair.public_key_raw().to_vec();
    let over = json!(now().as_second() - 61);
    let forgers: [(&str, Forger<'_>); 14] = [
        ("alg none", Box::new(|claims| bare(json!({ "alg": "none", "typ": "JWT" }), &claims))),
        ("alg None", Box::new(|claims| bare(json!({ "alg": "None", "kid": "1" }), &claims))),
        ("no signature", Box::new(|claims| bare(json!({ "alg": "ES256", "kid": "1" }), &claims))),
        ("the client's secret as the key", Box::new(|claims| by_secret(SECRET.as_bytes(), &claims))),
        ("the public key as the secret", Box::new(|claims| by_secret(&point, &claims))),
        ("another key of the same name", Box::new(|claims| other.sign(&claims))),
        ("a key of another name", Box::new(|claims| Key::new("2").sign(&claims))),
        ("another nonce", Box::new(|claims| key.sign(&with(claims, "nonce", json!("x"))))),
        ("for somebody else", Box::new(|claims| key.sign(&with(claims, "aud", json!("other"))))),
        ("of another issuer", Box::new(|claims| key.sign(&with(claims, "iss", json!("https://evil.test"))))),
        ("over", Box::new(|claims| key.sign(&with(claims, "exp", over.clone())))),
        ("changed after it was signed", Box::new(swapped)),
        ("its own key in the header", Box::new(bringing_its_own)),
        ("no token", Box::new(|_| "a.b.c".to_owned())),
    ];
    for (what, forger) in &forgers {
        let refused = liar.travel(now(), forger).await;
        assert!(matches!(refused, Err(ProviderError::Untrustworthy(_))), "{what}: {refused:?}");
    }
    liar.travel(now(), |claims| key.sign(&claims)).await.unwrap();
}

#[tokio::test]
async fn new_keys_are_fetched_when_they_are_needed_and_not_for_every_token() {
    let (liar, old, new) = (Liar::start().await, Key::new("old"), Key::new("new"));
    liar.publish(&[&old]);
    liar.travel(now(), |claims| old.sign(&claims)).await.unwrap();
    liar.publish(&[&old, &new]);
    let soon = now() + SignedDuration::from_secs(9);
    for _ in 0..3 {
        assert!(liar.travel(soon, |claims| new.sign(&claims)).await.is_err(), "they were fetched a moment ago");
    }
    assert_eq!(liar.asked_for_keys(), 1);
    let later = now() + SignedDuration::from_secs(10);
    liar.travel(later, |claims| new.sign(&claims)).await.unwrap();
    liar.travel(later, |claims| old.sign(&claims)).await.unwrap();
    assert_eq!(liar.asked_for_keys(), 2);
    // Taken back: what is held counts for an hour at most.
    liar.publish(&[&new]);
    let at_last = later + SignedDuration::from_hours(1);
    assert!(liar.travel(at_last, |claims| old.sign(&claims)).await.is_err());
    liar.travel(at_last, |claims| new.sign(&claims)).await.unwrap();
}

#[tokio::test]
async fn only_the_answer_to_this_journey_is_taken_and_what_the_provider_refuses_is_refused() {
    let (liar, key) = (Liar::start().await, Key::new("1"));
    liar.publish(&[&key]);
    let table: [(&[(&str, &str)], &str); 11] = [
        (&[("code", "good")], "NotOurs"),
        (&[("code", "good"), ("state", "x")], "NotOurs"),
        (&[("code", "good"), ("state", "")], "NotOurs"),
        (&[("code", "good"), ("state", "="), ("iss", "https://evil.test")], "NotOurs"),
        (&[("state", "=")], "NotOurs"),
        (&[("state", "="), ("error", "access_denied"), ("code", "good")], "Refused"),
        (&[("state", "="), ("code", "ended")], "Refused"),
        (&[("state", "="), ("code", "broken")], "Unreachable"),
        (&[("state", "="), ("code", "elsewhere")], "Unreachable"),
        (&[("state", "="), ("code", "nothing")], "Untrustworthy"),
        (&[("state", "="), ("code", "long")], "Unreachable"),
    ];
    for (pairs, expected) in table {
        let leaving = liar.provider().leave(BACK, now()).await.unwrap();
        liar.script.lock().unwrap().challenge = asked(&leaving, "code_challenge");
        let state = asked(&leaving, "state");
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (*n, if *v == "=" { state.as_str() } else { *v })).collect();
        let refused = liar.provider().come_back(leaving.journey, back(&pairs), now()).await.unwrap_err();
        assert!(format!("{refused:?}").starts_with(expected), "{pairs:?}: {refused:?}");
    }
    // Of another provider, which happens to be asked with the same state.
    liar.providers.serve(vec![settings(&liar.issuer, "school"), settings("http://127.0.0.1:1", "other")]);
    let leaving = liar.provider().leave(BACK, now()).await.unwrap();
    let state = asked(&leaving, "state");
    let other = liar.providers.named("other").unwrap();
    let mixed = other.come_back(leaving.journey, back(&[("code", "good"), ("state", &state)]), now()).await;
    assert!(matches!(mixed, Err(ProviderError::NotOurs)), "{mixed:?}");
    let away = other.leave(BACK, now()).await.map(|leaving| leaving.url);
    assert!(matches!(away, Err(ProviderError::Unreachable(_))), "{away:?}");
}
