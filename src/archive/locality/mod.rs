//! Determines from metadata alone where the data of a file is: reading a file whose data has moved
//! to slower storage recalls the data, and a run over an archive must not recall a tape library.
//!
//! Each detector is a file of this module and one line of `TRAITS`. A detector uses the result of
//! `lstat`, or queries one extended attribute if the file system has it. If a query fails that
//! should succeed, the locality of the file is unknown, which never counts as online.

mod blocks;
mod cifs;
mod declared;
mod dos;
mod lustre;
mod ntfs;

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

pub use blocks::occupies_none;

use super::mount::Mount;

/// The detectors of files that are not online, in the order in which they run.
const TRAITS: &[fn(&Facts) -> Option<Stub>] = &[
    declared::nearline,
    slow,
    dos::on_windows,
    ntfs::reparse_point,
    ntfs::attributes,
    cifs::attributes,
    lustre::state,
    blocks::none,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Locality {
    Online,
    /// Reading the file recalls its data, which takes time.
    Nearline,
    /// The data requires an action before it can be read: a mount, or a request to another system.
    Offline,
    /// The data cannot be obtained.
    Unavailable,
    /// The locality could not be determined. Never treated as online.
    Unknown,
}

impl Locality {
    pub fn name(self) -> &'static str {
        match self {
            Locality::Online => "online",
            Locality::Nearline => "nearline",
            Locality::Offline => "offline",
            Locality::Unavailable => "unavailable",
            Locality::Unknown => "unknown",
        }
    }

    /// The term of DICOM: Instance Availability (0008,0056), PS3.3 C.4.23.1.1. Data of unknown
    /// locality is reported as nearline, since in both cases the data may or may not arrive.
    pub fn availability(self) -> &'static str {
        match self {
            Locality::Online => "ONLINE",
            Locality::Nearline | Locality::Unknown => "NEARLINE",
            Locality::Offline => "OFFLINE",
            Locality::Unavailable => "UNAVAILABLE",
        }
    }

    /// The rank of a locality. Data that takes less effort to obtain has a smaller distance.
    pub fn distance(self) -> u8 {
        match self {
            Locality::Online => 0,
            Locality::Nearline => 1,
            Locality::Unknown => 2,
            Locality::Offline => 3,
            Locality::Unavailable => 4,
        }
    }

    fn can_be_recalled(self) -> bool {
        matches!(self, Locality::Nearline | Locality::Unknown)
    }
}

/// The basis for the kind and the locality of a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    Proven,
    Heuristic,
    Configured,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Proven => "proven",
            Confidence::Heuristic => "heuristic",
            Confidence::Configured => "configured",
        }
    }
}

/// A file or link in the archive that represents an image whose data is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    pub kind: &'static str,
    pub confidence: Confidence,
    pub locality: Locality,
    /// The target, in the spelling of the link or pointer.
    pub target: Option<String>,
    /// The size of the image in bytes, if known.
    pub claimed_size: Option<u64>,
    /// The evidence, and the action that the operator can take.
    pub why: String,
    /// The mount point, if reading the file may recall its data.
    pub mount: Option<PathBuf>,
}

impl Stub {
    pub fn proven(kind: &'static str, locality: Locality, why: impl Into<String>) -> Self {
        let confidence = Confidence::Proven;
        Stub { kind, confidence, locality, target: None, claimed_size: None, why: why.into(), mount: None }
    }

    /// Whether the file can be opened with a permit, since reading it recalls its data.
    pub fn can_be_recalled(&self) -> bool {
        self.locality.can_be_recalled() && self.mount.is_some()
    }

    /// The stub for a chain of links that is too long to follow.
    pub fn too_far() -> Self {
        Stub::proven("chain of links", Locality::Unavailable, "too many of them, or a file that changes all the time")
    }

    /// The stub for a file whose file system failed to answer a query that it should support.
    fn unknown(kind: &'static str, asked: &str, error: &io::Error) -> Self {
        Stub { confidence: Confidence::Heuristic, ..Stub::proven(kind, Locality::Unknown, format!("{asked}: {error}")) }
    }
}

/// Directories that the site has declared, as paths without links.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Directories on storage that gives no sign of the data that it has moved away.
    pub nearline: Vec<PathBuf>,
    /// Directories where the number of blocks is meaningless.
    pub online: Vec<PathBuf>,
}

impl Declared {
    pub fn is_empty(&self) -> bool {
        self.nearline.is_empty() && self.online.is_empty()
    }
}

/// The properties of a file that are known without opening it.
pub struct Facts<'a> {
    pub path: &'a Path,
    pub is_link: bool,
    pub size: u64,
    /// The number of blocks of 512 bytes. `None` if the system does not report it.
    pub blocks: Option<u64>,
    /// The file attributes of Windows, if the operating system provides them.
    pub dos_attributes: Option<u32>,
    pub mount: &'a Mount,
    pub declared: &'a Declared,
}

impl<'a> Facts<'a> {
    pub fn of(path: &'a Path, metadata: &Metadata, mount: &'a Mount, declared: &'a Declared) -> Self {
        Facts {
            path,
            is_link: metadata.is_symlink(),
            size: metadata.len(),
            blocks: blocks::of(metadata),
            dos_attributes: dos::of(metadata),
            mount,
            declared,
        }
    }

    /// Returns the stub that explains why the file may not be read as an online file, or `None` if
    /// the file is online.
    pub fn tell(&self) -> Option<Stub> {
        let stub = TRAITS.iter().find_map(|tells| tells(self))?;
        let claimed_size = stub.claimed_size.or((!self.is_link).then_some(self.size));
        Some(Stub { claimed_size, mount: Some(self.mount.point.clone()), ..stub })
    }

    /// Whether the file is below one of the directories. All paths are without links.
    fn is_below(&self, directories: &[PathBuf]) -> bool {
        directories.iter().any(|directory| self.path.starts_with(directory))
    }
}

/// Detects a mount whose circuit breaker is open, because files that were classified as online
/// answered slowly.
fn slow(facts: &Facts) -> Option<Stub> {
    facts.mount.breaker.is_open().then(|| Stub {
        confidence: Confidence::Heuristic,
        ..Stub::proven("on a mount that answers slowly", Locality::Unknown, "reading there was given up in this run")
    })
}

#[cfg(test)]
mod tests;
