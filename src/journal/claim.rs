//! Exclusive use of a state directory, and the note in it that names the database or the run that
//! the directory belongs to.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::private;
use crate::damaged;
use crate::error::{Error, Result};

pub const ABOUT: &str = "about";
pub const LOCK: &str = "lock";

/// Poll interval of a run that waits for another run to end. An interrupt also ends the wait.
const TICK: Duration = Duration::from_millis(100);

/// The number of attempts of a run that does not wait.
const ATTEMPTS: u32 = 3;

/// The maximum size of a note in bytes: enough for a few hundred roots with the longest paths.
const LARGEST_NOTE: u64 = 1 << 20;

/// The behavior of a run whose journal another run is using.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Busy {
    #[default]
    Leave,
    Wait,
}

/// Exclusive use of a state directory.
pub struct Claim {
    /// The lock file. It stays open, and thus locked, until the end of the run.
    pub lock: File,
    /// A message about damage that was found.
    pub damaged: Option<String>,
}

/// The owner of a state directory, as the note in the directory names it.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// The whole text of the note.
    Key(&'a str),
    /// The identities of a database. The note lists the identities that all runs have used, and one
    /// match is enough.
    Database(&'a [String]),
}

/// The prefix of each line of a note that contains an identity of a database.
const INDEX: &str = "index ";

/// The prefix of the note of a shard.
pub const SHARD: &str = "shard ";

/// Returns the identities of the database in a note.
pub fn identities(note: &str) -> impl Iterator<Item = &str> {
    note.lines().filter_map(|line| line.strip_prefix(INDEX))
}

impl Owner<'_> {
    pub fn is_named(&self, note: &str) -> bool {
        match self {
            Owner::Key(key) => *key == note,
            Owner::Database(known) => identities(note).any(|named| known.iter().any(|known| known == named)),
        }
    }

    /// Returns the text of the note: the identities of an earlier note come first.
    fn note(&self, earlier: Option<&str>) -> String {
        match self {
            Owner::Key(key) => (*key).to_owned(),
            Owner::Database(known) => {
                let mut all: Vec<&str> = earlier.into_iter().flat_map(identities).collect();
                all.extend(
                    known
                        .iter()
                        .map(String::as_str)
                        .filter(|known| !earlier.into_iter().flat_map(identities).any(|named| named == *known)),
                );
                all.iter().map(|identity| format!("{INDEX}{identity}\n")).collect()
            }
        }
    }
}

/// Why a run cannot use the state of former runs.
pub enum StateError {
    /// A file or directory that may be intact cannot be opened. Contains a message.
    Unreadable(String),
    Failed(Error),
}

impl From<Error> for StateError {
    fn from(error: Error) -> Self {
        StateError::Failed(error)
    }
}

/// The conversion for runs that cannot continue without the state.
impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Failed(error) => error,
            StateError::Unreadable(message) => {
                Error::usage(message, "Correct its permissions, or name another directory with --state.")
            }
        }
    }
}

/// Why a directory cannot be claimed.
enum Refusal {
    /// Another run holds the lock.
    Busy(Error),
    Io(io::Error),
}

/// Creates a state directory and locks it. Moves a directory aside that is damaged or belongs to
/// something else, but not one that is inaccessible, or whose files cannot be opened.
pub fn claim(
    directory: &Path,
    owner: Owner<'_>,
    busy: Busy,
    is_interrupted: impl Fn() -> bool,
    failed: impl Fn(io::Error) -> Error,
) -> Result<Claim, StateError> {
    let refused = |refusal: Refusal| match refusal {
        Refusal::Busy(error) => error.into(),
        Refusal::Io(error) if error.kind() == ErrorKind::PermissionDenied && directory.symlink_metadata().is_ok() => {
            StateError::Unreadable(damaged::unreadable(directory, &error))
        }
        Refusal::Io(error) => failed(error).into(),
    };
    match enter(directory, owner, busy, &is_interrupted) {
        Err(Refusal::Io(error)) if is_damage(&error) => {
            let aside = damaged::set_aside(directory).map_err(|_| failed(error))?;
            let claim = enter(directory, owner, busy, &is_interrupted).map_err(refused)?;
            Ok(Claim { damaged: Some(damaged::message(directory, &aside)), ..claim })
        }
        entered => entered.map_err(refused),
    }
}

