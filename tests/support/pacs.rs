//! A PACS at work. It files images as PacsOne does: parents first, one row at a time, without a
//! transaction. It looks up each row by key, inserts missing rows, and updates existing ones.

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlConnection};
use tokio::runtime::Runtime;

use super::{Index, PASSWORD};

/// An image that arrives.
pub struct Arrival {
    pub patient: String,
    pub name: [String; 2],
    pub study: String,
    pub series: String,
    pub image: String,
}

pub struct Pacs {
    runtime: Runtime,
    connection: MySqlConnection,
    /// The time taken to file each image.
    pub latencies: Vec<Duration>,
    /// Rows that another writer inserted between the lookup and the insert.
    pub races: u64,
    pub errors: Vec<String>,
}

struct Row<'a> {
    table: &'a str,
    key: (&'a str, &'a str),
    inserted: String,
    updated: String,
}

impl Pacs {
    pub fn of(index: &Index) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options: MySqlConnectOptions = index.url.parse().unwrap();
        let options = options.password(PASSWORD).timezone(None).disable_statement_logging();
        let connection = runtime.block_on(options.connect()).unwrap();
        Pacs { runtime, connection, latencies: Vec::new(), races: 0, errors: Vec::new() }
    }

    /// Files an image.
    pub fn receive(&mut self, arrival: &Arrival) {
        let Arrival { patient, name: [last, first], study, series, image } = arrival;
        let rows = [
            Row {
                table: "patient",
                key: ("origid", patient),
                inserted: format!("lastname = '{last}', firstname = '{first}', private = 0"),
                updated: format!("lastname = '{last}', firstname = '{first}'"),
            },
            Row {
                table: "study",
                key: ("uuid", study),
                inserted: format!("patientid = '{patient}', received = NOW(), sourceae = 'PACS', private = 0"),
                updated: "updated = NOW()".into(),
            },
            Row {
                table: "series",
                key: ("uuid", series),
                inserted: format!("studyuid = '{study}', modality = 'CT', seriesnumber = 1"),
                updated: "stationname = 'PACS'".into(),
            },
            Row {
                table: "image",
                key: ("uuid", image),
                inserted: format!("seriesuid = '{series}', path = '/pacs/{image}', instance = 1, tagged = 0"),
                updated: format!("path = '/pacs/{image}'"),
            },
        ];
        let begun = Instant::now();
        for row in rows {
            if let Err(error) = self.file(&row) {
                self.errors.push(format!("{}: {error}", row.table));
            }
        }
        self.latencies.push(begun.elapsed());
    }

    fn file(&mut self, row: &Row<'_>) -> sqlx::Result<()> {
        let Row { table, key: (column, key), inserted, updated } = row;
        let look = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {column} FROM {table} WHERE {column} = '{key}'")));
        if self.runtime.block_on(self.connection.fetch_optional(look))?.is_none() {
            match self.execute(format!("INSERT INTO {table} SET {column} = '{key}', {inserted}")) {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => self.races += 1,
                result => return result,
            }
        }
        self.execute(format!("UPDATE {table} SET {updated} WHERE {column} = '{key}'"))
    }

    fn execute(&mut self, sql: String) -> sqlx::Result<()> {
        self.runtime.block_on(self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)))).map(|_| ())
    }

    /// Returns the latencies since the last call: their number, the median, the 99th percentile,
    /// and the maximum.
    pub fn figures(&mut self) -> String {
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.sort();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        let [p50, p99, max] = [50, 99, 100].map(at);
        format!("{} images, p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", latencies.len())
    }

    pub fn close(self) {
        let _ = self.runtime.block_on(self.connection.close());
    }
}
