//! The properties of the file systems that hold the files: their kind, which determines the
//! attributes that can be queried; whether the number of blocks is meaningful there; and how fast
//! they answer.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::breaker::{self, Breaker};
use super::mount_table;

/// Reads the extended attributes of files. `None` means that the file has no attribute of this
/// name.
pub trait Attributes: Send + Sync {
    fn get(&self, path: &Path, name: &str) -> io::Result<Option<Vec<u8>>>;
}

/// The maximum length of an attribute's value, in bytes. No attribute that is queried is longer.
const LONGEST: usize = 16 * 1024;

/// Reads the extended attributes from the operating system.
pub struct OfSystem;

pub struct Mount {
    pub point: PathBuf,
    pub file_system: String,
    attributes: Arc<dyn Attributes>,
    is_ntfs: OnceLock<bool>,
    blocks_tell: AtomicBool,
    without_blocks: AtomicU64,
    pub breaker: Breaker,
}

impl Mount {
    pub fn new(point: PathBuf, file_system: &str, attributes: Arc<dyn Attributes>, limits: breaker::Limits) -> Self {
        Mount {
            point,
            file_system: file_system.into(),
            attributes,
            is_ntfs: OnceLock::new(),
            blocks_tell: AtomicBool::new(false),
            without_blocks: AtomicU64::new(0),
            breaker: Breaker::new(limits),
        }
    }

    pub fn attribute(&self, path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.attributes.get(path, name)
    }

    /// Whether the mount is an NTFS file system. To the kernel, ntfs-3g is a FUSE file system like
    /// any other, so the first file is queried for an attribute of NTFS.
    pub fn is_ntfs(&self, asked: impl FnOnce() -> io::Result<Option<Vec<u8>>>) -> bool {
        match self.is_ntfs.get() {
            Some(known) => *known,
            None if self.file_system == "ntfs3" => true,
            None if self.is_fuse() => match asked() {
                Ok(reply) => *self.is_ntfs.get_or_init(|| reply.is_some()),
                // The caller repeats the query. If it fails again, the locality of the file is
                // unknown.
                Err(_) => true,
            },
            None => false,
        }
    }

    /// Whether a link may be on NTFS. True on a FUSE mount of which no file has been queried yet.
    pub fn may_be_ntfs(&self) -> bool {
        self.file_system == "ntfs3" || self.is_fuse() && *self.is_ntfs.get().unwrap_or(&true)
    }

    fn is_fuse(&self) -> bool {
        self.file_system.starts_with("fuse")
    }

    /// Records that a file of at least the minimum size occupies blocks, so that their number is
    /// meaningful on this mount.
    pub fn blocks_tell(&self) {
        if !self.blocks_tell.load(Relaxed) {
            self.blocks_tell.store(true, Relaxed);
        }
    }

    pub fn without_blocks(&self) {
        self.without_blocks.fetch_add(1, Relaxed);
    }

    /// The number of files without blocks, if no file on the mount occupies any: either all of them
    /// are offline, or the number of blocks is meaningless there.
    fn in_doubt(&self) -> Option<u64> {
        Some(self.without_blocks.load(Relaxed)).filter(|files| *files > 0 && !self.blocks_tell.load(Relaxed))
    }
}

pub struct Mounts {
    /// The first mount that was found, with its device number. Most archives are on a single mount.
    first: OnceLock<(u64, Arc<Mount>)>,
    known: RwLock<HashMap<u64, Arc<Mount>>>,
    attributes: Arc<dyn Attributes>,
    limits: breaker::Limits,
}

impl Mounts {
    pub fn new(limits: breaker::Limits) -> Self {
        Mounts { first: OnceLock::new(), known: RwLock::default(), attributes: Arc::new(OfSystem), limits }
    }

    /// The mount of a file.
    pub fn of(&self, path: &Path, metadata: &Metadata) -> Arc<Mount> {
        let device = device(metadata);
        if let Some((of, mount)) = self.first.get()
            && *of == device
        {
            return mount.clone();
        }
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&device) {
            return known.clone();
        }
        let (point, file_system) =
            mount_table::mount_of(path, device).unwrap_or_else(|| (PathBuf::from("/"), "".into()));
        let mount = || Arc::new(Mount::new(point, &file_system, self.attributes.clone(), self.limits));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mount = known.entry(device).or_insert_with(mount).clone();
        self.first.get_or_init(|| (device, mount.clone()));
        mount
    }

    pub fn all(&self) -> Vec<Arc<Mount>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The mount points where the circuit breaker is open, because files answered slowly.
    pub fn given_up(&self) -> Vec<PathBuf> {
        let slow = self.all().into_iter().filter(|mount| mount.breaker.is_open());
        slow.map(|mount| mount.point.clone()).collect()
    }

    /// The mount points where it is unknown whether the number of blocks is meaningful, with the
    /// number of files that this concerns.
    pub fn in_doubt(&self) -> Vec<(PathBuf, u64)> {
        self.all().iter().filter_map(|mount| Some((mount.point.clone(), mount.in_doubt()?))).collect()
    }
}

#[cfg(unix)]
fn device(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

#[cfg(not(unix))]
fn device(_: &Metadata) -> u64 {
    0
}

#[cfg(target_os = "linux")]
impl Attributes for OfSystem {
    fn get(&self, path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
        use rustix::io::Errno;
        let mut bytes = vec![0; 256];
        loop {
            match rustix::fs::lgetxattr(path, name, &mut bytes[..]) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(Some(bytes));
                }
                // The file has no attribute of this name, or the file system does not support
                // attributes.
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
                Err(Errno::RANGE) if bytes.len() < LONGEST => bytes.resize(LONGEST, 0),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Attributes for OfSystem {
    fn get(&self, _: &Path, _: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}
