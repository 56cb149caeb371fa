//! Stores from before: today's is written again as it would have been then.

use crate::store::migrations;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::fs;
use std::path::Path;

/// What the store of that step could hold is kept, and nothing else.
pub(super) async fn turn_back(data: &Path, last: i64) {
    let (now, then) = (data.join("doorward.db"), data.join("before.db"));
    let options = SqliteConnectOptions::new().filename(&then).create_if_missing(true).foreign_keys(false);
    let mut connection = options.connect().await.unwrap();
    migrations::until(last).run(&mut connection).await.unwrap();
    run(&mut connection, &format!("ATTACH DATABASE '{}' AS today", now.display())).await;
    for table in tables(&mut connection).await {
        let of_then = columns(&mut connection, "main", &table).await;
        let of_today = columns(&mut connection, "today", &table).await;
        let kept: Vec<_> = of_then.into_iter().filter(|column| of_today.contains(column)).collect();
        let kept = kept.join(", ");
        let kinds = if table == "ids" { " WHERE kind IN (SELECT kind FROM main.ids)" } else { "" };
        let copy = format!("INSERT OR REPLACE INTO main.{table} ({kept}) SELECT {kept} FROM today.{table}{kinds}");
        run(&mut connection, &copy).await;
    }
    connection.close().await.unwrap();
    fs::rename(then, now).unwrap();
}

async fn run(connection: &mut SqliteConnection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(connection).await.unwrap();
}

async fn tables(connection: &mut SqliteConnection) -> Vec<String> {
    const TABLES: &str = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name IN (SELECT name FROM today.sqlite_schema)";
    sqlx::query_scalar(TABLES).fetch_all(connection).await.unwrap()
}

async fn columns(connection: &mut SqliteConnection, schema: &str, table: &str) -> Vec<String> {
    let query = format!("SELECT name FROM pragma_table_info('{table}', '{schema}')");
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get("name")).collect()
}
