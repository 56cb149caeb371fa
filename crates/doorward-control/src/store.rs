//! Where the state rests: one SQLite file in a directory of its own.
//!
//! A store is made whole under another name and then renamed, so a `doorward.db` that exists is complete: one that is
//! empty, damaged, foreign or newer is refused, never started over (promise 11). A commit is on disk before it counts
//! (`synchronous=FULL`): a lost commit would bring a revoked key or a used invite back.

pub(crate) mod load;
pub(crate) mod migrations;
pub(crate) mod seal;
pub(crate) mod words;

use crate::site::{self, KeyState, SiteKey};
use doorward_core::Secret;
use jiff::Timestamp;
use seal::{SEAL_FILE, Seal};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

pub(crate) struct Store {
    options: Mutex<SqliteConnectOptions>,
    readers: SqlitePool,
    /// The one writer's seat. Whoever holds it may write and publish; readers of the snapshot never ask for it.
    seat: Arc<tokio::sync::Mutex<Seat>>,
    _lock: File,
}

pub(crate) enum Seat {
    Ready(SqliteConnection),
    /// After a failed write: its connection, with whatever was half done, was thrown away.
    Empty,
    Closed,
}

/// Why the state could not be opened. Nothing is served then.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the data directory {} cannot be used: {source}; give this user the right to, or name another with --data", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("another `doorward serve` uses {} (it holds the lock {}): end that one first, or name another directory with --data", directory.display(), lock.display())]
    InUse { directory: PathBuf, lock: PathBuf },
    #[error("the store {} cannot be read: {why}. Restore it from a backup, or move it away to start over", path.display())]
    Unreadable { path: PathBuf, why: String },
    /// SQLite needs a little room even to read.
    #[error("the disk with the store {} is full: free some space there, then start again; nothing in it is lost", path.display())]
    Full { path: PathBuf },
    #[error("the store {} was written by a newer Doorward (its schema is {found}, this one knows {known}): update this one", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
}

impl OpenError {
    pub(crate) fn of(path: &Path, error: StoreError) -> Self {
        let path = path.to_owned();
        match error {
            StoreError::Full { .. } => Self::Full { path },
            StoreError::Strange(why) => Self::Unreadable { path, why },
            StoreError::Failed(error) => Self::Unreadable { path, why: error.to_string() },
            error @ (StoreError::Busy | StoreError::Closed) => Self::Unreadable { path, why: error.to_string() },
        }
    }
}

/// Why a change was refused or a list could not be read. The last snapshot keeps deciding.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the disk with the store{} is full: free some space, nothing was changed", place(directory))]
    Full { directory: Option<PathBuf>, source: sqlx::Error },
    #[error("the store is busy with other changes: try again")]
    Busy,
    #[error("the gateway is stopping: nothing was changed")]
    Closed,
    #[error("the store holds something that this Doorward does not understand: {0}")]
    Strange(String),
    #[error("the store failed, nothing was changed: {0}")]
    Failed(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // SQLite's extended codes carry the primary code in the low byte (sqlite.org/rescode.html): 13 SQLITE_FULL,
        // 5 SQLITE_BUSY. 4874 is SQLITE_IOERR_SHMSIZE: there is no room for the index of the write-ahead log.
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok());
        match code.map(|c| (c, c & 0xff)) {
            Some((_, 13) | (4874, _)) => Self::Full { directory: None, source: error },
            Some((_, 5)) => Self::Busy,
            Some(_) | None => Self::Failed(error),
        }
    }
}

fn place(directory: &Option<PathBuf>) -> String {
    directory.as_ref().map(|directory| format!(" in {}", directory.display())).unwrap_or_default()
}

/// Errors of a change, which may be the store's.
pub(crate) trait ChangeError: From<StoreError> {
    fn of_store(&mut self) -> Option<&mut StoreError>;
}

impl ChangeError for StoreError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        Some(self)
    }
}

