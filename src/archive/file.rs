//! A file that the walk has found, the place of its bytes, and the only way to open it. A file is
//! opened only if it is classified as online or covered by a recall permit: read-only, without
//! following a link, and without waiting.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::breaker::Turn;
use super::layout;
use super::locality::{self, Stub};
use super::mount::Mount;
use super::recall::Permit;
use crate::dicom::window::Source;

/// A file or a symbolic link, by its directory entry. Another file may have the path by the time it
/// is inspected.
#[derive(Debug)]
pub struct FoundFile {
    path: PathBuf,
    /// The day of receipt in the name of the directory.
    pub received_on: Option<Date>,
    /// Allows a recall of the file.
    permit: Option<Permit>,
}

/// A file that may be read, and the place of its bytes.
pub struct Location<'a> {
    path: Cow<'a, Path>,
    pub state: FileState,
    identity: Identity,
    mount: Arc<Mount>,
    /// The bytes are recalled from slow storage.
    is_recalled: bool,
    had_blocks: bool,
    /// The link or pointer that was followed, or the stub that is recalled.
    pub through: Option<Box<Stub>>,
    /// The path of the target on this system, if a link or pointer was followed.
    pub target: Option<PathBuf>,
}

/// Device and inode: they differ if another file has taken the path.
type Identity = (u64, u64);

/// The properties of a file that are known without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub size: u64,
    /// Nanoseconds since 1970; `i64::MIN` if unknown.
    pub modified: i64,
}

/// An open regular file.
pub struct OpenFile {
    file: File,
    pub state: FileState,
    written: Option<SystemTime>,
    reads: Cell<u32>,
    /// Held until the first bytes have been read.
    turn: Cell<Option<Turn>>,
}

/// The resolution of modification times, in nanoseconds: two seconds on FAT.
const TICK: i128 = 2_000_000_000;

/// Plausible modification times, in seconds since 1970: from 1980 to 2200.
const PLAUSIBLE: std::ops::Range<i64> = 315_532_800..7_258_118_400;

impl FoundFile {
    pub(super) fn new(path: PathBuf, received_on: Option<Date>) -> Self {
        FoundFile { path, received_on, permit: None }
    }

    /// Creates the entry of a file that a row of the index names.
    pub fn named(path: PathBuf) -> Self {
        FoundFile::new(path, None)
    }

    /// Adds a recall permit.
    pub fn permitted(self, permit: Permit) -> Self {
        FoundFile { permit: Some(permit), ..self }
    }

    /// Removes the recall permit.
    pub fn without_permit(self) -> Self {
        FoundFile { permit: None, ..self }
    }

    pub fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn into_path(self) -> PathBuf {
        self.path
    }

    /// Creates the entry of a file that an earlier run has found below a root.
    pub fn below(root: &Path, path: PathBuf) -> Self {
        let received_on = path.parent().and_then(|directory| layout::received_on(root, directory));
        FoundFile::new(path, received_on)
    }
}

