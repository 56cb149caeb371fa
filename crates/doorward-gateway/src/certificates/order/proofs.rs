//! Proofs that the names of an order lead here: shown for as long as the authority may look.

use super::{OrderError, Orders, POLL};
use crate::certificates::challenges::Presented;
use crate::certificates::dns::Published;
use crate::certificates::settings::Way;
use doorward_core::names::HostName;
use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, AuthorizedIdentifier, ChallengeHandle, ChallengeStatus, ChallengeType,
    Error, Identifier, Order, OrderStatus,
};
use tracing::{debug, warn};

/// How a proof is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Http,
    TlsAlpn,
    Dns,
}

impl Orders {
    /// Shows every proof that is still asked for and waits for the judgement. Proofs stay until it is spoken: an
    /// authority looks from several places, and more than once.
    pub(super) async fn prove(&self, order: &mut Order, failures: usize) -> Result<(), OrderError> {
        let (mut shown, mut published) = (Vec::new(), Vec::new());
        let judged = self.show_and_wait(order, failures, &mut shown, &mut published).await;
        for record in published {
            if let Some(dns) = &self.dns
                && let Err(error) = dns.withdraw(record).await
            {
                warn!(%error, "a TXT record that is needed no more could not be removed");
            }
        }
        judged
    }

    async fn show_and_wait(
        &self,
        order: &mut Order,
        failures: usize,
        shown: &mut Vec<Presented>,
        published: &mut Vec<Published>,
    ) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending {
                let proof = self.proof_for(&authorization.identifier(), failures)?;
                let challenge = challenge(&mut authorization, proof)?;
                self.show(&challenge, proof, shown, published).await?;
            }
        }
        if let Some(dns) = &self.dns {
            for record in published.iter() {
                dns.until_seen(record).await;
            }
        }
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Pending {
                let proof = self.proof_for(&authorization.identifier(), failures)?;
                let mut challenge = challenge(&mut authorization, proof)?;
                // One that is being looked at already may not be announced again.
                if challenge.status == ChallengeStatus::Pending {
                    challenge.set_ready().await?;
                }
            }
        }
        match order.poll_ready(&POLL).await {
            Ok(_) => Ok(()),
            // The reason is with the proofs, not with the order.
            Err(Error::Api(problem)) if order.state().status == OrderStatus::Invalid => {
                debug!(%problem, "an order was refused");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn show(
        &self,
        challenge: &ChallengeHandle<'_>,
        proof: Proof,
        shown: &mut Vec<Presented>,
        published: &mut Vec<Published>,
    ) -> Result<(), OrderError> {
        let answer = challenge.key_authorization();
        let name = challenge.identifier().to_string();
        match proof {
            Proof::Http => shown.push(self.challenges.present_text(&challenge.token, answer.as_str())),
            Proof::TlsAlpn => {
                shown.push(self.challenges.present_certificate(&name, answer.digest().as_ref())?);
            }
            Proof::Dns => {
                let dns = self.dns.as_ref().ok_or_else(|| OrderError::NoWay(name.clone()))?;
                let domain = HostName::parse(name.trim_start_matches("*."))
                    .map_err(|error| OrderError::Strange(error.to_string()))?;
                published.push(dns.publish(&domain, &answer.dns_value()).await?);
            }
        }
        Ok(())
    }

    /// The ways that fit, one after the other from failure to failure.
    fn proof_for(&self, identifier: &AuthorizedIdentifier<'_>, failures: usize) -> Result<Proof, OrderError> {
        let dns = self.dns.is_some() && matches!(identifier.identifier, Identifier::Dns(_));
        let ways = self.ways.iter().filter(|_| !identifier.wildcard).map(|way| match way {
            Way::Http => Proof::Http,
            Way::TlsAlpn => Proof::TlsAlpn,
        });
        let fitting: Vec<_> = ways.chain(dns.then_some(Proof::Dns)).collect();
        let chosen = failures.checked_rem(fitting.len()).and_then(|index| fitting.get(index));
        chosen.copied().ok_or_else(|| OrderError::NoWay(identifier.to_string()))
    }
}

fn challenge<'a>(
    authorization: &'a mut AuthorizationHandle<'a>,
    proof: Proof,
) -> Result<ChallengeHandle<'a>, OrderError> {
    let kind = match proof {
        Proof::Http => ChallengeType::Http01,
        Proof::TlsAlpn => ChallengeType::TlsAlpn01,
        Proof::Dns => ChallengeType::Dns01,
    };
    let name = authorization.identifier().to_string();
    let missing = || OrderError::Refused(format!("the authority takes no proof of {name} by {proof:?}"));
    authorization.challenge(kind).ok_or_else(missing)
}