const DATABASE: &str = "doorward.db";
const UNFINISHED: &str = "doorward.db.new";
const LOCK: &str = "doorward.lock";
/// How long a change waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// Opens the store in `directory`, or makes one if there is none; a new one starts with `site_key`.
    pub(crate) async fn open(directory: &Path, site_key: &SiteKey, now: Timestamp) -> Result<Self, OpenError> {
        let lock = prepare(directory)?;
        let path = directory.join(DATABASE);
        let refuse = |error: StoreError| OpenError::of(&path, error);
        let found = path.try_exists().map_err(|source| OpenError::Directory { path: path.clone(), source })?;
        if found {
            examine_file(&path)?;
        } else if directory.join("doorward.db-wal").exists() {
            let why = "the file is missing, though its write-ahead log is there".into();
            return Err(OpenError::Unreadable { path, why });
        } else {
            create(directory, site_key, now).await?;
        }
        examine_content(&path).await.map_err(refuse)?;
        let options = options(&path).journal_mode(SqliteJournalMode::Wal);
        let mut writer = options.connect().await.map_err(|e| refuse(e.into()))?;
        migrations::migrator().run(&mut writer).await.map_err(|e| migration_error(&path, e))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        let seat = Arc::new(tokio::sync::Mutex::new(Seat::Ready(writer)));
        Ok(Self { options: Mutex::new(options), readers, seat, _lock: lock })
    }

    /// For lists: sees what was committed.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Waits for the writer's seat, with a transaction begun in it.
    pub(crate) async fn sit_down(&self) -> Result<(OwnedMutexGuard<Seat>, SqliteConnection), StoreError> {
        let waiting = tokio::time::timeout(PATIENCE, self.seat.clone().lock_owned());
        let mut seat = waiting.await.map_err(|_| StoreError::Busy)?;
        let mut connection = match std::mem::replace(&mut *seat, Seat::Empty) {
            Seat::Ready(connection) => connection,
            Seat::Empty => self.connect_options().connect().await?,
            Seat::Closed => {
                *seat = Seat::Closed;
                return Err(StoreError::Closed);
            }
        };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok((seat, connection))
    }

    fn connect_options(&self) -> SqliteConnectOptions {
        self.options.lock().expect("nothing panics while it holds this lock").clone()
    }

    /// The key for what is sealed in here: from its file, from a backup that was restored, or a new one for a store in
    /// which nothing is sealed yet.
    pub(crate) async fn take_seal(&self, directory: &Path) -> Result<Seal, OpenError> {
        let path = directory.join(SEAL_FILE);
        let refuse = |why: String| OpenError::Unreadable { path: path.clone(), why };
        let found = Seal::read(directory).map_err(|error| refuse(error.to_string()))?;
        let of_database = |error: StoreError| refuse(error.to_string());
        let (seat, mut connection) = self.sit_down().await.map_err(of_database)?;
        let carried = carried_seal(&mut connection).await.map_err(of_database)?;
        let is_carried = carried.is_some();
        let seal = match (found, carried) {
            (Some(found), _) => found,
            (None, carried) => {
                let seal = match carried {
                    Some(carried) => carried,
                    None => first_seal(&mut connection).await.map_err(of_database)?,
                };
                seal.write(directory).map_err(|source| OpenError::Directory { path: path.clone(), source })?;
                seal
            }
        };
        if is_carried {
            let forget = sqlx::query("DELETE FROM carried_seal").execute(&mut connection).await;
            forget.map_err(|error| of_database(error.into()))?;
        }
        give_back(seat, connection).await.map_err(of_database)?;
        Ok(seal)
    }

    /// A consistent copy while everything runs, with mode 0600, which carries the key for what is sealed in it. `path`
    /// must not exist yet.
    pub(crate) async fn backup_into(&self, path: &Path, seal: &Seal) -> Result<(), BackupError> {
        let refuse = |source| BackupError::Target { path: path.to_owned(), source };
        let text = path.to_str().ok_or_else(|| refuse(io::ErrorKind::InvalidFilename.into()))?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(refuse)?;
        // SQLite accepts an existing file if it is empty (sqlite.org/lang_vacuum.html), and keeps its mode.
        let copying = async {
            vacuum_into(self.connect_options(), text).await?;
            carry_seal(path, seal).await
        };
        if let Err(error) = copying.await {
            // The copy is useless; that it cannot be removed either changes nothing about the answer.
            let _ = std::fs::remove_file(path);
            return Err(StoreError::from(error).into());
        }
        File::open(path).and_then(|file| file.sync_all()).map_err(refuse)
    }

    /// Waits for the change under way, then closes the file.
    pub(crate) async fn close(&self) {
        let mut seat = self.seat.lock().await;
        if let Seat::Ready(connection) = std::mem::replace(&mut *seat, Seat::Closed)
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store was not closed cleanly; it recovers at the next start");
        }
        self.readers.close().await;
    }

    /// Lets the file grow no further than `pages`, as a full disk would.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, pages: u32) {
        let options = self.connect_options().pragma("max_page_count", pages.to_string());
        *self.options.lock().unwrap() = options;
        *self.seat.lock().await = Seat::Empty;
    }
}