impl<'a> Location<'a> {
    /// Creates a location. Only the code that has classified the file calls this.
    pub(super) fn new(path: Cow<'a, Path>, metadata: &Metadata, mount: Arc<Mount>, is_recalled: bool) -> Self {
        let (state, identity) = (FileState::of(metadata), identity(metadata));
        let had_blocks = !locality::occupies_none(metadata);
        Location { path, state, identity, mount, is_recalled, had_blocks, through: None, target: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the bytes are recalled from slow storage.
    pub fn is_recalled(&self) -> bool {
        self.is_recalled
    }

    /// Whether the opened file is the one that was inspected. The target of a link was inspected by
    /// a path without links, and a directory of that path may have become a link since.
    #[cfg(target_os = "linux")]
    fn is_where_it_was(&self, file: &File) -> bool {
        use std::os::fd::AsRawFd;
        let opened = || std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        self.target.is_none() || opened().is_ok_and(|opened| opened == self.path)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_where_it_was(&self, _: &File) -> bool {
        true
    }

    /// Opens the file. Returns `None` if the path has changed since it was inspected: another file
    /// has taken it, its bytes were moved away, or its mount has become slow.
    pub fn open(&self) -> io::Result<Option<OpenFile>> {
        // A recalled file is slow, and its speed has no relation to that of files that are online.
        let turn = if self.is_recalled { None } else { Some(Turn::on(&self.mount)) };
        if let Some(None) = turn {
            return Ok(None);
        }
        let file = open_read_only(&self.path)?;
        let metadata = file.metadata()?;
        let was_moved_away = !self.is_recalled && locality::occupies_none(&metadata) && self.had_blocks;
        if !metadata.is_file() || identity(&metadata) != self.identity || was_moved_away || !self.is_where_it_was(&file)
        {
            return Ok(None);
        }
        let written = metadata.modified().ok();
        Ok(Some(OpenFile {
            file,
            state: FileState::of(&metadata),
            written,
            reads: Cell::new(0),
            turn: Cell::new(turn.flatten()),
        }))
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

pub(super) fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no longer a regular file")
}

impl FileState {
    pub fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let modified = modified.and_then(|at| at.as_nanosecond().try_into().ok());
        FileState { size: metadata.len(), modified: modified.unwrap_or(i64::MIN) }
    }

    /// The state of the file at a path, with the modification time of a link's target.
    pub fn at(path: &Path) -> io::Result<Self> {
        path.metadata().map(|metadata| FileState::of(&metadata))
    }

    /// The modification time. `None` if it is implausible: zero, earlier than 1980, or later than
    /// 2200.
    pub fn modified(self) -> Option<Timestamp> {
        let at = Timestamp::from_nanosecond(self.modified.into()).ok();
        at.filter(|at| PLAUSIBLE.contains(&at.as_second()))
    }

    /// Whether a further change of the file would change its modification time. False within one
    /// tick of the clock that the time is taken from.
    pub fn tells_changes(self) -> bool {
        let now = Timestamp::now().as_nanosecond();
        self.is_known() && i128::from(self.modified) + TICK < now
    }

    /// Whether the modification time is known. A file without one always counts as changed.
    pub fn is_known(self) -> bool {
        self.modified != i64::MIN
    }
}

impl OpenFile {
    /// Returns all bytes, or the first kilobyte of a file that is larger than `most` bytes.
    pub fn head(&self, most: u64) -> io::Result<Vec<u8>> {
        let length = if self.state.size <= most { self.state.size } else { 1024 };
        let mut head = vec![0; length as usize];
        let (mut source, mut filled) = (self, 0);
        while filled < head.len() {
            match source.read_at(&mut head[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        head.truncate(filled);
        Ok(head)
    }

    /// Whether the bytes that were read may mix two states of the file: they took several reads,
    /// and the file has changed since it was opened. A file that was replaced under its path does
    /// not change while it is open.
    pub fn may_be_mixed(&self) -> bool {
        let is_as_opened = |now: Metadata| now.len() == self.state.size && now.modified().ok() == self.written;
        self.reads.get() > 1 && !self.file.metadata().is_ok_and(is_as_opened)
    }
}

/// Reads sequentially, from the beginning of the file.
impl io::Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        drop(self.turn.take());
        read
    }
}

impl Source for &OpenFile {
    #[cfg(unix)]
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let read = std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset);
        drop(self.turn.take());
        read
    }

    #[cfg(windows)]
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        let read = std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset);
        drop(self.turn.take());
        read
    }

    fn size(&self) -> Option<u64> {
        Some(self.state.size)
    }
}

/// Opens a file for reading. O_NONBLOCK, so that a FIFO in the file's place does not block the run;
/// O_NOFOLLOW, so that a link is not followed unnoticed; O_NOATIME, so that reading terabytes does
/// not write to every inode. Only the owner of a file may use O_NOATIME.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "the one place")]
fn open_read_only(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    static MAY_KEEP_ATIME: AtomicBool = AtomicBool::new(true);
    let open = |flags: libc::c_int| {
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | flags).open(path)
    };
    if !MAY_KEEP_ATIME.load(Ordering::Relaxed) {
        return open(0);
    }
    match open(libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            MAY_KEEP_ATIME.store(false, Ordering::Relaxed);
            open(0)
        }
        opened => opened,
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the one place")]
fn open_read_only(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
