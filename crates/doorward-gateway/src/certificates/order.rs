//! One order, from its first request to the certificate. Each step first looks where the order stands, so going on
//! after a restart, after a nonce that the authority would not take, or after a broken connection is the same thing.

mod papers;
mod proofs;

use super::authority::{AccountError, Authority};
use super::challenges::{Challenges, PresentError};
use super::dns::{Dns, DnsError};
use super::settings::Way;
use doorward_control::{Certificate, Control, PendingOrder, StoreError};
use doorward_core::Secret;
use doorward_core::certificates::Names;
use instant_acme::{Account, Error, NewOrder, Order, OrderStatus, RetryPolicy};
use jiff::Timestamp;
use papers::{identifier, profile, read, request};
use rcgen::KeyPair;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

pub(super) struct Orders {
    pub(super) control: Control,
    pub(super) challenges: Arc<Challenges>,
    pub(super) dns: Option<Arc<Dns>>,
    pub(super) ways: Vec<Way>,
}

#[derive(Debug, ThisError)]
pub(super) enum OrderError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Acme(#[from] Error),
    #[error("{0}")]
    Refused(String),
    #[error("{0} cannot be proved here: wildcards need DNS-01 ([certificates.dns]), other names port 80 or 443")]
    NoWay(String),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Present(#[from] PresentError),
    #[error("the account: {0}")]
    Account(String),
    #[error("no key or request could be made: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error("what the authority sent is no certificate for this: {0}")]
    Strange(String),
    #[error("it was not done within {} s", LIMIT.as_secs())]
    Late,
}

/// For all of it, with names that take long to be seen in DNS.
const LIMIT: Duration = Duration::from_secs(600);
/// For the authority to look at our proofs, or to make the certificate.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(120));
/// How often an order is taken up again after a nonce was refused. Each time it gets a few requests further.
const NONCES: usize = 40;
/// And after a broken connection or an error inside the authority.
const BREAKS: usize = 2;
const REST: Duration = Duration::from_millis(500);

impl From<AccountError> for OrderError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => Self::Store(error),
            AccountError::Acme(error) => Self::Acme(error),
            AccountError::Strange(_) | AccountError::Roots(_) => Self::Account(error.to_string()),
        }
    }
}

/// What to do after an error.
enum Next {
    Resume,
    /// Once more, or a few times.
    ResumeWithCare,
    GiveUp,
}

impl Orders {
    /// Brings the order to its end. `failures`: how often it failed before; the way of proof changes with it.
    pub(super) async fn pursue(
        &self,
        names: &Names,
        authority: &Authority,
        failures: usize,
    ) -> Result<Certificate, OrderError> {
        let whole = timeout(LIMIT, self.take_up_again(names, authority, failures)).await;
        let outcome = whole.unwrap_or(Err(OrderError::Late));
        if let Err(OrderError::Refused(_) | OrderError::Strange(_)) = &outcome {
            self.control.forget_order(names, authority.directory()).await?;
        }
        outcome
    }

    async fn take_up_again(
        &self,
        names: &Names,
        authority: &Authority,
        failures: usize,
    ) -> Result<Certificate, OrderError> {
        let (mut nonces, mut breaks) = (NONCES, BREAKS);
        loop {
            let error = match self.go_through(names, authority, failures).await {
                Ok(certificate) => return Ok(certificate),
                Err(error) => error,
            };
            let left = match self.judge(&error, names, authority).await? {
                Next::Resume => &mut nonces,
                Next::ResumeWithCare => &mut breaks,
                Next::GiveUp => return Err(refusal(error)),
            };
            if *left == 0 {
                return Err(error);
            }
            *left -= 1;
            debug!(%names, %error, "the order is taken up again");
            sleep(REST).await;
        }
    }

    async fn judge(&self, error: &OrderError, names: &Names, authority: &Authority) -> Result<Next, StoreError> {
        let OrderError::Acme(error) = error else { return Ok(Next::GiveUp) };
        let Error::Api(problem) = error else { return Ok(Next::ResumeWithCare) };
        let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
        match kind {
            Some("badNonce") => Ok(Next::Resume),
            Some("serverInternal") => Ok(Next::ResumeWithCare),
            Some("accountDoesNotExist") => {
                warn!(directory = authority.directory(), "the authority knows our account no more; a new one is made");
                self.control.forget_acme_account(authority.directory()).await?;
                self.control.forget_order(names, authority.directory()).await?;
                Ok(Next::ResumeWithCare)
            }
            Some(_) | None => Ok(Next::GiveUp),
        }
    }

    async fn go_through(
        &self,
        names: &Names,
        authority: &Authority,
        failures: usize,
    ) -> Result<Certificate, OrderError> {
        let account = authority.account(&self.control).await?;
        let (mut order, pending) = self.begin_or_resume(&account, names, authority).await?;
        loop {
            match order.state().status {
                OrderStatus::Pending => self.prove(&mut order, failures).await?,
                OrderStatus::Ready => order.finalize_csr(&request(names, &pending.key)?).await?,
                OrderStatus::Processing | OrderStatus::Valid => {
                    let chain = order.poll_certificate(&POLL).await?;
                    return read(names, authority.directory(), chain, pending.key.clone());
                }
                OrderStatus::Invalid => return Err(OrderError::Refused(reason(&mut order).await)),
            }
        }
    }

    async fn begin_or_resume(
        &self,
        account: &Account,
        names: &Names,
        authority: &Authority,
    ) -> Result<(Order, Arc<PendingOrder>), OrderError> {
        if let Some(pending) = self.control.pending_order(names, authority.directory()).await? {
            match account.order(pending.url.clone()).await {
                Ok(mut order) => {
                    // Else it expired, or its proof failed while nobody was looking.
                    if order.state().status != OrderStatus::Invalid {
                        return Ok((order, Arc::new(pending)));
                    }
                }
                Err(Error::Api(problem)) if problem.status == Some(404) => {}
                Err(error) => return Err(error.into()),
            }
            self.control.forget_order(names, authority.directory()).await?;
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let identifiers: Vec<_> = names.iter().map(identifier).collect();
        let mut wish = NewOrder::new(&identifiers);
        if let Some(profile) = profile(account, names, authority) {
            wish = wish.profile(profile);
        }
        let order = account.new_order(&wish).await?;
        let pending = Arc::new(PendingOrder {
            names: names.clone(),
            directory: authority.directory().to_owned(),
            url: order.url().to_owned(),
            key: Secret::new(key.serialize_der()),
        });
        self.control.begin_order(pending.clone(), Timestamp::now()).await?;
        Ok((order, pending))
    }
}

/// An error of the authority's own is its last word.
fn refusal(error: OrderError) -> OrderError {
    match error {
        OrderError::Acme(Error::Api(problem)) => {
            let parts = problem.subproblems.iter().filter_map(|part| part.detail.clone());
            let whole = problem.detail.clone().into_iter().chain(parts).collect::<Vec<_>>().join("; ");
            OrderError::Refused(if whole.is_empty() { problem.to_string() } else { whole })
        }
        other => other,
    }
}

/// Why the authority did not believe a proof.
async fn reason(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // What was fetched before the judgement does not know it.
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(errors.filter_map(|error| error.detail.as_ref()).map(|detail| format!("{name}: {detail}")));
    }
    if reasons.is_empty() { "the authority refused the order and says no more".to_owned() } else { reasons.join("; ") }
}