#[derive(Debug, Error)]
pub enum BackupError {
    #[error("cannot write the backup {}: {source}", path.display())]
    Target { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The directory, private to its owner, and the lock that keeps a second gateway out.
fn prepare(directory: &Path) -> Result<File, OpenError> {
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Directory { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(refuse(directory))?;
    let mode = std::fs::metadata(directory).map_err(refuse(directory))?.permissions().mode();
    if mode & 0o022 != 0 {
        let why = "others can write to it: give it to one user alone (chmod 700) or name another";
        return Err(refuse(directory)(io::Error::other(why)));
    }
    let path = directory.join(LOCK);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.map_err(refuse(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { directory: directory.to_owned(), lock: path }),
        Err(TryLockError::Error(source)) => Err(refuse(&path)(source)),
    }
}

async fn vacuum_into(options: SqliteConnectOptions, path: &str) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await?;
    connection.close().await
}

async fn carry_seal(copy: &Path, seal: &Seal) -> Result<(), sqlx::Error> {
    let mut connection = options(copy).journal_mode(SqliteJournalMode::Delete).connect().await?;
    let carry = sqlx::query("INSERT INTO carried_seal (key) VALUES ($1)").bind(seal.to_hex().expose().clone());
    carry.execute(&mut connection).await?;
    connection.close().await
}

async fn carried_seal(connection: &mut SqliteConnection) -> Result<Option<Seal>, StoreError> {
    let carried = sqlx::query_scalar("SELECT key FROM carried_seal").fetch_optional(connection).await?;
    carried.map(|key| Seal::from_hex(Secret::<String>::new(key).expose())).transpose()
}

/// Only while nothing is sealed: without the key of what is, nothing is served.
async fn first_seal(connection: &mut SqliteConnection) -> Result<Seal, StoreError> {
    const SEALED: &str = "SELECT (SELECT COUNT(*) FROM acme_accounts) + (SELECT COUNT(*) FROM certificates) \
         + (SELECT COUNT(*) FROM certificate_orders) + (SELECT COUNT(*) FROM own_authorities) \
         + (SELECT COUNT(*) FROM ssh_host_keys) + (SELECT COUNT(*) FROM ssh_authorities) \
         + (SELECT COUNT(*) FROM person_totp)";
    let sealed: i64 = sqlx::query_scalar(SEALED).fetch_one(connection).await?;
    if sealed > 0 {
        return Err(StoreError::Strange(format!("{SEAL_FILE} is missing, without which its secrets cannot be read")));
    }
    Ok(Seal::generate())
}

async fn give_back(mut seat: OwnedMutexGuard<Seat>, mut connection: SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("COMMIT").execute(&mut connection).await?;
    *seat = Seat::Ready(connection);
    Ok(())
}

/// SQLite would take an empty file for a new database.
fn examine_file(path: &Path) -> Result<(), OpenError> {
    let refuse = |why: String| OpenError::Unreadable { path: path.to_owned(), why };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| refuse(e.to_string()))?;
    let metadata = file.metadata().map_err(|e| refuse(e.to_string()))?;
    if !metadata.is_file() {
        return Err(refuse("it is not a file".into()));
    }
    if metadata.len() == 0 {
        return Err(refuse("it is empty".into()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the store with its keys; its mode is 0600 from now on");
        file.set_permissions(Permissions::from_mode(0o600)).map_err(|e| refuse(e.to_string()))?;
    }
    Ok(())
}

async fn create(directory: &Path, site_key: &SiteKey, now: Timestamp) -> Result<(), OpenError> {
    let unfinished = directory.join(UNFINISHED);
    let refuse = |source| OpenError::Directory { path: unfinished.clone(), source };
    for leftover in [UNFINISHED, "doorward.db.new-wal", "doorward.db.new-shm", "doorward.db.new-journal"] {
        match std::fs::remove_file(directory.join(leftover)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refuse(error)),
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(refuse)?;
    let database = |error: sqlx::Error| refuse(io::Error::other(error));
    // Without a write-ahead log: all of it is in the one file that gets renamed.
    let options = options(&unfinished).journal_mode(SqliteJournalMode::Delete);
    let mut connection = options.connect().await.map_err(database)?;
    migrations::migrator().run(&mut connection).await.map_err(|e| refuse(io::Error::other(e)))?;
    site::insert(&mut connection, site_key, KeyState::Active, now).await.map_err(database)?;
    connection.close().await.map_err(database)?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(refuse)?;
    std::fs::rename(&unfinished, directory.join(DATABASE)).map_err(refuse)?;
    File::open(directory).and_then(|file| file.sync_all()).map_err(refuse)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        // What was deleted may have been a key.
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

/// Whether the file is whole and ours; changes nothing in one that is not.
async fn examine_content(path: &Path) -> Result<(), StoreError> {
    let mut connection = options(path).connect().await?;
    let health: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
    if health != "ok" {
        return Err(StoreError::Strange(health));
    }
    let is_ours = require_ours(&mut connection).await;
    is_ours.map_err(|_| StoreError::Strange("it is not a store of Doorward".to_owned()))?;
    Ok(connection.close().await?)
}

/// A store that we made has migrations and a site key; without them it would quietly become a new one.
async fn require_ours(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let _: i64 = sqlx::query_scalar("SELECT version FROM _sqlx_migrations LIMIT 1").fetch_one(&mut *connection).await?;
    let _: String = sqlx::query_scalar("SELECT fingerprint FROM site_keys WHERE state = 'active'")
        .fetch_one(&mut *connection)
        .await?;
    Ok(())
}

fn migration_error(path: &Path, error: MigrateError) -> OpenError {
    let known = migrations::migrator().iter().map(|m| m.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > known => {
            OpenError::Newer { path: path.to_owned(), found, known }
        }
        MigrateError::Execute(error) => OpenError::of(path, error.into()),
        other => OpenError::Unreadable { path: path.to_owned(), why: other.to_string() },
    }
}
