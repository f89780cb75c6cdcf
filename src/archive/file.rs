//! A file that the walk found, and the only way to open one: read-only, without following a link, without waiting.

use std::cell::Cell;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::layout;
use crate::dicom::window::Source;

/// A regular file by its directory entry. Its path may mean something else by the time it is opened.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundFile {
    path: PathBuf,
    /// The day of receipt that its directory carries.
    pub received_on: Option<Date>,
}

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
}

/// Nanoseconds: two seconds on FAT.
const TICK: i128 = 2_000_000_000;

/// The seconds from 1980 to 2200.
const PLAUSIBLE: std::ops::Range<i64> = 315_532_800..7_258_118_400;

impl FoundFile {
    pub(super) fn new(path: PathBuf, received_on: Option<Date>) -> Self {
        FoundFile { path, received_on }
    }

    /// A file that a row of the index names.
    pub fn named(path: PathBuf) -> Self {
        FoundFile { path, received_on: None }
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
        FoundFile { path, received_on }
    }

    /// What it is now. It is not opened for that, and a link is not followed.
    pub fn state(&self) -> io::Result<FileState> {
        let metadata = self.path.symlink_metadata()?;
        match metadata.is_file() {
            true => Ok(FileState::of(&metadata)),
            false => Err(not_a_file()),
        }
    }

    pub fn open(&self) -> io::Result<OpenFile> {
        let file = open_read_only(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        let written = metadata.modified().ok();
        Ok(OpenFile { file, state: FileState::of(&metadata), written, reads: Cell::new(0) })
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no longer a regular file")
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let modified = modified.and_then(|at| at.as_nanosecond().try_into().ok());
        FileState { size: metadata.len(), modified: modified.unwrap_or(i64::MIN) }
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
    /// Whether what was read may be of two states of the file: it took several reads, and the file is not what it was
    /// when it was opened. One that another took the place of is still the old one while it is open.
    pub fn may_be_mixed(&self) -> bool {
        let is_as_opened = |now: Metadata| now.len() == self.state.size && now.modified().ok() == self.written;
        self.reads.get() > 1 && !self.file.metadata().is_ok_and(is_as_opened)
    }
}

impl Source for &OpenFile {
    #[cfg(unix)]
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    fn size(&self) -> Option<u64> {
        Some(self.state.size)
    }
}

/// O_NONBLOCK, so that a FIFO in the file's place does not hang the run; O_NOFOLLOW, so that a link is not followed
/// unseen; O_NOATIME, so that reading terabytes does not write to every inode. Only a file's owner may ask for that.
#[cfg(target_os = "linux")]
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
fn open_read_only(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
