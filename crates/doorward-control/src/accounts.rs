//! Accounts own everything that somebody can own. The first, `owner`, is there from the start, and its grants come from
//! the gateway's settings. Accounts as people are in `people.rs`.

use crate::snapshot::Protocol;
use crate::store::{StoreError, words};
use crate::work::Work;
use doorward_core::AccountId;
use doorward_core::names::HostName;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The account of whoever runs the gateway.
pub const OWNER: AccountId = AccountId(1);

/// The names and ports that an account may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub suffixes: Vec<HostName>,
    pub tcp: Vec<RangeInclusive<u16>>,
    pub udp: Vec<RangeInclusive<u16>>,
}

impl Grants {
    pub fn cover_host(&self, host: &HostName) -> bool {
        self.suffixes.iter().any(|suffix| host.is_under(suffix))
    }

    pub fn ranges(&self, protocol: Protocol) -> &[RangeInclusive<u16>] {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    pub fn cover_port(&self, protocol: Protocol, port: u16) -> bool {
        self.ranges(protocol).iter().any(|range| range.contains(&port))
    }
}

/// Makes the default account, and its grants what the settings say now.
pub(crate) async fn establish_owner(work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
    let site = work.draft.site().clone();
    const INSERT: &str = "INSERT INTO accounts (id, name, title, role, created_at) \
                          SELECT $1, 'owner', 'owner', 'owner', $2 WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE id = $1)";
    let made = sqlx::query(INSERT).bind(OWNER.0).bind(words::time(now)).execute(work.connection()).await?;
    if made.rows_affected() > 0 {
        work.refresh_person(OWNER).await?;
    }
    sqlx::query("DELETE FROM grants WHERE account = $1 AND home = 'settings'")
        .bind(OWNER.0)
        .execute(work.connection())
        .await?;
    let suffixes = site.domain.iter().chain(&site.suffixes).map(|s| ("host-suffix", s.to_string()));
    let range = |r: &RangeInclusive<u16>| (!r.is_empty()).then(|| format!("{}-{}", r.start(), r.end()));
    let tcp = range(&site.tcp_ports).map(|r| ("tcp-range", r));
    let udp = range(&site.udp_ports).map(|r| ("udp-range", r));
    for (kind, value) in suffixes.chain(tcp).chain(udp).collect::<Vec<_>>() {
        sqlx::query(
            "INSERT INTO grants (account, kind, value, home) VALUES ($1, $2, $3, 'settings') ON CONFLICT DO NOTHING",
        )
        .bind(OWNER.0)
        .bind(kind)
        .bind(value)
        .execute(work.connection())
        .await?;
    }
    Ok(())
}

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<BTreeMap<AccountId, Grants>, StoreError> {
    let mut all: BTreeMap<AccountId, Grants> = BTreeMap::new();
    for row in sqlx::query("SELECT account, kind, value FROM grants ORDER BY kind, value").fetch_all(connection).await?
    {
        let grants = all.entry(AccountId(row.try_get("account")?)).or_default();
        let value = row.try_get("value")?;
        match row.try_get("kind")? {
            "host-suffix" => grants.suffixes.push(words::read_host(value)?),
            "tcp-range" => grants.tcp.push(read_range(value)?),
            "udp-range" => grants.udp.push(read_range(value)?),
            other => return Err(words::strange("a kind of grant", other)),
        }
    }
    Ok(all)
}

fn read_range(text: &str) -> Result<RangeInclusive<u16>, StoreError> {
    let ends = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    ends.ok_or_else(|| words::strange("a range of ports", text))
}
