//! Stores of a certain size, written by SQL: what they hold would take days to happen.

use anyhow::Result;
use doorward_control::{Control, ControlSettings, SiteSettings, WebFace};
use doorward_core::names::HostName;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::path::Path;

/// How many there are. The first ten services are anna's in every store, as are her own sessions that are open.
pub(super) struct Size {
    devices: i64,
    services: i64,
    people: i64,
    open_sessions: i64,
    past_sessions: i64,
}

/// As full as a page of a list takes, so that pages of both stores hold as much.
pub(super) const SMALL: Size = Size { devices: 60, services: 60, people: 60, open_sessions: 60, past_sessions: 60 };
pub(super) const GROWN: Size =
    Size { devices: 1000, services: 10_000, people: 2000, open_sessions: 40_000, past_sessions: 60_000 };

/// The accounts that ask. The gateway's owner is 1.
pub(super) const ANNA: i64 = 2;

pub(super) fn noon() -> Timestamp {
    Timestamp::from_second(1_795_500_000).expect("it is one")
}

pub(super) fn settings(folder: &Path) -> ControlSettings {
    let host = |name: &str| HostName::parse(name).expect("it is one");
    let site = SiteSettings {
        knock: doorward_control::KnockSettings::default(),
        domain: Some(host("gw.test")),
        web: WebFace::HTTPS,
        port_host: None,
        ssh_port: Some(2222),
        tcp_ports: 20000..=20009,
        udp_ports: 30000..=30009,
        session_ports: None,
        suffixes: Vec::new(),
        kept_hosts: Vec::new(),
        portal: Some(host("portal.gw.test")),
        link_hosts: Vec::new(),
        tls_port: Some(443),
    };
    ControlSettings { directory: folder.to_owned(), site, now: noon() }
}

pub(super) async fn fill(folder: &Path, size: &Size) -> Result<()> {
    Control::open(settings(folder)).await?.close().await;
    let options = SqliteConnectOptions::new().filename(folder.join("doorward.db"));
    let mut connection = options.connect().await?;
    for statement in statements(size) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    sqlx::Connection::close(connection).await?;
    Ok(())
}

/// Numbers from 0.
fn counted(count: i64, statement: &str) -> String {
    let (head, values) = statement.split_once(" SELECT ").expect("what is inserted is selected");
    format!(
        "{head} WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}) \
         SELECT {values} FROM numbers"
    )
}

fn statements(size: &Size) -> Vec<String> {
    let Size { devices, services, people, open_sessions, past_sessions } = *size;
    let now = noon().as_millisecond();
    let policy = |people: &str| {
        format!(
            r#"'{{"who":"people","people":["' || {people} || '"],"groups":["robotics"],"how":"on-request","max-duration":"12h"}}'"#
        )
    };
    // One service for each of the first devices; what else there is, is on others, which come after them in every list.
    let device = format!("CASE WHEN n < 60 THEN n ELSE 60 + (n - 60) % {} END", (devices - 60).max(1));
    let device = format!("({device})");
    // The first five devices are anna's, and so is what they offer; the others are the owner's, whose names count.
    let mut all = vec![
        counted(
            people,
            "INSERT INTO accounts (id, name, created_at, role, title, version) \
             SELECT n + 2, CASE n WHEN 0 THEN 'anna' ELSE 'person-' || n END, 0, 'member', 'Somebody', 1",
        ),
        "INSERT INTO person_groups (id, name, title, created_at, version) VALUES (1, 'robotics', 'Robotics', 0, 1)"
            .into(),
        "INSERT INTO memberships (person_group, account) VALUES (1, 3), (1, 4), (1, 5)".into(),
        counted(
            devices,
            &format!(
                "INSERT INTO devices (id, account, name, title, joined_at, version) \
                 SELECT n + 1, CASE WHEN n < 5 THEN {ANNA} ELSE 1 END, CASE WHEN n < 60 THEN 'device-' ELSE 'later-' END || n, \
                 'A device', 0, 1"
            ),
        ),
        counted(
            services,
            &format!(
                "INSERT INTO services (id, device, account, name, title, kind, is_main, standing, offered_access, version) \
                 SELECT n + 1, {device} + 1, CASE WHEN {device} < 5 THEN {ANNA} ELSE 1 END, \
                 'service-' || n, 'A service', 'http', 0, 'offered', {}, 1",
                policy("CASE WHEN n < 10 THEN 'anna' ELSE 'person-' || n END")
            ),
        ),
        counted(
            services,
            &format!(
                "INSERT INTO hosts (host, prefix, strip, origin, is_wanted, service) \
                 SELECT 'service-' || n || '-device-' || {device} || '.gw.test', '', 0, 'given', 1, n + 1"
            ),
        ),
        // Hers, the same in every store; then of everybody in turn, of all services in turn.
        format!(
            "INSERT INTO sessions (id, account, service, opened_at, until, used_at, version) \
             VALUES (1, {ANNA}, 7, {now}, {now} + 3600000, {now}, 1), (2, {ANNA}, 8, {now}, {now} + 3600000, {now}, 1)"
        ),
    ];
    // Of those that are over a third is hers, and a third is of her first service.
    all.push(counted(
        past_sessions,
        &format!(
            "INSERT INTO sessions (id, account, service, opened_at, until, used_at, ended_at, ending, version) \
             SELECT n + 3, CASE n % 3 WHEN 0 THEN {ANNA} ELSE n % {people} + 3 END, \
             CASE n % 3 WHEN 1 THEN 1 ELSE n % {services} + 1 END, \
             {now} - 9000000, {now} - 5400000, {now} - 6000000, {now} - 5400000, 'time', 2"
        ),
    ));
    all.push(counted(
        open_sessions,
        &format!(
            "INSERT INTO sessions (id, account, service, opened_at, until, used_at, version) \
             SELECT n + {past_sessions} + 3, n % ({people} - 1) + 3, n % ({services} - 10) + 11, {now}, {now} + 36000000, {now}, 1"
        ),
    ));
    let lines = open_sessions + past_sessions;
    all.push(counted(
        lines,
        "INSERT INTO audit (id, at, account, deed, subject, detail, source, count, hash) \
         SELECT n + 100, 0, 1, 'session-opened', 'device-1/service-1', '', '', 1, \
         '0000000000000000000000000000000000000000000000000000000000000000'",
    ));
    let last = [
        ("account", people + 2),
        ("device", devices + 1),
        ("service", services + 1),
        ("session", open_sessions + past_sessions + 3),
        ("group", 2),
        ("audit", lines + 100),
    ];
    all.extend(last.map(|(kind, next)| format!("UPDATE ids SET next = {next} WHERE kind = '{kind}'")));
    all
}
