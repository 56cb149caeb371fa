//! One change of the state, from the writer's seat to the published snapshot.
//!
//! The draft follows the store row by row within the transaction; it is published after the commit and before the
//! next writer sits down, so store and snapshot change in the same order. A change runs to its end even if whoever
//! asked for it hangs up: the store is never ahead of the decisions.

use crate::changes::Change;
use crate::snapshot::Snapshot;
use crate::store::{ChangeError, Seat, StoreError, load};
use crate::{
    Actor, Control, Shared, accounts, additions, alerts, groups, knocks, logins, people, sessions, shares, site, ssh,
};
use doorward_core::access::Spent;
use doorward_core::names::Label;
use doorward_core::notice::Notice;
use doorward_core::{AccountId, DeviceId, LoginId, ServiceId, SessionId, ShareId};
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

pub(crate) type Steps<'w, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'w>>;

/// Whether the store takes changes. What is wrong with it is told once, however many changes it refuses.
#[derive(Default)]
pub(crate) struct Trouble(AtomicBool);

impl Trouble {
    fn note(&self, error: &mut StoreError, place: &Path) {
        match error {
            StoreError::Full { directory, .. } => *directory = Some(place.to_owned()),
            StoreError::Failed(_) => {}
            StoreError::Busy | StoreError::Closed | StoreError::Strange(_) => return,
        }
        if !self.0.swap(true, Ordering::Relaxed) {
            warn!("changes are refused, and what was decided before goes on: {error}");
        }
    }

    fn is_over(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            info!("the store takes changes again");
        }
    }
}

pub(crate) struct Work {
    pub(crate) draft: Snapshot,
    pub(crate) shared: Arc<Shared>,
    /// On whose behalf.
    pub(crate) actor: Option<Arc<Actor>>,
    connection: SqliteConnection,
    seat: OwnedMutexGuard<Seat>,
    rows_before: i64,
    services: BTreeSet<ServiceId>,
    devices: BTreeSet<DeviceId>,
    people: BTreeSet<AccountId>,
    sessions: BTreeSet<SessionId>,
    notices: Vec<(Notice, Timestamp)>,
    logins: BTreeSet<LoginId>,
    shares: BTreeSet<ShareId>,
    additions: BTreeSet<DeviceId>,
    are_groups_new: bool,
    are_site_keys_new: bool,
    are_grants_new: bool,
    are_ssh_keys_new: bool,
    are_knock_keys_new: bool,
}

impl Control {
    /// Runs `steps` in one transaction. Their error rolls everything back.
    pub(crate) async fn write<T, E, F>(&self, steps: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: ChangeError + Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Steps<'w, T, E> + Send + 'static,
    {
        let (shared, actor) = (self.0.clone(), self.1.clone());
        let task = self.0.tasks.spawn(async move {
            let mut work = Work::begin(shared, actor).await?;
            match steps(&mut work).await {
                Ok(value) => work.commit().await.map(|()| value).map_err(E::from),
                Err(error) => {
                    work.abandon().await;
                    Err(error)
                }
            }
        });
        match task.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(mut error)) => {
                if let Some(error) = error.of_store() {
                    self.0.trouble.note(error, &self.0.directory);
                }
                Err(error)
            }
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Closed.into()),
            },
        }
    }
}

impl Work {
    async fn begin(shared: Arc<Shared>, actor: Option<Arc<Actor>>) -> Result<Self, StoreError> {
        let (seat, mut connection) = shared.store.sit_down().await?;
        let rows_before = rows_changed(&mut connection).await?;
        Ok(Self {
            draft: Snapshot::clone(&shared.published.load()),
            shared,
            actor,
            connection,
            seat,
            rows_before,
            services: BTreeSet::new(),
            devices: BTreeSet::new(),
            people: BTreeSet::new(),
            sessions: BTreeSet::new(),
            notices: Vec::new(),
            logins: BTreeSet::new(),
            shares: BTreeSet::new(),
            additions: BTreeSet::new(),
            are_groups_new: false,
            are_site_keys_new: false,
            are_grants_new: false,
            are_ssh_keys_new: false,
            are_knock_keys_new: false,
        })
    }

