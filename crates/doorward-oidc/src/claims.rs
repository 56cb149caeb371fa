//! What an ID token says, held against what was asked for (OpenID Connect Core, 3.1.3.7). Its signature was checked before.

use crate::settings::ProviderSettings;
use aws_lc_rs::constant_time;
use doorward_core::person::provided::Provided;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unfit {
    #[error("is of another issuer")]
    Issuer,
    #[error("is for somebody else")]
    Audience,
    #[error("is over")]
    Expired,
    #[error("is from another time: compare the clocks of both machines")]
    Time,
    #[error("answers another question")]
    Nonce,
    #[error("does not say whom it is about")]
    Subject,
}

/// Clocks differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// A token is fetched right after it was made.
const OLDEST: SignedDuration = SignedDuration::from_mins(10);
/// OpenID Connect Core, 2: a subject has 255 characters at most.
const LONGEST_SUBJECT: usize = 255;
const MOST_WORDS: usize = 1000;
const LONGEST_WORD: usize = 255;

pub(crate) fn check(
    claims: &Map<String, Value>,
    settings: &ProviderSettings,
    nonce: &str,
    now: Timestamp,
) -> Result<String, Unfit> {
    if text(claims, "iss") != Some(settings.issuer.as_str()) {
        return Err(Unfit::Issuer);
    }
    let audience = words(claims.get("aud"));
    let authorized = claims.get("azp").map(|azp| azp.as_str() == Some(&settings.client_id));
    let is_for_others_too = audience.len() > 1;
    if !audience.contains(&settings.client_id) || !authorized.unwrap_or(!is_for_others_too) {
        return Err(Unfit::Audience);
    }
    let ends = time(claims, "exp").ok_or(Unfit::Expired)?;
    if ends.saturating_add(LEEWAY).is_ok_and(|ends| ends <= now) {
        return Err(Unfit::Expired);
    }
    let made = time(claims, "iat").ok_or(Unfit::Time)?;
    let is_early = |at: Timestamp| at.duration_since(now) > LEEWAY;
    if is_early(made) || now.duration_since(made) > OLDEST || time(claims, "nbf").is_some_and(is_early) {
        return Err(Unfit::Time);
    }
    let told = text(claims, "nonce").ok_or(Unfit::Nonce)?;
    constant_time::verify_slices_are_equal(told.as_bytes(), nonce.as_bytes()).map_err(|_| Unfit::Nonce)?;
    let subject = text(claims, "sub").filter(|subject| !subject.is_empty() && subject.len() <= LONGEST_SUBJECT);
    subject.map(str::to_owned).ok_or(Unfit::Subject)
}

/// Who it is. `besides`: what the provider tells of the same subject when it is asked, which the token may lack.
pub(crate) fn provided(
    subject: String,
    claims: &Map<String, Value>,
    besides: &Map<String, Value>,
    settings: &ProviderSettings,
) -> Provided {
    let find = |name: &str| claims.get(name).or(besides.get(name));
    let of = |name: &str| find(name).and_then(Value::as_str).map(str::to_owned).filter(|text| !text.is_empty());
    let of_mail = || of("email").and_then(|mail| mail.split_once('@').map(|(name, _)| name.to_owned()));
    let mut methods = words(claims.get("amr"));
    methods.extend(words(claims.get("acr")));
    Provided {
        issuer: settings.issuer.as_str().to_owned(),
        subject,
        name: of("preferred_username").or_else(of_mail).or_else(|| of("name")),
        title: of("name"),
        groups: words(find(&settings.groups_claim)),
        methods,
    }
}

/// Whether the token alone says all that we would like to know.
pub(crate) fn is_complete(claims: &Map<String, Value>, settings: &ProviderSettings) -> bool {
    let has_groups = settings.rules.groups.is_empty() && settings.rules.roles.is_empty()
        || claims.contains_key(&settings.groups_claim);
    has_groups && claims.contains_key("preferred_username") && claims.contains_key("name")
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

/// NumericDate (RFC 7519, 2): seconds, perhaps with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    let value = claims.get(name)?;
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
    Timestamp::from_second(seconds).ok()
}

