//! What has to be done now and then: the store learns who was seen, refusals are written down, old lines forgotten.

use crate::store::{StoreError, words};
use crate::{Control, answers, audit, devices, people, sessions, shares, welcomes};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);
/// What nobody uses is ended so much too late at most.
const SESSIONS_EVERY: Duration = Duration::from_secs(5);
/// Devices tend to leave together (their router restarts): one write for all of them.
const GATHERING: Duration = Duration::from_secs(5);
/// Until then a machine that lost the answer may ask again, and whoever comes too late learns why.
const INVITES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Control {
    /// Runs until told to stop; spawn it once.
    pub async fn keep_house(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut often = tokio::time::interval(SESSIONS_EVERY);
        often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                () = stop.cancelled() => true,
                _ = tick.tick() => false,
                () = self.gather_departures() => false,
                _ = often.tick() => {
                    self.inspections().forget(Timestamp::now());
                    if let Err(error) = self.write_audit(audit::Due::Ripe, Timestamp::now()).await {
                        tracing::debug!(%error, "what was counted for the audit is kept for the next time");
                    }
                    if let Err(error) = self.tell_absences(Timestamp::now()).await {
                        tracing::debug!(%error, "who is away could not be written down");
                    }
                    if let Err(error) = self.look_at_sessions(Timestamp::now()).await {
                        tracing::debug!(%error, "sessions that are over could not be written down");
                    }
                    continue;
                }
            };
            if let Err(error) = self.keep_house_once(Timestamp::now()).await {
                // A store that takes no changes was told of where that was noticed.
                tracing::debug!(%error, "housekeeping failed and is tried again in a minute");
            }
            if is_last {
                if let Err(error) = self.write_audit(audit::Due::Last, Timestamp::now()).await {
                    tracing::warn!(%error, "the last lines of the audit could not be written");
                }
                return;
            }
        }
    }

    async fn gather_departures(&self) {
        self.presence().departure().await;
        tokio::time::sleep(GATHERING).await;
    }

    /// What ends, or becomes somebody's turn, without anybody doing anything.
    async fn look_at_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        self.end_lapsed_sessions(now).await?;
        self.end_lapsed_requests(now).await?;
        self.settle_lines(now).await?;
        self.settle_budgets(now).await
    }

    /// One round of it.
    pub async fn keep_house_once(&self, now: Timestamp) -> Result<(), StoreError> {
        self.flush_audit().await?;
        self.look_at_sessions(now).await?;
        self.store_session_uses().await?;
        self.store_spending().await?;
        self.end_lapsed_logins(now).await?;
        self.store_logins_seen().await?;
        let seen = self.presence().seen(now);
        let to_store = seen.clone();
        self.write(move |work| {
            Box::pin(async move {
                devices::store_last_seen(work, to_store).await?;
                let settings = work.shared.audit_settings();
                audit::forget_old_lines(work, settings, now).await?;
                let kept = now.checked_sub(INVITES_KEPT).unwrap_or(Timestamp::MIN);
                sqlx::query("DELETE FROM invites WHERE expires_at < $1")
                    .bind(words::time(kept))
                    .execute(work.connection())
                    .await?;
                sessions::forget_old(work, now).await?;
                shares::forget_old(work, now).await?;
                welcomes::forget_old(work, kept).await?;
                people::remove_who_ended(work, kept, now).await?;
                answers::forget_old(work, now).await?;
                Ok::<_, StoreError>(())
            })
        })
        .await?;
        self.presence().departures_stored(&seen);
        Ok(())
    }
}