    /// Of what is told once it is written: nobody hears of what was not done.
    pub(crate) fn alert(&mut self, notice: Notice, at: Timestamp) {
        self.notices.push((notice, at));
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(crate) async fn refresh_device(&mut self, id: DeviceId) -> Result<(), StoreError> {
        self.draft.put_device(load::device(&mut self.connection, id).await?);
        self.devices.insert(id);
        Ok(())
    }

    pub(crate) async fn refresh_service(&mut self, id: ServiceId) -> Result<(), StoreError> {
        match load::service(&mut self.connection, id).await? {
            Some(record) => self.draft.put_service(record),
            None => self.draft.remove_service(id),
        }
        self.services.insert(id);
        Ok(())
    }

    /// A device's name and standing are part of each of its services.
    pub(crate) async fn refresh_services_of(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let ids: Vec<_> = self.draft.services_of(device).map(|record| record.service.id).collect();
        for id in ids {
            self.refresh_service(id).await?;
        }
        Ok(())
    }

    pub(crate) async fn refresh_site_keys(&mut self) -> Result<(), StoreError> {
        self.draft.put_site_keys(site::load(&mut self.connection).await?);
        self.are_site_keys_new = true;
        Ok(())
    }

    /// There are few.
    pub(crate) async fn refresh_ssh_keys(&mut self) -> Result<(), StoreError> {
        self.draft.put_ssh_keys(ssh::load(&mut self.connection).await?);
        self.are_ssh_keys_new = true;
        Ok(())
    }

    /// They end within days.
    pub(crate) async fn refresh_ssh_certificates(&mut self) -> Result<(), StoreError> {
        self.draft.put_ssh_certificates(ssh::certificates::load(&mut self.connection).await?);
        self.are_ssh_keys_new = true;
        Ok(())
    }

    /// There are few.
    pub(crate) async fn refresh_ssh_passwords(&mut self) -> Result<(), StoreError> {
        self.draft.put_ssh_passwords(ssh::passwords::load(&mut self.connection).await?);
        self.are_ssh_keys_new = true;
        Ok(())
    }

    /// There are few. No visit rests on them.
    pub(crate) async fn refresh_knock_keys(&mut self) -> Result<(), StoreError> {
        self.draft.put_knock_keys(knocks::load(&mut self.connection, &self.shared.seal).await?);
        self.are_knock_keys_new = true;
        Ok(())
    }

    pub(crate) async fn refresh_person(&mut self, id: AccountId) -> Result<(), StoreError> {
        match people::load_one(&mut self.connection, id).await? {
            Some(person) => self.draft.put_person(person),
            None => self.draft.remove_person(id),
        }
        self.people.insert(id);
        // Whoever came by a login of theirs rests on them as well.
        self.logins.extend(self.draft.logins_of(id).map(|login| login.id));
        self.shares.extend(self.draft.shares_made_by(id));
        Ok(())
    }

    /// Its name and title. Who is in it stands with each person.
    pub(crate) async fn refresh_group(&mut self, name: &Label) -> Result<(), StoreError> {
        match groups::load_one(&mut self.connection, name).await? {
            Some(group) => self.draft.put_group(group),
            None => self.draft.remove_group(name),
        }
        self.are_groups_new = true;
        Ok(())
    }

    pub(crate) async fn refresh_session(&mut self, id: SessionId) -> Result<(), StoreError> {
        match sessions::load_one(&mut self.connection, id).await? {
            Some((session, approach)) => self.draft.put_session(session, approach),
            None => self.draft.remove_session(id),
        }
        self.sessions.insert(id);
        Ok(())
    }

    /// Who visits the service is decided again.
    pub(crate) fn put_spent(&mut self, service: ServiceId, spent: Spent) {
        self.draft.put_spent(service, spent);
        self.services.insert(service);
    }

    pub(crate) async fn refresh_login(&mut self, id: LoginId) -> Result<(), StoreError> {
        match logins::load_one(&mut self.connection, id).await? {
            Some(record) => self.draft.put_login(record),
            None => self.draft.remove_login(id),
        }
        self.logins.insert(id);
        Ok(())
    }

    pub(crate) async fn refresh_share(&mut self, id: ShareId) -> Result<(), StoreError> {
        match shares::load_one(&mut self.connection, id).await? {
            Some(record) => self.draft.put_share(record),
            None => self.draft.remove_share(id),
        }
        self.shares.insert(id);
        Ok(())
    }

    /// What shall be offered by the device. Nothing is decided by it, so no visit is looked at again.
    pub(crate) async fn refresh_additions(&mut self, device: DeviceId) -> Result<(), StoreError> {
        self.draft.put_additions(device, additions::load_one(&mut self.connection, device).await?);
        self.additions.insert(device);
        Ok(())
    }

    pub(crate) async fn refresh_grants(&mut self) -> Result<(), StoreError> {
        for (account, grants) in accounts::load(&mut self.connection).await? {
            if *self.draft.grants(account) != grants {
                self.draft.put_grants(account, grants);
                self.services.extend(self.draft.settle_services_of(account));
            }
        }
        self.are_grants_new = true;
        Ok(())
    }

    /// Has every service follow the site's settings.
    pub(crate) fn settle_services(&mut self) {
        let accounts: BTreeSet<_> = self.draft.services().map(|record| record.service.account).collect();
        for account in accounts {
            self.services.extend(self.draft.settle_services_of(account));
        }
    }

    /// Has whoever came to the port of a session decided again.
    pub(crate) fn settle_sessions(&mut self) {
        self.sessions.extend(self.draft.sessions().map(|session| session.id));
    }

    /// The next id of this kind; never given twice, whatever was deleted.
    pub(crate) async fn next_id(&mut self, kind: &'static str) -> Result<i64, StoreError> {
        let next = sqlx::query_scalar("UPDATE ids SET next = next + 1 WHERE kind = $1 RETURNING next - 1");
        Ok(next.bind(kind).fetch_one(&mut self.connection).await?)
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        // A change that writes nothing succeeds on a full disk, too.
        let is_written = rows_changed(&mut self.connection).await? != self.rows_before;
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        if is_written {
            self.shared.trouble.is_over();
        }
        *self.seat = Seat::Ready(self.connection);
        let are_others_new = self.are_site_keys_new
            || self.are_ssh_keys_new
            || self.are_grants_new
            || self.are_groups_new
            || self.are_knock_keys_new
            || !self.additions.is_empty();
        for (notice, at) in self.notices {
            alerts::raise(&self.shared.alerts, notice, at);
        }
        let is_nobody_concerned =
            self.people.is_empty() && self.sessions.is_empty() && self.logins.is_empty() && self.shares.is_empty();
        if self.services.is_empty() && self.devices.is_empty() && is_nobody_concerned && !are_others_new {
            return Ok(());
        }
        self.draft.advance();
        let change = Change {
            generation: self.draft.generation(),
            services: self.services.into_iter().collect(),
            devices: self.devices.into_iter().collect(),
            people: self.people.into_iter().collect(),
            sessions: self.sessions.into_iter().collect(),
            logins: self.logins.into_iter().collect(),
            shares: self.shares.into_iter().collect(),
            site_keys: self.are_site_keys_new,
            ssh_keys: self.are_ssh_keys_new,
        };
        self.shared.published.store(Arc::new(self.draft));
        // Nobody listening is fine: whoever subscribes later starts from the snapshot.
        let _ = self.shared.changes.send(Arc::new(change));
        self.additions.into_iter().for_each(|device| self.shared.additions.ring(device));
        Ok(())
    }

    /// Takes everything back. A connection that cannot even do that is thrown away.
    async fn abandon(mut self) {
        if sqlx::query("ROLLBACK").execute(&mut self.connection).await.is_ok() {
            *self.seat = Seat::Ready(self.connection);
        }
    }
}

/// Since the connection was opened.
async fn rows_changed(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT total_changes()").fetch_one(connection).await?)
}
