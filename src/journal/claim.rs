//! Exclusive use of a directory of state, and the note in it of the index and roots that the directory belongs to.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::private;
use crate::damaged;
use crate::error::{Error, Result};

pub const ABOUT: &str = "about";
const LOCK: &str = "lock";

/// Poll interval of a run that waits for another: that run may end, or the wait be interrupted.
const TICK: Duration = Duration::from_millis(100);

/// The maximum size of a note in bytes: a few hundred roots with the longest paths.
const LARGEST_NOTE: u64 = 1 << 20;

/// The behavior of a run whose journal another run is using.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Busy {
    #[default]
    Leave,
    Wait,
}

/// A directory of state that no other run uses.
pub struct Claim {
    /// Open, and so locked, until the end of the run.
    pub lock: File,
    /// A message about damage.
    pub damaged: Option<String>,
}

/// Why a run cannot use state of former runs.
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

/// For runs that need the state.
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

/// Creates a directory of state and locks it. A directory that is damaged, or that belongs to something else, is moved
/// aside. A directory that may not be entered, or whose files may not be opened, is not.
pub fn claim(
    directory: &Path,
    key: &str,
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
    match enter(directory, key, busy, &is_interrupted) {
        Err(Refusal::Io(error)) if is_damage(&error) => {
            let aside = damaged::set_aside(directory).map_err(|_| failed(error))?;
            let claim = enter(directory, key, busy, &is_interrupted).map_err(refused)?;
            Ok(Claim { damaged: Some(damaged::message(directory, &aside)), ..claim })
        }
        entered => entered.map_err(refused),
    }
}

fn enter(
    directory: &Path,
    key: &str,
    busy: Busy,
    is_interrupted: impl Fn() -> bool,
) -> std::result::Result<Claim, Refusal> {
    make_private(directory).map_err(Refusal::Io)?;
    let path = directory.join(LOCK);
    let damaged_lock = set_aside_special(&path).map_err(Refusal::Io)?;
    let lock = lock(&path, directory, busy, is_interrupted)?;
    let damaged_note = check_key(directory, key).map_err(Refusal::Io)?;
    Ok(Claim { lock, damaged: damaged_lock.or(damaged_note) })
}

/// Whether an error shows damage, and not a lack of rights, a full disk, or a file system that is read-only or gone.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidData
    )
}

/// Moves anything aside that is not a regular file: a FIFO would block, and a link may point to a file of the user.
/// Returns a message about the file that was moved.
fn set_aside_special(path: &Path) -> io::Result<Option<String>> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(None),
        Ok(_) => damaged::set_aside(path).map(|aside| Some(damaged::message(path, &aside))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks a file of a directory, and waits for another run if asked to.
fn lock(
    path: &Path,
    directory: &Path,
    busy: Busy,
    is_interrupted: impl Fn() -> bool,
) -> std::result::Result<File, Refusal> {
    let lock = private().create(true).truncate(false).write(true).open(path).map_err(Refusal::Io)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if busy == Busy::Wait && !is_interrupted() => std::thread::sleep(TICK),
            Err(TryLockError::WouldBlock) => {
                return Err(Refusal::Busy(Error::unfinished(
                    format!(
                        "another run is at work on this index and these directories: it holds {}",
                        directory.display()
                    ),
                    "Nothing was done. Let it end, or add --wait to begin when it has ended.",
                )));
            }
            Err(TryLockError::Error(error)) => return Err(Refusal::Io(error)),
        }
    }
}

/// The key in the note of a directory; `None` if the note is damaged.
pub fn key(directory: &Path) -> io::Result<Option<String>> {
    let path = directory.join(ABOUT);
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    match File::open(path)?.take(LARGEST_NOTE).read_to_string(&mut text) {
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(text).filter(|text| text.starts_with("index ") && text.ends_with('\n'))),
    }
}

/// Writes the note of a directory if it has none. Returns a message if the note was damaged. A directory that belongs to
/// something else is an error: the journal in it is of no use.
fn check_key(directory: &Path, expected: &str) -> io::Result<Option<String>> {
    let path = directory.join(ABOUT);
    match key(directory) {
        Ok(Some(found)) if found == expected => return Ok(None),
        Ok(Some(_)) => return Err(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write_key(directory, expected).map(|()| None);
        }
        Err(error) if !path.symlink_metadata()?.is_symlink() => return Err(error),
        Ok(None) | Err(_) => {}
    }
    // A damaged note says nothing about the journal beside it, whose files have checksums of their own.
    let aside = damaged::set_aside(&path)?;
    write_key(directory, expected)?;
    Ok(Some(damaged::message(&path, &aside)))
}

fn write_key(directory: &Path, key: &str) -> io::Result<()> {
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(key.as_bytes())?;
    new.persist(directory.join(ABOUT)).map_err(|error| error.error).map(drop)
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
