//! The disk of the archive: its free space, whether it is rotational, and whether it is still
//! mounted.

use std::io;
use std::path::Path;

use super::{CopyAccess, Sources};
use crate::archive::walk::{Found, Walk};

/// Upper limit, in bytes, of the space that is left free for images that arrive during the import.
/// 1 % of the disk is left free, up to this limit.
#[cfg(target_os = "linux")]
const MOST_LEFT_FREE: u64 = 1 << 30;

/// Returns the number of bytes that may be written to the disk of a directory. `None` if the file
/// system does not report its free space.
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

/// The number of files of a directory to read or write at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtATime {
    /// An optical disk, which has long seek times.
    One = 1,
    /// A rotational disk: one file is read while another waits until its data are written.
    Two = 2,
    /// Other disks, and network file systems, whose disks are unknown.
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
        // A partition has no `queue` directory. The directory of its disk has one.
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

/// The identity of the archive directory: device and inode. The identity differs if the archive was
/// unmounted and the directory below the mount point shows through.
pub struct Mark {
    archive: std::path::PathBuf,
    is: Option<(u64, u64)>,
}

impl Mark {
    pub fn of(archive: &Path) -> Self {
        Mark { archive: archive.to_owned(), is: identity(archive) }
    }

    /// Returns an error if the path is another directory now.
    pub fn check(&self) -> io::Result<()> {
        match identity(&self.archive) == self.is {
            true => Ok(()),
            false => Err(io::Error::other("the archive is another directory now: is it still mounted?")),
        }
    }

    /// Creates a directory below the archive, with the access of the archive, if the archive is
    /// still the same directory.
    pub fn make_directory(&self, directory: &Path, access: &CopyAccess) -> io::Result<()> {
        self.check()?;
        if directory.is_dir() {
            return Ok(());
        }
        let is_new = |above: &&Path| *above != self.archive && !above.is_dir();
        let new: Vec<&Path> = directory.ancestors().take_while(is_new).collect();
        std::fs::create_dir_all(directory)?;
        new.into_iter().try_for_each(|new| access.give_directory(new))?;
        // The names of new directories are stored in their parent directories, which are synced
        // too.
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

/// Syncs the names in a directory to disk. Ignores the error of file systems that do not support
/// this.
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

/// Returns the total size, in bytes, of the files below the sources.
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
    // Errors are ignored: if the size is too small, the import detects later that the disk is full.
    let _ = Walk::new(sources.roots.paths(), threads, sources.locator.skipped_directories()).run(&add);
    size.into_inner()
}
