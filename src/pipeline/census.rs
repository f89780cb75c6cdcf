//! Counts the files ahead of the work, in a walk of its own. The walk that feeds the readers is
//! held up by their backpressure, so the walk would know the total only at the end.
//!
//! The extra walk lists each directory once more, which brings the directory into the cache for the
//! main walk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::{Files, Sources};
use crate::archive::walk::{Enough, Found};

#[derive(Debug, Default)]
pub struct Census {
    pub files: AtomicU64,
    pub directories_listed: AtomicU64,
    pub directories_known: AtomicU64,
    pub complete: AtomicBool,
}

impl Census {
    /// Returns the number of files, once all of them are counted.
    pub fn total(&self) -> Option<u64> {
        self.complete.load(Relaxed).then(|| self.files.load(Relaxed))
    }

    pub fn count(&self, sources: &Sources<'_>) {
        if let Files::Recorded(shards) = sources.files {
            self.files.store(shards.files, Relaxed);
            return self.complete.store(true, Relaxed);
        }
        self.directories_known.fetch_add(sources.roots.paths().len() as u64, Relaxed);
        let sink = |found: Found| {
            match found {
                Found::Files(files) => self.files.fetch_add(files.len() as u64, Relaxed),
                Found::Special(_) | Found::Unreadable { .. } => self.files.fetch_add(1, Relaxed),
                Found::Directory { put_aside, .. } => {
                    self.directories_known.fetch_add(put_aside as u64, Relaxed);
                    self.directories_listed.fetch_add(1, Relaxed)
                }
                Found::UnreadableDirectory { .. } | Found::SkippedDirectory { .. } | Found::Earlier(_) => 0,
            };
            if sources.stop.is_set() { Err(Enough) } else { Ok(()) }
        };
        let walked = sources.walk().run(&sink);
        self.complete.store(walked.is_ok() && !sources.stop.is_set(), Relaxed);
    }
}
