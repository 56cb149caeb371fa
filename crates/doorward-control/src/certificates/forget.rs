//! What of certificates is needed no more.

use super::publish;
use crate::Control;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::certificates::Names;
use jiff::{SignedDuration, Timestamp};

/// Longer than any budget looks back.
const ATTEMPTS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// An expired certificate of a name that is wanted again may still be better than none; later it only takes room.
const EXPIRED_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Control {
    /// The order leads nowhere any more.
    pub async fn forget_order(&self, names: &Names, directory: &str) -> Result<(), StoreError> {
        let (names, directory) = (names.clone(), directory.to_owned());
        self.write(move |work| Box::pin(async move { forget_order(work, &names, &directory).await })).await
    }

    /// Forgets the certificates of names that are wanted no more, with their keys, once they are expired.
    pub async fn forget_unwanted(&self, wanted: &[Names], now: Timestamp) -> Result<(), StoreError> {
        const CERTIFICATE: &str = "DELETE FROM certificates WHERE names = $1";
        const ORDERS: &str = "DELETE FROM certificate_orders WHERE names = $1";
        let shelf = self.certificates().borrow().clone();
        let is_over = |names: &Names, until: Timestamp| until < now && !wanted.contains(names);
        let over = shelf.iter().filter(|certificate| is_over(&certificate.held.names, certificate.held.not_after));
        let over: Vec<_> = over.map(|certificate| certificate.held.names.to_string()).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.write(move |work| {
            Box::pin(async move {
                for names in &over {
                    for forget in [CERTIFICATE, ORDERS] {
                        sqlx::query(forget).bind(names).execute(work.connection()).await?;
                    }
                }
                Ok::<_, StoreError>(())
            })
        })
        .await?;
        publish(&self.0).await
    }
}

pub(super) async fn forget_order(work: &mut Work, names: &Names, directory: &str) -> Result<(), StoreError> {
    let forget = sqlx::query("DELETE FROM certificate_orders WHERE names = $1 AND directory = $2");
    forget.bind(names.to_string()).bind(directory).execute(work.connection()).await?;
    Ok(())
}

pub(super) async fn prune(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let before = |span: SignedDuration| words::time(now.saturating_sub(span).unwrap_or(Timestamp::MIN));
    let attempts = sqlx::query("DELETE FROM certificate_attempts WHERE at < $1").bind(before(ATTEMPTS_KEPT));
    attempts.execute(work.connection()).await?;
    let expired = sqlx::query("DELETE FROM certificates WHERE not_after < $1").bind(before(EXPIRED_KEPT));
    expired.execute(work.connection()).await?;
    let orders = sqlx::query("DELETE FROM certificate_orders WHERE begun_at < $1").bind(before(EXPIRED_KEPT));
    orders.execute(work.connection()).await?;
    Ok(())
}
