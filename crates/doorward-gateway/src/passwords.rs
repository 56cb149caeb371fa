//! Checking HTTP Basic credentials (RFC 7617). The hash is slow on purpose and every request carries the password, so
//! what was found right once is remembered (as a keyed digest, in memory); wrong guesses are counted per source, which of
//! IPv6 is a whole /64.

use crate::listen::strangers::source_of;
use doorward_control::passwords::verify;
use doorward_core::Secret;
use doorward_core::access::{PasswordHash, Proof, Who};
use doorward_core::service::Service;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

pub(crate) struct Passwords {
    /// Argon2 takes 19 MiB and some 20 ms each.
    workers: Semaphore,
    known: Mutex<HashMap<(u64, u64), PasswordHash>>,
    keys: (RandomState, RandomState),
    wrong: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

/// What came of checking.
#[derive(Debug, PartialEq)]
pub(crate) enum Checked {
    Right(Proof),
    Wrong,
    /// Too many wrong ones from this source; not even looked at.
    TooMany,
}

impl Checked {
    /// A stable word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Right(_) => "right",
            Self::Wrong => "wrong",
            Self::TooMany => "too-many",
        }
    }
}

const WORKERS: usize = 2;
const MAX_KNOWN: usize = 10_000;
const MAX_SOURCES: usize = 10_000;
const ALLOWED_WRONG: u32 = 20;
const WRONG_WINDOW: Duration = Duration::from_secs(60);

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            workers: Semaphore::new(WORKERS),
            known: Mutex::default(),
            keys: (RandomState::new(), RandomState::new()),
            wrong: Mutex::default(),
        }
    }

    pub(crate) async fn check(
        &self,
        service: &Service,
        user: &str,
        password: Secret<String>,
        source: IpAddr,
    ) -> Checked {
        let Who::Password(accepted) = &service.policy.who else { return Checked::Wrong };
        let Some(hash) = accepted.iter().find(|hash| hash.user == user).cloned() else {
            // The same work as for a real user, so that names cannot be told apart by time.
            let any = accepted.first().map(|hash| hash.phc.clone()).unwrap_or_default();
            return self.verify_slowly(any, password, source).await.map_or(Checked::TooMany, |_| Checked::Wrong);
        };
        let key = self.digest(&hash, password.expose());
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) == Some(&hash) {
            return Checked::Right(Proof::Password(hash));
        }
        match self.verify_slowly(hash.phc.clone(), password, source).await {
            None => Checked::TooMany,
            Some(false) => Checked::Wrong,
            Some(true) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(key, hash.clone());
                Checked::Right(Proof::Password(hash))
            }
        }
    }

    /// `None`: this source guesses too much.
    async fn verify_slowly(&self, phc: String, password: Secret<String>, source: IpAddr) -> Option<bool> {
        if self.is_guessing(source) {
            return None;
        }
        let _worker = self.workers.acquire().await.ok()?;
        let is_right = tokio::task::spawn_blocking(move || verify(&phc, &password)).await.unwrap_or(false);
        if !is_right {
            self.count_wrong(source);
        }
        Some(is_right)
    }

    fn digest(&self, hash: &PasswordHash, password: &str) -> (u64, u64) {
        let what = (&hash.user, &hash.phc, password);
        (self.keys.0.hash_one(what), self.keys.1.hash_one(what))
    }

    fn is_guessing(&self, source: IpAddr) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong
            .get(&source_of(source))
            .is_some_and(|(count, since)| *count >= ALLOWED_WRONG && since.elapsed() < WRONG_WINDOW)
    }

    fn count_wrong(&self, source: IpAddr) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MAX_SOURCES {
            wrong.retain(|_, (_, since)| since.elapsed() < WRONG_WINDOW);
        }
        let entry = wrong.entry(source_of(source)).or_insert((0, Instant::now()));
        if entry.1.elapsed() >= WRONG_WINDOW {
            *entry = (0, Instant::now());
        }
        entry.0 += 1;
    }
}

/// A web service with this policy.
#[cfg(test)]
pub(crate) fn service_with(policy: &str) -> Service {
    use doorward_core::access::PolicyDocument;
    use doorward_core::names::Label;
    use doorward_core::service::{ServiceKind, Standing};
    use doorward_core::{AccountId, DeviceId, ServiceId};

    let label = |name: &str| Label::parse(name).expect("a constant name");
    let document: PolicyDocument = serde_json::from_str(policy).expect("a policy");
    Service {
        id: ServiceId(1),
        device: DeviceId(1),
        account: AccountId(1),
        device_name: label("printer1"),
        name: label("web"),
        title: String::new(),
        kind: ServiceKind::Http,
        standing: Standing::Offered,
        web: Default::default(),
        prepare: None,
        policy: std::sync::Arc::new(document.to_policy().expect("a good policy")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::access::Policy;
    use std::sync::Arc;

    /// With a hash that fits no password, so that guesses cost no time.
    fn service() -> Service {
        let who = Who::Password(vec![PasswordHash { user: "guest".into(), phc: "none".into() }]);
        let mut service = service_with(r#"{"who":"public"}"#);
        service.policy = Arc::new(Policy { who, ..Policy::clone(&service.policy) });
        service
    }

    #[tokio::test]
    async fn whoever_has_a_whole_network_of_addresses_guesses_no_more_than_others() {
        let (passwords, service) = (Passwords::new(), service());
        let guess = async |from: IpAddr| passwords.check(&service, "guest", Secret::new("1234".to_owned()), from).await;
        let guesser = |n: u32| IpAddr::from(std::net::Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(n)));
        for n in 0..ALLOWED_WRONG {
            assert_eq!(guess(guesser(n)).await, Checked::Wrong, "guess {n}");
        }
        assert_eq!(guess(guesser(ALLOWED_WRONG)).await, Checked::TooMany);
        let neighbour = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(guess(neighbour).await, Checked::Wrong, "another /64 is somebody else");
    }
}
