//! Tokens of programs at services' doors: in a header of ours, so that `Authorization` stays the application's; or as what
//! every program can send, a password of HTTP Basic (RFC 7617) or a Bearer token (RFC 6750), told from the application's own by
//! their shape. Either way no target ever sees one, whatever became of it.
//!
//! A token has too many random bits to be guessed, and is found by its hash. Wrong ones are counted by source all the same, so that
//! trying costs us nothing and shows in the audit; whoever was right from there lately is not shut out by others.

use super::forward::Web;
use super::request::Malformed;
use super::{Body, page};
use crate::listen::strangers::source_of;
use data_encoding::BASE64_NOPAD;
use doorward_core::audit::Deed;
use doorward_core::login::bare_token;
use doorward_core::service::Service;
use doorward_core::{LoginId, Secret, ServiceId};
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use jiff::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) static DOORWARD_TOKEN: HeaderName = HeaderName::from_static("doorward-token");

/// The token that a request shows. Two are refused: one of them was put there by somebody else.
pub(super) fn shown(headers: &HeaderMap) -> Result<Option<Secret<String>>, Malformed> {
    let own = headers.get_all(&DOORWARD_TOKEN).iter().map(|value| {
        let text = value.to_str().unwrap_or_default().trim();
        Secret::new(bare_token(text).unwrap_or(text).to_owned())
    });
    let mut all = own.chain(headers.get_all(AUTHORIZATION).iter().filter_map(in_authorization));
    match (all.next(), all.next()) {
        (Some(_), Some(_)) => Err(Malformed("it shows two tokens")),
        (shown, _) => Ok(shown),
    }
}

/// Removes what was for us. `Authorization` that is the application's own stays as it came.
pub(super) fn take_out(headers: &mut HeaderMap) {
    headers.remove(&DOORWARD_TOKEN);
    let is_ours = |value: &HeaderValue| in_authorization(value).is_some();
    if headers.get_all(AUTHORIZATION).iter().any(is_ours) {
        headers.remove(AUTHORIZATION);
    }
}

