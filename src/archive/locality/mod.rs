//! Where the bytes of a file are, told from metadata alone: reading a file whose bytes have moved to slower storage
//! brings them back, and a run over an archive must not bring back a library of tapes.
//!
//! What tells is a file of this room and one line of `TRAITS`. Each answers from what `lstat` gave, or asks one extended
//! attribute, where the file system has it. One that should answer and does not leaves the file unknown, which is never
//! online.

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

/// What tells that a file is not online, in the order in which it is asked.
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
    /// It comes by itself when it is read, and takes its time.
    Nearline,
    /// Somebody has to do something first: mount, or ask another system.
    Offline,
    /// It is not to be had.
    Unavailable,
    /// Never taken for online.
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

    /// As DICOM calls it: Instance Availability (0008,0056), PS3.3 C.4.23.1.1. What is not known may come or not, as
    /// what is nearline may.
    pub fn availability(self) -> &'static str {
        match self {
            Locality::Online => "ONLINE",
            Locality::Nearline | Locality::Unknown => "NEARLINE",
            Locality::Offline => "OFFLINE",
            Locality::Unavailable => "UNAVAILABLE",
        }
    }

    /// What can be had with less effort is nearer.
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

/// What the kind and the locality of a stub rest on.
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

/// What stands in the archive for an image that is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    pub kind: &'static str,
    pub confidence: Confidence,
    pub locality: Locality,
    /// Where it leads, as it says.
    pub target: Option<String>,
    /// Bytes of the image, where that is known.
    pub claimed_size: Option<u64>,
    /// What told, and what can be done.
    pub why: String,
    /// Where it is mounted, if its bytes may come by reading.
    pub mount: Option<PathBuf>,
}

impl Stub {
    pub fn proven(kind: &'static str, locality: Locality, why: impl Into<String>) -> Self {
        let confidence = Confidence::Proven;
        Stub { kind, confidence, locality, target: None, claimed_size: None, why: why.into(), mount: None }
    }

    /// A permit can open it: its bytes come by reading.
    pub fn can_be_recalled(&self) -> bool {
        self.locality.can_be_recalled() && self.mount.is_some()
    }

    /// A link that leads to a link, and so on.
    pub fn too_far() -> Self {
        Stub::proven("chain of links", Locality::Unavailable, "too many of them, or a file that changes all the time")
    }

    /// A file system that should answer and does not.
    fn unknown(kind: &'static str, asked: &str, error: &io::Error) -> Self {
        Stub { confidence: Confidence::Heuristic, ..Stub::proven(kind, Locality::Unknown, format!("{asked}: {error}")) }
    }
}

/// Directories that somebody has declared, without links.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Of storage that gives no sign of what it has moved away.
    pub nearline: Vec<PathBuf>,
    /// The number of blocks says nothing there.
    pub online: Vec<PathBuf>,
}

impl Declared {
    pub fn is_empty(&self) -> bool {
        self.nearline.is_empty() && self.online.is_empty()
    }
}

/// What is known of a file without opening it.
pub struct Facts<'a> {
    pub path: &'a Path,
    pub is_link: bool,
    pub size: u64,
    /// Of 512 bytes. `None` where the system does not tell.
    pub blocks: Option<u64>,
    /// Where the system itself has them.
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

    /// Why the file may not be read as it is. `None`: it is online.
    pub fn tell(&self) -> Option<Stub> {
        let stub = TRAITS.iter().find_map(|tells| tells(self))?;
        let claimed_size = stub.claimed_size.or((!self.is_link).then_some(self.size));
        Some(Stub { claimed_size, mount: Some(self.mount.point.clone()), ..stub })
    }

    /// Both without links.
    fn is_below(&self, directories: &[PathBuf]) -> bool {
        directories.iter().any(|directory| self.path.starts_with(directory))
    }
}

/// Reading there was given up, since files that were called online answered slowly.
fn slow(facts: &Facts) -> Option<Stub> {
    facts.mount.breaker.is_open().then(|| Stub {
        confidence: Confidence::Heuristic,
        ..Stub::proven("on a mount that answers slowly", Locality::Unknown, "reading there was given up in this run")
    })
}

#[cfg(test)]
mod tests;