/// One text, or a list of them. What is not text is left out.
fn words(value: Option<&Value>) -> BTreeSet<String> {
    let all: Vec<&str> = match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    };
    let short = all.into_iter().filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD);
    short.take(MOST_WORDS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;
    use serde_json::json;

    const NOW: i64 = 1_795_500_000;

    fn good() -> Map<String, Value> {
        let Value::Object(claims) = json!({
            "iss": "https://id.test", "aud": "doorward", "exp": NOW + 300, "iat": NOW, "nonce": "n", "sub": "42",
        }) else {
            unreachable!()
        };
        claims
    }

    #[test]
    fn a_token_counts_for_this_question_of_this_client_at_this_moment() {
        use Unfit::{Audience, Expired, Issuer, Nonce, Subject, Time};
        let table = [
            (json!({}), Ok(())),
            (json!({"iss": "https://id.test/"}), Err(Issuer)),
            (json!({"iss": "https://evil.test"}), Err(Issuer)),
            (json!({"iss": ["https://id.test"]}), Err(Issuer)),
            (json!({"iss": null}), Err(Issuer)),
            (json!({"aud": "other"}), Err(Audience)),
            (json!({"aud": []}), Err(Audience)),
            (json!({"aud": null}), Err(Audience)),
            (json!({"aud": ["doorward"]}), Ok(())),
            (json!({"aud": ["doorward", "other"]}), Err(Audience)),
            (json!({"aud": ["doorward", "other"], "azp": "doorward"}), Ok(())),
            (json!({"aud": ["doorward", "other"], "azp": "other"}), Err(Audience)),
            (json!({"azp": "other"}), Err(Audience)),
            (json!({"azp": 7}), Err(Audience)),
            (json!({"exp": NOW - 59}), Ok(())),
            (json!({"exp": NOW - 60}), Err(Expired)),
            (json!({"exp": "tomorrow"}), Err(Expired)),
            (json!({"exp": null}), Err(Expired)),
            (json!({"exp": NOW as f64 + 0.5}), Ok(())),
            (json!({"iat": NOW + 61}), Err(Time)),
            (json!({"iat": NOW - 601}), Err(Time)),
            (json!({"iat": null}), Err(Time)),
            (json!({"nbf": NOW + 61}), Err(Time)),
            (json!({"nbf": NOW - 1}), Ok(())),
            (json!({"nonce": "other"}), Err(Nonce)),
            (json!({"nonce": ""}), Err(Nonce)),
            (json!({"nonce": null}), Err(Nonce)),
            (json!({"sub": ""}), Err(Subject)),
            (json!({"sub": 42}), Err(Subject)),
            (json!({"sub": "x".repeat(256)}), Err(Subject)),
        ];
        for (change, expected) in table {
            let mut claims = good();
            claims.extend(change.as_object().unwrap().clone());
            let judged = check(&claims, &settings(), "n", Timestamp::from_second(NOW).unwrap());
            assert_eq!(judged.map(drop), expected, "{change}");
        }
    }

    #[test]
    fn people_are_called_what_the_provider_calls_them_and_methods_come_from_the_token_alone() {
        let claims = |value: Value| value.as_object().unwrap().clone();
        let token =
            claims(json!({"acr": "mfa", "amr": ["otp", 7, "pwd"], "groups": ["a"], "email": "anna@school.test"}));
        let besides = claims(json!({"name": "Anna A.", "amr": ["hwk"], "groups": ["b"], "email": "x@y"}));
        let provided = provided("42".into(), &token, &besides, &settings());
        assert_eq!((provided.name.as_deref(), provided.title.as_deref()), (Some("anna"), Some("Anna A.")));
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!((list(&provided.methods), list(&provided.groups)), ("mfa otp pwd".into(), "a".into()));
        assert!(!is_complete(&token, &settings()));
    }
}
