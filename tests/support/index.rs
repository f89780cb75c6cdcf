//! An index as tests use it: they create it, modify it directly in the database, and query it.

use std::fs;
use std::path::PathBuf;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlConnection, Row, SqliteConnection};
use tokio::runtime::Runtime;

use super::{PASSWORD, Said, Site, fixtures};

/// An index that tests modify and query.
pub struct Index {
    pub url: String,
    place: Place,
}

enum Place {
    Sqlite(PathBuf),
    MariaDb { server: String, name: String },
}

/// The tables that the program writes, each with its key.
pub const TABLES: [(&str, &str); 8] = [
    ("patient", "origid"),
    ("study", "uuid"),
    ("series", "uuid"),
    ("image", "uuid"),
    ("conceptname", "uuid"),
    ("patientspeciescode", "patientid"),
    ("patientbreedcode", "patientid"),
    ("breedregistration", "patientid"),
];

impl Index {
    /// An index in an SQLite file.
    pub fn sqlite(path: PathBuf) -> Self {
        Index { url: format!("sqlite:{}", path.display()), place: Place::Sqlite(path) }
    }

    /// An empty database on the private server. It is dropped when the test passes.
    pub fn empty_mariadb() -> Self {
        Self::empty_on(&server())
    }

    /// An empty database on another server that `tests/run` starts.
    pub fn empty_on(server: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("test_{}_{n}", std::process::id());
        let index = Index {
            url: format!("{server}{name}"),
            place: Place::MariaDb { server: server.to_owned(), name: name.clone() },
        };
        on_server(server, &format!("CREATE DATABASE {name}"));
        index
    }

    /// A PacsOne database without rows.
    pub fn pacsone() -> Self {
        let index = Self::empty_mariadb();
        index.execute(&fs::read_to_string(fixtures().join("pacsone-schema.sql")).unwrap());
        index
    }

    /// An index on MariaDB, as `init` creates it.
    pub fn mariadb(site: &Site) -> Self {
        Self::mariadb_on(&server(), site)
    }

    pub fn mariadb_on(server: &str, site: &Site) -> Self {
        let index = Self::empty_on(server);
        let mut command = site.program(&["init", "--index", &index.url, "--not-the-pacsone-installer"]);
        Said::new(command.env("PACS_INDEX_PASSWORD", PASSWORD).output().unwrap()).exits(0);
        index
    }

    pub fn connect(&self) -> Connected {
        match &self.place {
            Place::Sqlite(path) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let options = SqliteConnectOptions::new().filename(path);
                let link = Link::Sqlite(runtime.block_on(options.connect()).unwrap());
                Connected { runtime, link }
            }
            Place::MariaDb { .. } => Connected::to(&self.url),
        }
    }

    /// Returns the name of the database.
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Sqlite(_) => "main",
            Place::MariaDb { name, .. } => name,
        }
    }

    pub fn execute(&self, sql: &str) {
        let mut connected = self.connect();
        connected.execute(sql);
        connected.close();
    }

    /// Returns the rows of a query. The values of a row are joined by `|`; NULL is `-`.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let mut connected = self.connect();
        let rows = connected.rows(sql);
        connected.close();
        rows
    }

    pub fn count(&self, table: &str) -> u64 {
        self.rows(&format!("SELECT COUNT(*) FROM `{table}`"))[0].parse().unwrap()
    }

    /// Returns all rows of the tables that the program writes, in key order.
    pub fn dump(&self) -> Vec<String> {
        let mut connected = self.connect();
        let table = |(table, key): &(&str, &str)| {
            let rows = connected.rows(&format!("SELECT * FROM `{table}` ORDER BY `{key}`"));
            rows.into_iter().map(|row| format!("{table}: {row}")).collect::<Vec<_>>()
        };
        let dump = TABLES.iter().flat_map(table).collect();
        connected.close();
        dump
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Place::MariaDb { server, name } = &self.place {
            // A failing test keeps its database for inspection.
            if !std::thread::panicking() {
                on_server(server, &format!("DROP DATABASE {name}"));
            }
        }
    }
}

/// A connection that a test keeps open.
pub struct Connected {
    runtime: Runtime,
    link: Link,
}

enum Link {
    Sqlite(SqliteConnection),
    MariaDb(MySqlConnection),
}

fn on_server(server: &str, sql: &str) {
    let mut connected = Connected::to(server);
    connected.execute(sql);
    connected.close();
}

impl Connected {
    /// Connects to a database or a server by its URL.
    pub fn to(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options: MySqlConnectOptions = url.parse().unwrap();
        let options = options.password(PASSWORD).timezone(None).disable_statement_logging();
        let link = Link::MariaDb(runtime.block_on(options.connect()).unwrap());
        Connected { runtime, link }
    }

    pub fn execute(&mut self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.link {
            Link::Sqlite(link) => drop(self.runtime.block_on(link.execute(sql)).unwrap()),
            Link::MariaDb(link) => drop(self.runtime.block_on(link.execute(sql)).unwrap()),
        }
    }

    /// Executes a statement and ignores errors, because the statement may come too late.
    pub fn try_execute(&mut self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.link {
            Link::Sqlite(link) => drop(self.runtime.block_on(link.execute(sql))),
            Link::MariaDb(link) => drop(self.runtime.block_on(link.execute(sql))),
        }
    }

    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let shown = |values: Vec<Option<String>>| {
            values.into_iter().map(|value| value.unwrap_or("-".into())).collect::<Vec<_>>().join("|")
        };
        match &mut self.link {
            Link::Sqlite(link) => {
                let rows = self.runtime.block_on(link.fetch_all(sql)).unwrap();
                let text = |row: &sqlx::sqlite::SqliteRow| {
                    (0..row.len()).map(|i| row.try_get_unchecked::<Option<String>, _>(i).unwrap()).collect()
                };
                rows.iter().map(|row| shown(text(row))).collect()
            }
            Link::MariaDb(link) => {
                let rows = self.runtime.block_on(link.fetch_all(sql)).unwrap();
                let text = |row: &sqlx::mysql::MySqlRow| {
                    (0..row.len()).map(|i| row.try_get_unchecked::<Option<String>, _>(i).unwrap()).collect()
                };
                rows.iter().map(|row| shown(text(row))).collect()
            }
        }
    }

    pub fn close(self) {
        self.runtime.block_on(async {
            match self.link {
                Link::Sqlite(link) => drop(link.close().await),
                Link::MariaDb(link) => drop(link.close().await),
            }
        });
    }
}

/// The private server that `tests/run` starts. Tests use no server that they did not start.
fn server() -> String {
    server_of("PACS_INDEX_TEST_MARIADB")
}

/// Returns the URL of a server that `tests/run` starts, from the environment variable that it sets.
pub fn server_of(variable: &str) -> String {
    std::env::var(variable).expect("this test needs the private MariaDB that tests/run starts: run tests/run")
}
