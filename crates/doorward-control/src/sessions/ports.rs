//! A session's own public port: from the pool of the settings, from its opening to its end, over restarts. A port that was
//! given back rests as long as others are free, so that what one session's programs still say reaches no other one's.

use crate::Control;
use crate::presence::{PinholeStanding, StraightWay};
use crate::snapshot::{Approach, Protocol, ServiceRecord};
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::SessionId;
use doorward_core::session::{Session, Source};
use doorward_core::site::Host;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

/// How foreign software comes in by a session, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReach {
    pub protocol: Protocol,
    pub place: Result<SessionPlace, NoPort>,
    /// Through the router of the device's home, past the gateway.
    pub straight: Option<Straight>,
    pub sources: Vec<Source>,
    pub first_comer: FirstComer,
}

/// Whoever comes to a session's port before anybody knows from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstComer {
    /// The policy does not let them in.
    Never,
    /// Its person may ask to wait for them.
    Possible,
    AwaitedUntil(Timestamp),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straight {
    /// `None`: not now.
    pub place: Option<SessionPlace>,
    pub standing: PinholeStanding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    pub host: String,
    pub port: u16,
    /// What one copies: host and port, or what one types.
    pub line: String,
}

/// Why a session has no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPort {
    /// The settings name none.
    NoPool,
    AllTaken,
}

/// Whom a port had, when it was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Past {
    Never,
    ReleasedAt(i64),
}

const SSH: u16 = 22;

impl Control {
    /// `None`: its service has no ports for sessions.
    pub fn session_reach(&self, session: &Session, now: Timestamp) -> Option<SessionReach> {
        let snapshot = self.snapshot();
        let record = snapshot.service_record(session.service).filter(|record| record.has_session_ports())?;
        let Approach { sources, port } = snapshot.approach(session.id);
        let pool = snapshot.site().session_ports.as_ref();
        let place = match (port, pool) {
            (_, None) => Err(NoPort::NoPool),
            (Some((_, port)), Some(pool)) if pool.contains(port) => {
                Ok(SessionPlace::new(snapshot.site().port_host(), *port, &record))
            }
            (Some(_) | None, Some(_)) => Err(NoPort::AllTaken),
        };
        let straight = self.straight(&record, session.id);
        let first_comer = match self.awaits_first_comer(session.id, now) {
            _ if !record.takes_first_comers() => FirstComer::Never,
            Some(until) => FirstComer::AwaitedUntil(until),
            None => FirstComer::Possible,
        };
        Some(SessionReach { protocol: record.protocol()?, place, straight, sources: sources.clone(), first_comer })
    }
}

impl Control {
    fn straight(&self, record: &ServiceRecord, session: SessionId) -> Option<Straight> {
        let way = self.presence().straight_way(record.service.device, session).filter(|_| record.has_pinholes())?;
        let StraightWay { standing, host, port } = way;
        let place = match standing {
            PinholeStanding::Ready | PinholeStanding::Passed => {
                host.map(|host| SessionPlace::new(Host::Ip(host).to_string(), port, record))
            }
            PinholeStanding::Closed { .. } => None,
        };
        Some(Straight { place, standing })
    }
}

impl SessionPlace {
    fn new(host: String, port: u16, record: &ServiceRecord) -> Self {
        let line = match record.virtual_port {
            Some(SSH) => format!("ssh -p {port} USER@{host}"),
            Some(_) | None => format!("{host}:{port}"),
        };
        Self { host, port, line }
    }
}

impl NoPort {
    pub fn why(self) -> &'static str {
        match self {
            Self::NoPool => "This gateway has no ports for sessions: its owner can set some.",
            Self::AllTaken => "All ports for sessions are taken: try again when another session is over.",
        }
    }
}

