//! A lock on an index that prevents a second run from writing to it, even one with another state
//! directory.
//!
//! On a server, this is a user-level lock (GET_LOCK), which a separate connection holds. The lock
//! is released with the connection, so a killed run leaves no lock. For an SQLite index, this is a
//! locked file next to the index. Servers without user-level locks, and clusters, where such a lock
//! is known to a single node only, are not protected.

#![allow(clippy::disallowed_methods, reason = "a lock file beside the index")]

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use xxhash_rust::xxh3::xxh3_64;

use super::connect::Login;
use super::mysql::MySql;
use super::sql::Database;
use super::{Failure, Location, Value};
use crate::error::{Error, Result};

/// Poll interval while waiting for another run.
const TICK: Duration = Duration::from_millis(200);

/// Keep-alive interval. Proxies cut connections that are idle for a minute.
const PING: Duration = Duration::from_secs(10);

/// The maximum number of characters in a lock name (MySQL manual, GET_LOCK).
const LONGEST_NAME: usize = 64;

/// A lock that is released when the value is dropped.
pub struct RunLock {
    held: Held,
    index: String,
}

enum Held {
    Nothing,
    File(#[expect(dead_code, reason = "released when it is dropped")] LockFile),
    Server(Box<Keeper>),
}

/// The outcome of an attempt to take a lock.
enum Attempt<T> {
    Taken(T),
    /// Another run holds the lock. Contains a description of the holder.
    HeldBy(String),
}

impl RunLock {
    /// Takes the lock on an index. `waits` returns whether to wait for a run that holds the lock.
    /// `end` is called if another run has taken the lock after this run lost its connection.
    pub fn take(location: &Location, waits: impl Fn() -> bool, end: impl Fn() + Send + 'static) -> Result<Self> {
        let index = location.shown();
        loop {
            let attempt = match location {
                Location::Sqlite(path) => LockFile::take(path).map(|attempt| attempt.map(Held::File)),
                Location::MySql { login, .. } => Connection::take(location, login),
            }?;
            match attempt {
                Attempt::Taken(mut held) => {
                    if let Held::Server(keeper) = &mut held {
                        keeper.start(end);
                    }
                    return Ok(RunLock { held, index });
                }
                Attempt::HeldBy(_) if waits() => std::thread::sleep(TICK),
                Attempt::HeldBy(holder) => {
                    return Err(Error::unfinished(
                        format!("another run is writing to the index {index}: {holder}"),
                        "Nothing was done. Let it end, or add --wait to begin when it has ended.",
                    ));
                }
            }
        }
    }

    /// Returns an error if another run took the lock during an outage.
    pub fn failure(&self) -> Option<Error> {
        let Held::Server(keeper) = &self.held else { return None };
        keeper.is_lost.load(Ordering::Relaxed).then(|| {
            Error::unfinished(
                format!("another run has begun to write to the index {} while the server was away", self.index),
                "This run has ended. Run the same command again when the other run has ended.",
            )
        })
    }
}

impl<T> Attempt<T> {
    fn map<U>(self, make: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Attempt::Taken(taken) => Attempt::Taken(make(taken)),
            Attempt::HeldBy(holder) => Attempt::HeldBy(holder),
        }
    }
}

/// A locked file next to an SQLite index.
struct LockFile {
    _file: File,
    path: PathBuf,
}