fn enter(
    directory: &Path,
    owner: Owner<'_>,
    busy: Busy,
    is_interrupted: impl Fn() -> bool,
) -> std::result::Result<Claim, Refusal> {
    make_private(directory).map_err(Refusal::Io)?;
    let path = directory.join(LOCK);
    let damaged_lock = set_aside_special(&path).map_err(Refusal::Io)?;
    let is_of_shard = matches!(owner, Owner::Key(key) if key.starts_with(SHARD));
    let lock = lock(&path, directory, busy, is_of_shard, is_interrupted)?;
    let damaged_note = check_note(directory, owner).map_err(Refusal::Io)?;
    Ok(Claim { lock, damaged: damaged_lock.or(damaged_note) })
}

/// Returns whether an error indicates damage, as opposed to missing permissions, a full disk, or a
/// file system that is read-only or gone.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidData
    )
}

/// Moves the file aside unless it is a regular file: a FIFO would block, and a link may point to a
/// file of the user. Returns a message about a file that was moved.
fn set_aside_special(path: &Path) -> io::Result<Option<String>> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(None),
        Ok(_) => damaged::set_aside(path).map(|aside| Some(damaged::message(path, &aside))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks the lock file of a directory. Waits for another run if `busy` is [`Busy::Wait`].
fn lock(
    path: &Path,
    directory: &Path,
    busy: Busy,
    is_of_shard: bool,
    is_interrupted: impl Fn() -> bool,
) -> std::result::Result<File, Refusal> {
    let lock = private().create(true).truncate(false).write(true).open(path).map_err(Refusal::Io)?;
    for attempt in 1.. {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if busy == Busy::Wait && !is_interrupted() => std::thread::sleep(TICK),
            // A merge that checks whether a shard is being read holds the lock for a moment.
            Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(TICK),
            Err(TryLockError::WouldBlock) => {
                let what = if is_of_shard { "process is reading this shard" } else { "run is at work on this index" };
                return Err(Refusal::Busy(Error::unfinished(
                    format!("another {what}: it holds {}", directory.display()),
                    "Nothing was done. Let it end, or add --wait to begin when it has ended.",
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Refusal::Io(error)),
        }
    }
    Ok(lock)
}

/// Reads the note of a directory. Returns `None` if the note is damaged.
pub fn note(directory: &Path) -> io::Result<Option<String>> {
    let path = directory.join(ABOUT);
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    match File::open(path)?.take(LARGEST_NOTE).read_to_string(&mut text) {
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(text)
            .filter(|text| [INDEX, SHARD].iter().any(|owner| text.starts_with(owner)) && text.ends_with('\n'))),
    }
}

/// Writes the note of a directory that has none, and completes a note that lacks an identity of the
/// database. Returns a message if the note was damaged. If the directory belongs to something else,
/// returns an error, because its contents are of no use.
fn check_note(directory: &Path, owner: Owner<'_>) -> io::Result<Option<String>> {
    let path = directory.join(ABOUT);
    match note(directory) {
        Ok(Some(found)) if owner.is_named(&found) => {
            let complete = owner.note(Some(&found));
            return if complete == found { Ok(None) } else { write_note(directory, &complete).map(|()| None) };
        }
        Ok(Some(_)) => return Err(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write_note(directory, &owner.note(None)).map(|()| None);
        }
        Err(error) if !path.symlink_metadata()?.is_symlink() => return Err(error),
        Ok(None) | Err(_) => {}
    }
    // A damaged note does not affect the journal beside it, whose files have their own checksums.
    let aside = damaged::set_aside(&path)?;
    write_note(directory, &owner.note(None))?;
    Ok(Some(damaged::message(&path, &aside)))
}

/// Replaces the note of a directory atomically.
fn write_note(directory: &Path, text: &str) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_data()?;
    new.persist(directory.join(ABOUT)).map_err(|error| error.error)?;
    sync_directory(directory)
}

/// Makes the names in a directory durable after a file was created or renamed in it.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
