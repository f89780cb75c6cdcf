//! The disk of the archive: how much room it has, whether its heads move, whether it is still there.

use std::io;
use std::path::Path;

use super::{CopyAccess, Sources};
use crate::archive::walk::{Found, Walk};

/// So much is left free, for the images that come meanwhile: a hundredth of the disk, and no more than this.
#[cfg(target_os = "linux")]
const MOST_LEFT_FREE: u64 = 1 << 30;

/// How many bytes may be written to the disk of a directory. `None` where it does not tell.
#[cfg(target_os = "linux")]
pub fn room(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let left_free = (disk.f_blocks.saturating_mul(disk.f_frsize) / 100).min(MOST_LEFT_FREE);
    Some(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(left_free))
}

#[cfg(not(target_os = "linux"))]
pub fn room(_: &Path) -> Option<u64> {
    None
}

/// How many files of a directory are best read or written at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtATime {
    /// On an optical disk, which is slow to find anything.
    One = 1,
    /// On a disk whose heads move: one is read while another waits for what it has written.
    Two = 2,
    /// On others, and over a network, of which nothing is known.
    Four = 4,
}

impl AtATime {
    #[cfg(target_os = "linux")]
    #[expect(clippy::disallowed_methods, reason = "a file of the system")]
    pub fn of(directory: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        const OPTICAL: u32 = 11;
        let Ok(metadata) = directory.metadata() else { return AtATime::Four };
        let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        let device = format!("/sys/dev/block/{major}:{minor}");
        // A partition says nothing of itself: the disk above it does.
        let tells = ["queue/rotational", "../queue/rotational"].map(|file| Path::new(&device).join(file));
        let has_heads = tells.iter().find_map(|file| std::fs::read_to_string(file).ok());
        match has_heads {
            _ if major == OPTICAL => AtATime::One,
            Some(text) if text.trim() == "1" => AtATime::Two,
            _ => AtATime::Four,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn of(_: &Path) -> Self {
        AtATime::Two
    }
}

/// What tells the directory of the archive from another in its place: the one that a mount had covered.
pub struct Mark {
    archive: std::path::PathBuf,
    is: Option<(u64, u64)>,
}

impl Mark {
    pub fn of(archive: &Path) -> Self {
        Mark { archive: archive.to_owned(), is: identity(archive) }
    }

    /// An error where it is another one now.
    pub fn check(&self) -> io::Result<()> {
        match identity(&self.archive) == self.is {
            true => Ok(()),
            false => Err(io::Error::other("the archive is another directory now: is it still mounted?")),
        }
    }

    /// Makes a directory below the archive, as long as that is where it was, with the access of the archive.
    pub fn make_directory(&self, directory: &Path, access: &CopyAccess) -> io::Result<()> {
        self.check()?;
        if directory.is_dir() {
            return Ok(());
        }
        let is_new = |above: &&Path| *above != self.archive && !above.is_dir();
        let new: Vec<&Path> = directory.ancestors().take_while(is_new).collect();
        std::fs::create_dir_all(directory)?;
        new.into_iter().try_for_each(|new| access.give_directory(new))?;
        // The names of those that are new stand in the ones above.
        let mut above = directory.ancestors().skip(1).take_while(|above| above.starts_with(&self.archive));
        above.try_for_each(sync_directory)
    }
}

#[cfg(unix)]
fn identity(directory: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    directory.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(directory: &Path) -> Option<(u64, u64)> {
    directory.metadata().ok().map(|_| (0, 0))
}

/// The names in a directory are on the disk. Not every file system knows how.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "a directory")]
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match std::fs::File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The total size in bytes of the files below the sources.
pub fn size_of(sources: &Sources, threads: usize) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    let size = AtomicU64::new(0);
    let add = |found: Found| {
        if let Found::Files(files) = found {
            let sizes = files.iter().filter_map(|file| file.path().symlink_metadata().ok()).map(|file| file.len());
            size.fetch_add(sizes.sum(), Relaxed);
        }
        Ok(())
    };
    // Where it cannot be told, it shows when the disk is full.
    let _ = Walk::new(sources.roots.paths(), threads, sources.locator.skipped_directories()).run(&add);
    size.into_inner()
}