impl LockFile {
    fn take(index: &Path) -> Result<Attempt<Self>> {
        let mut path = index.as_os_str().to_owned();
        path.push("-run");
        let path = PathBuf::from(path);
        let failed = |error: io::Error| {
            let advice = "Let the user of this program create files in the directory of the index.";
            Error::usage(format!("the lock file {} cannot be used: {error}", path.display()), advice)
        };
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                // The previous holder may have removed the file after this open.
                Ok(()) if is_at(&file, &path) => return Ok(Attempt::Taken(LockFile { _file: file, path })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Ok(Attempt::HeldBy(format!("it holds the lock file {}", path.display())));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let open = place(file.metadata());
    open.is_some() && open == place(fs::metadata(path))
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// A connection that holds the lock, or held it before it was cut.
struct Connection {
    database: MySql,
    /// The connection ID on the server.
    id: String,
    name: String,
}

/// The answer of a server to GET_LOCK.
enum Answer {
    Taken,
    /// Another connection holds the lock.
    HeldBy {
        id: String,
    },
    /// The server has no user-level locks, or this user may not use them.
    Unsupported,
}

impl Connection {
    fn take(location: &Location, login: &Login) -> Result<Attempt<Held>> {
        let mut connection = Connection::open(login).map_err(|failure| location.unreachable(failure))?;
        match connection.lock().map_err(|failure| location.unreachable(failure))? {
            Answer::Taken => Ok(Attempt::Taken(Held::Server(Box::new(Keeper::new(connection, login.clone()))))),
            Answer::HeldBy { id } => Ok(Attempt::HeldBy(connection.describe(&id))),
            Answer::Unsupported => Ok(Attempt::Taken(Held::Nothing)),
        }
    }

    fn open(login: &Login) -> std::result::Result<Self, Failure> {
        let mut database = MySql::connect(login)?;
        let mut texts = database
            .fetch(&"SELECT CAST(CONNECTION_ID() AS CHAR), CAST(DATABASE() AS CHAR)".into(), &[])?
            .pop()
            .unwrap_or_default()
            .into_iter();
        let mut next = || texts.next().flatten().unwrap_or_default();
        let (id, schema) = (next(), next());
        Ok(Connection { database, id, name: name_of(&schema) })
    }

    /// Takes the lock, or looks up the connection that holds it.
    fn lock(&mut self) -> std::result::Result<Answer, Failure> {
        let name = [Value::Text(&self.name)];
        let taken = match self.database.fetch(&"SELECT CAST(GET_LOCK(?, 0) AS CHAR)".into(), &name) {
            Ok(rows) => rows.into_iter().flatten().flatten().next(),
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            Err(_) => return Ok(Answer::Unsupported),
        };
        match taken.as_deref() {
            Some("1") => Ok(Answer::Taken),
            Some("0") => {
                let holder = self.database.fetch(&"SELECT CAST(IS_USED_LOCK(?) AS CHAR)".into(), &name)?;
                Ok(Answer::HeldBy { id: holder.into_iter().flatten().flatten().next().unwrap_or_default() })
            }
            _ => Ok(Answer::Unsupported),
        }
    }

    /// Describes the connection that holds the lock, as far as the process list shows it to this
    /// user.
    fn describe(&mut self, id: &str) -> String {
        let sql = "SELECT CAST(USER AS CHAR), CAST(HOST AS CHAR) FROM information_schema.PROCESSLIST WHERE ID = ?";
        let rows = self.database.fetch(&sql.into(), &[Value::Text(id)]).unwrap_or_default();
        let of_whom = match rows.first().map(Vec::as_slice) {
            Some([Some(user), Some(host)]) => format!(", of {user} on {host},"),
            _ => String::new(),
        };
        format!("its connection {id}{of_whom} holds the lock {}", self.name)
    }
}

/// Returns the lock name for a schema. All schemas of a server share one namespace for locks.
fn name_of(schema: &str) -> String {
    let name = format!("pacs-index/{schema}");
    match name.chars().count() <= LONGEST_NAME {
        true => name,
        false => format!("pacs-index/{:016x}", xxh3_64(schema.as_bytes())),
    }
}

/// A thread that keeps the connection alive and takes the lock again after an outage.
struct Keeper {
    connection: Option<Connection>,
    login: Login,
    /// Whether another run holds the lock now.
    is_lost: Arc<AtomicBool>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn new(connection: Connection, login: Login) -> Self {
        Keeper { connection: Some(connection), login, is_lost: Arc::default(), end: None, thread: None }
    }

    fn start(&mut self, end_run: impl Fn() + Send + 'static) {
        let Some(mut connection) = self.connection.take() else { return };
        let (end, ended) = bounded::<()>(0);
        let login = self.login.clone();
        let is_lost = self.is_lost.clone();
        self.end = Some(end);
        self.thread = Some(std::thread::spawn(move || {
            while ended.recv_timeout(PING) == Err(RecvTimeoutError::Timeout) {
                let is_alive = connection.database.fetch(&"SELECT 1".into(), &[]).is_ok();
                if !is_alive && !retake(&mut connection, &login) {
                    is_lost.store(true, Ordering::Relaxed);
                    end_run();
                    break;
                }
            }
            connection.database.close();
        }));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes the lock on a new connection. Returns `false` if another run holds it, and `true` if the
/// server cannot be reached, so that the next ping retries.
fn retake(connection: &mut Connection, login: &Login) -> bool {
    let Ok(mut new) = Connection::open(login) else { return true };
    match new.lock() {
        Ok(Answer::HeldBy { id }) if id == connection.id => {
            // The server has not noticed yet that the previous connection is gone. A user may kill
            // their own connections.
            let _ = new.database.execute(&format!("KILL {id}").into(), &[], super::sql::Keep::Once);
            true
        }
        Ok(Answer::HeldBy { .. }) => false,
        Ok(Answer::Taken | Answer::Unsupported) => {
            *connection = new;
            true
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_keeps_a_second_run_out_and_goes_with_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let index = directory.path().join("index.db");
        let first = LockFile::take(&index).unwrap();
        assert!(matches!(&first, Attempt::Taken(_)));
        assert!(matches!(LockFile::take(&index).unwrap(), Attempt::HeldBy(holder) if holder.contains("index.db-run")));
        drop(first);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the file is removed");
        assert!(matches!(LockFile::take(&index).unwrap(), Attempt::Taken(_)));
    }

    #[test]
    fn the_name_of_a_lock_is_never_too_long() {
        assert_eq!(name_of("dicom"), "pacs-index/dicom");
        assert!(name_of(&"x".repeat(64)).len() <= LONGEST_NAME);
        assert_ne!(name_of(&"x".repeat(64)), name_of(&"x".repeat(63)));
    }
}