/// One that has none yet gets one, where its service wants that and one is free. Without one it is open all the same. Says
/// whether it got one.
pub(super) async fn give(work: &mut Work, session: &Session, now: Timestamp) -> Result<bool, StoreError> {
    let Some(record) = work.draft.service_record(session.service) else { return Ok(false) };
    let Some(protocol) = record.protocol().filter(|_| record.has_session_ports()) else { return Ok(false) };
    let Some(pool) = work.draft.site().session_ports.clone() else { return Ok(false) };
    if work.draft.approach(session.id).port.is_some_and(|(held, port)| held == protocol && pool.contains(&port)) {
        return Ok(false);
    }
    // Of another protocol, or not in the pool any more.
    release(work.connection(), session.id, now).await?;
    let known = known(work.connection(), protocol).await?;
    let (draft, presence) = (&work.draft, &work.shared.presence);
    let is_usable = |port: u16| draft.port_holder(protocol, port).is_none() && !presence.is_port_failed(protocol, port);
    let Some(port) = choose(pool, &known, is_usable) else { return Ok(false) };
    const TAKE: &str = "INSERT INTO session_ports (protocol, port, session) VALUES ($1, $2, $3) \
                        ON CONFLICT (protocol, port) DO UPDATE SET session = excluded.session, released_at = NULL";
    sqlx::query(TAKE).bind(protocol.word()).bind(i64::from(port)).bind(session.id.0).execute(work.connection()).await?;
    Ok(true)
}

/// One that nobody ever had, then the one that is free for longest. `known`: `None` for one that a session has.
fn choose(
    pool: RangeInclusive<u16>,
    known: &BTreeMap<u16, Option<Past>>,
    is_usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    let past = |port: u16| known.get(&port).copied().unwrap_or(Some(Past::Never)).map(|past| (past, port));
    pool.filter_map(past).filter(|(_, port)| is_usable(*port)).min().map(|(_, port)| port)
}

pub(super) async fn release(connection: &mut SqliteConnection, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE session_ports SET session = NULL, released_at = $1 WHERE session = $2")
        .bind(words::time(at))
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}

async fn known(
    connection: &mut SqliteConnection,
    protocol: Protocol,
) -> Result<BTreeMap<u16, Option<Past>>, StoreError> {
    let rows = sqlx::query("SELECT port, session, released_at FROM session_ports WHERE protocol = $1");
    let rows = rows.bind(protocol.word()).fetch_all(connection).await?;
    let read = |row: &SqliteRow| -> Result<(u16, Option<Past>), StoreError> {
        let is_free = row.try_get::<Option<i64>, _>("session")?.is_none();
        let released = row.try_get::<Option<i64>, _>("released_at")?.map_or(Past::Never, Past::ReleasedAt);
        Ok((words::read_port(row.try_get("port")?)?, is_free.then_some(released)))
    };
    rows.iter().map(read).collect()
}

pub(super) async fn load(connection: &mut SqliteConnection) -> Result<HashMap<SessionId, (Protocol, u16)>, StoreError> {
    let rows = sqlx::query("SELECT protocol, port, session FROM session_ports WHERE session IS NOT NULL");
    let read = |row: &SqliteRow| Ok((SessionId(row.try_get("session")?), read(row)?));
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

pub(super) async fn of(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<(Protocol, u16)>, StoreError> {
    let row = sqlx::query("SELECT protocol, port FROM session_ports WHERE session = $1").bind(id.0);
    row.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<(Protocol, u16), StoreError> {
    Ok((words::read_protocol(row.try_get("protocol")?)?, words::read_port(row.try_get("port")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_rests_for_longest_is_given_next_and_new_ones_before_it() {
        let mut known = BTreeMap::new();
        let choose = |known: &BTreeMap<u16, Option<Past>>| choose(20_000..=20_002, known, |port| port != 20_001);
        assert_eq!(choose(&known), Some(20_000));
        known.insert(20_000, None);
        assert_eq!(choose(&known), Some(20_002), "the one between cannot be used");
        known.insert(20_000, Some(Past::ReleasedAt(5)));
        assert_eq!(choose(&known), Some(20_002), "what was just given back rests");
        known.insert(20_002, Some(Past::ReleasedAt(3)));
        assert_eq!(choose(&known), Some(20_002));
        known.insert(20_002, None);
        assert_eq!(choose(&known), Some(20_000), "it is the only one that is free");
        known.insert(20_000, None);
        assert_eq!(choose(&known), None);
    }
}