fn in_authorization(value: &HeaderValue) -> Option<Secret<String>> {
    let (scheme, given) = value.to_str().ok()?.split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return bare_token(given).map(|token| Secret::new(token.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_NOPAD.decode(given.trim_end_matches('=').as_bytes()).ok()?;
    let decoded = Secret::new(String::from_utf8(decoded).ok()?);
    // Some programs have one field only, and send it as the user.
    let (user, password) = decoded.expose().split_once(':')?;
    [password, user].into_iter().find_map(bare_token).map(|token| Secret::new(token.to_owned()))
}

/// Wrong ones by source, and who was right from where.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    wrong: HashMap<IpAddr, (u32, Instant)>,
    right: HashMap<(IpAddr, LoginId), Instant>,
}

const ALLOWED_WRONG: u32 = 20;
const WRONG_WINDOW: Duration = Duration::from_secs(60);
const TRUSTED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MOST_SOURCES: usize = 10_000;
const MOST_TRUSTED: usize = 10_000;

impl Guesses {
    /// `None`: this source guesses too much to be told whether this one is right.
    fn judge(&self, source: IpAddr, found: Option<LoginId>, now: Instant) -> Option<Option<LoginId>> {
        let (source, mut counts) = (source_of(source), self.counts());
        let is_guessing = counts
            .wrong
            .get(&source)
            .is_some_and(|(times, since)| *times >= ALLOWED_WRONG && now.duration_since(*since) < WRONG_WINDOW);
        let Some(login) = found else {
            counts.count_wrong(source, now);
            return (!is_guessing).then_some(None);
        };
        let trusted = counts.right.get(&(source, login));
        if is_guessing && trusted.is_none_or(|since| now.duration_since(*since) >= TRUSTED_FOR) {
            return None;
        }
        if counts.right.len() >= MOST_TRUSTED && !counts.right.contains_key(&(source, login)) {
            counts.right.clear();
        }
        counts.right.insert((source, login), now);
        Some(Some(login))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count_wrong(&mut self, source: IpAddr, now: Instant) {
        if self.wrong.len() >= MOST_SOURCES && !self.wrong.contains_key(&source) {
            self.wrong.retain(|_, (_, since)| now.duration_since(*since) < WRONG_WINDOW);
            if self.wrong.len() >= MOST_SOURCES {
                return;
            }
        }
        let wrong = self.wrong.entry(source).or_insert((0, now));
        if now.duration_since(wrong.1) >= WRONG_WINDOW {
            *wrong = (0, now);
        }
        wrong.0 += 1;
    }
}

impl Web {
    /// Whose token this is, as far as it counts at this service.
    pub(super) fn login_by_token(
        &self,
        headers: &HeaderMap,
        token: &Secret<String>,
        service: &Service,
        source: IpAddr,
    ) -> Result<LoginId, Box<Response<Body>>> {
        let found = self.admission.control.visit_by_token(token, service.id, Timestamp::now());
        match self.guesses.judge(source, found, Instant::now()) {
            Some(Some(login)) => Ok(login),
            Some(None) => Err(Box::new(self.wrong_token(headers, Some(service.id), source))),
            None => Err(Box::new(page::too_many_tokens(headers))),
        }
    }

    /// Shown where nothing is that it could open: counted and answered as if there were.
    pub(super) fn idle_token(&self, headers: &HeaderMap, source: IpAddr) -> Response<Body> {
        match self.guesses.judge(source, None, Instant::now()) {
            Some(_) => self.wrong_token(headers, None, source),
            None => page::too_many_tokens(headers),
        }
    }

    fn wrong_token(&self, headers: &HeaderMap, service: Option<ServiceId>, source: IpAddr) -> Response<Body> {
        metrics::counter!("doorward_tokens_wrong_total", "entrance" => "web").increment(1);
        self.admission.control.refused(Deed::VisitRefused, Some(source), service, "wrong-token", Timestamp::now());
        page::token_needed(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;

    const TOKEN: &str = "dw_0123456789012345678901234567890123456789-_a";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
    }

    fn found(headers: &HeaderMap) -> Option<String> {
        shown(headers).unwrap().map(|token| token.expose().clone())
    }

    #[test]
    fn a_token_is_found_wherever_a_program_can_put_one_and_taken_out_of_there() {
        let bare = TOKEN.strip_prefix("dw_").unwrap();
        let unpadded = basic("a", TOKEN).trim_end_matches('=').to_owned();
        for (name, value) in [
            ("doorward-token", TOKEN.to_owned()),
            ("doorward-token", format!(" {TOKEN} ")),
            ("authorization", format!("Bearer {TOKEN}")),
            ("authorization", format!("bearer  {TOKEN}")),
            ("authorization", basic("anybody", TOKEN)),
            ("authorization", basic("", TOKEN)),
            ("authorization", basic(TOKEN, "")),
            ("authorization", basic(TOKEN, "x-oauth-basic")),
            ("authorization", basic("anybody", TOKEN).replace("Basic", "BASIC")),
            ("authorization", unpadded),
        ] {
            let mut headers = headers(&[(name, &value), ("x-api-key", "1")]);
            assert_eq!(found(&headers).as_deref(), Some(bare), "{value}");
            take_out(&mut headers);
            assert_eq!(headers.len(), 1, "{value}");
            assert_eq!(headers["x-api-key"], "1");
        }
    }

    #[test]
    fn what_is_the_applications_own_is_left_alone_to_the_byte() {
        for value in [
            "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
            "token 0123",
            "Bearer dw_short",
            "Basic Z3Vlc3Q6cHc=",
            "Basic dw_not-base64!",
            "Digest username=\"dw_\"",
            &format!("Bearer {TOKEN}more"),
        ] {
            let mut one = headers(&[("authorization", value)]);
            assert_eq!(found(&one), None, "{value}");
            take_out(&mut one);
            assert_eq!(one["authorization"], value);
        }
        let mut both = headers(&[("doorward-token", TOKEN), ("authorization", "Bearer theirs")]);
        assert!(found(&both).is_some());
        take_out(&mut both);
        assert_eq!((both.len(), both["authorization"].to_str().unwrap()), (1, "Bearer theirs"));
    }

    #[test]
    fn a_header_of_ours_is_never_the_targets_even_if_it_holds_no_token() {
        for value in ["", "x", "dw_short", "a b c"] {
            let mut one = headers(&[("doorward-token", value)]);
            assert!(found(&one).is_some(), "{value:?} counts as one that is wrong");
            take_out(&mut one);
            assert!(one.is_empty());
        }
    }

    #[test]
    fn two_tokens_are_refused() {
        let basic = basic("a", TOKEN);
        for pairs in [
            [("doorward-token", TOKEN), ("doorward-token", TOKEN)],
            [("doorward-token", TOKEN), ("authorization", basic.as_str())],
            [("authorization", basic.as_str()), ("authorization", basic.as_str())],
        ] {
            assert!(shown(&headers(&pairs)).is_err(), "{pairs:?}");
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn whoever_guesses_is_told_nothing_any_more_and_whoever_was_right_before_comes_in() {
        let (guesses, now, known, new) = (Guesses::default(), Instant::now(), LoginId(1), LoginId(2));
        let here = ip("2001:db8::1");
        assert_eq!(guesses.judge(here, Some(known), now), Some(Some(known)));
        for n in 0..ALLOWED_WRONG {
            assert_eq!(guesses.judge(ip(&format!("2001:db8::{}", n + 2)), None, now), Some(None), "{n}");
        }
        assert_eq!(guesses.judge(here, None, now), None);
        assert_eq!(guesses.judge(here, Some(new), now), None, "right and wrong look the same");
        assert_eq!(guesses.judge(here, Some(known), now), Some(Some(known)));
        assert_eq!(guesses.judge(ip("192.0.2.1"), Some(new), now), Some(Some(new)));
        assert_eq!(guesses.judge(here, Some(new), now + WRONG_WINDOW), Some(Some(new)));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..u32::try_from(MOST_SOURCES).unwrap() + 50 {
            guesses.judge(IpAddr::from(n.to_be_bytes()), None, now);
            guesses.judge(IpAddr::from(n.to_be_bytes()), Some(LoginId(n.into())), now);
        }
        let counts = guesses.counts();
        assert_eq!(counts.wrong.len(), MOST_SOURCES);
        assert!(counts.right.len() <= MOST_TRUSTED);
    }
}
