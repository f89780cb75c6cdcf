//! A file that the walk found, where its bytes are, and the only way to open it: what was classified as online, or let
//! through by a permit; read-only, without following a link, without waiting.

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

/// A file or a symbolic link, by its directory entry. Its path may mean something else by the time it is looked at.
#[derive(Debug)]
pub struct FoundFile {
    path: PathBuf,
    /// The day of receipt that its directory carries.
    pub received_on: Option<Date>,
    /// It may be recalled.
    permit: Option<Permit>,
}

/// Where the bytes of a file are, which may be read.
pub struct Location<'a> {
    path: Cow<'a, Path>,
    pub state: FileState,
    identity: Identity,
    mount: Arc<Mount>,
    /// Its bytes are on slow storage, from where they come.
    is_recalled: bool,
    had_blocks: bool,
    /// The link or the pointer that led here, or what it is recalled from.
    pub through: Option<Box<Stub>>,
    /// As it is called here, if a link or a pointer led here.
    pub target: Option<PathBuf>,
}

/// What tells a file from another in its place.
type Identity = (u64, u64);

/// What a file is, as far as it can be told without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub size: u64,
    /// Nanoseconds since 1970; the least number where nothing is known.
    pub modified: i64,
}

/// An open regular file.
pub struct OpenFile {
    file: File,
    pub state: FileState,
    written: Option<SystemTime>,
    reads: Cell<u32>,
    /// Until the first bytes have come.
    turn: Cell<Option<Turn>>,
}

/// Nanoseconds: two seconds on FAT.
const TICK: i128 = 2_000_000_000;

/// The seconds from 1980 to 2200.
const PLAUSIBLE: std::ops::Range<i64> = 315_532_800..7_258_118_400;

impl FoundFile {
    pub(super) fn new(path: PathBuf, received_on: Option<Date>) -> Self {
        FoundFile { path, received_on, permit: None }
    }

    /// A file that a row of the index names.
    pub fn named(path: PathBuf) -> Self {
        FoundFile::new(path, None)
    }

    /// One that may be recalled.
    pub fn permitted(self, permit: Permit) -> Self {
        FoundFile { permit: Some(permit), ..self }
    }

    /// One that is kept for later.
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

    /// One that was found by a former run.
    pub fn below(root: &Path, path: PathBuf) -> Self {
        let received_on = path.parent().and_then(|directory| layout::received_on(root, directory));
        FoundFile::new(path, received_on)
    }
}

impl<'a> Location<'a> {
    /// Only what tells where bytes are makes one.
    pub(super) fn new(path: Cow<'a, Path>, metadata: &Metadata, mount: Arc<Mount>, is_recalled: bool) -> Self {
        let (state, identity) = (FileState::of(metadata), identity(metadata));
        let had_blocks = !locality::occupies_none(metadata);
        Location { path, state, identity, mount, is_recalled, had_blocks, through: None, target: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is on slow storage, and comes from there.
    pub fn is_recalled(&self) -> bool {
        self.is_recalled
    }

    /// What a link or a pointer led to was looked at by a path without links: a directory on the way may be one by now,
    /// and lead anywhere.
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

    /// `None`: it is not what it was when it was looked at. Another file stands there, its bytes were moved away, or its
    /// mount answers slowly by now.
    pub fn open(&self) -> io::Result<Option<OpenFile>> {
        // What is recalled is slow, and says nothing of what is online.
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

    /// The state of the file at a path, with the time of modification of a link's target.
    pub fn at(path: &Path) -> io::Result<Self> {
        path.metadata().map(|metadata| FileState::of(&metadata))
    }

    /// When it was modified. `None` where the time says nothing: zero, or from before DICOM, or a century ahead.
    pub fn modified(self) -> Option<Timestamp> {
        let at = Timestamp::from_nanosecond(self.modified.into()).ok();
        at.filter(|at| PLAUSIBLE.contains(&at.as_second()))
    }

    /// Whether it would show if the file were written once more: not if that could happen within a tick of the clock
    /// that its time is taken from.
    pub fn tells_changes(self) -> bool {
        let now = Timestamp::now().as_nanosecond();
        self.is_known() && i128::from(self.modified) + TICK < now
    }

    /// Files whose time says nothing are never as they were.
    pub fn is_known(self) -> bool {
        self.modified != i64::MIN
    }
}

impl OpenFile {
    /// All bytes, or the first kilobyte of more than `most`.
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

    /// Whether what was read may be of two states of the file: it took several reads, and the file is not what it was
    /// when it was opened. One that another took the place of is still the old one while it is open.
    pub fn may_be_mixed(&self) -> bool {
        let is_as_opened = |now: Metadata| now.len() == self.state.size && now.modified().ok() == self.written;
        self.reads.get() > 1 && !self.file.metadata().is_ok_and(is_as_opened)
    }
}

/// From its beginning to its end.
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

/// O_NONBLOCK, so that a FIFO in the file's place does not hang the run; O_NOFOLLOW, so that a link is not followed
/// unseen; O_NOATIME, so that reading terabytes does not write to every inode. Only a file's owner may ask for that.
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
