//! The steps from an empty store to today's, and from every store that was ever released.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and statements. What was released is never changed.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/0001_first.sql")),
    (2, "certificates", include_str!("../../migrations/0002_certificates.sql")),
    (3, "web", include_str!("../../migrations/0003_web.sql")),
    (4, "tls", include_str!("../../migrations/0004_tls.sql")),
    (5, "authority", include_str!("../../migrations/0005_authority.sql")),
    (6, "ssh", include_str!("../../migrations/0006_ssh.sql")),
    (7, "ssh passwords", include_str!("../../migrations/0007_ssh_passwords.sql")),
    (8, "ssh certificates", include_str!("../../migrations/0008_ssh_certificates.sql")),
    (9, "people", include_str!("../../migrations/0009_people.sql")),
    (10, "logins", include_str!("../../migrations/0010_logins.sql")),
    (11, "sign in", include_str!("../../migrations/0011_sign_in.sql")),
    (12, "api", include_str!("../../migrations/0012_api.sql")),
    (13, "audit", include_str!("../../migrations/0013_audit.sql")),
    (14, "limits", include_str!("../../migrations/0014_limits.sql")),
    (15, "prepare", include_str!("../../migrations/0015_prepare.sql")),
    (16, "shares", include_str!("../../migrations/0016_shares.sql")),
    (17, "programs", include_str!("../../migrations/0017_programs.sql")),
    (18, "live", include_str!("../../migrations/0018_live.sql")),
    (19, "adding", include_str!("../../migrations/0019_adding.sql")),
    (21, "oidc", include_str!("../../migrations/0021_oidc.sql")),
    (22, "session ports", include_str!("../../migrations/0022_session_ports.sql")),
    (23, "cameras", include_str!("../../migrations/0023_cameras.sql")),
    (24, "knocks", include_str!("../../migrations/0024_knocks.sql")),
];

pub(super) fn migrator() -> Migrator {
    until(i64::MAX)
}

/// As it was when this step was the last.
pub(crate) fn until(last: i64) -> Migrator {
    let steps = STEPS.iter().filter(|(number, ..)| *number <= last);
    let migration = |(number, name, statements): &(i64, &'static str, &'static str)| {
        Migration::new(*number, (*name).into(), MigrationType::Simple, statements.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.map(migration).collect())
}
