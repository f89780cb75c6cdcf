//! A virtual archive of any size that is not stored on disk: a file system that generates each file
//! from its number when it is read. It applies the configured latencies and counts requests.
//!
//! Needs Linux with FUSE, and root or `fusermount3`.

// Each crate that includes this module uses a part of it.
#![allow(dead_code)]

mod counts;
mod filesystem;
pub mod mounts;
mod template;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session};

pub use counts::Counts;
use tree::{Shape, Tree};

/// How a file answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Ordinary,
    /// The data is stored elsewhere (`st_blocks` is 0). A read recalls the file, which takes this
    /// time and is counted.
    Offline(Duration),
    /// Each read takes this time.
    Slow(Duration),
    /// Opening the file fails: ENOENT.
    Vanished,
    /// Reading the file fails: EIO.
    Broken,
}

/// How long each request takes, regardless of parallel requests. Listing a directory takes one
/// `readdir` per kernel buffer, which holds some hundred names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    pub lookup: Duration,
    pub getattr: Duration,
    pub open: Duration,
    pub read: Duration,
    pub readdir: Duration,
}

#[derive(Clone)]
pub struct Options {
    pub tree: Tree,
    pub latency: Latency,
    /// The maximum number of requests served at a time; further requests wait.
    pub threads: usize,
    /// How long the kernel caches names and attributes. With zero, it asks each time, also for
    /// every directory on the path.
    pub ttl: Duration,
    /// Whether the kernel caches file data and reads ahead as it does on a disk. Otherwise its
    /// reads are those of the programs.
    pub page_cache: bool,
    /// The behaviour of a file, by its number.
    pub behaviour: Arc<dyn Fn(u64) -> Behaviour + Send + Sync>,
}

impl Options {
    pub fn new(files: u64) -> Self {
        let tree = Tree {
            files,
            per_day: 2000,
            per_directory: None,
            per_series: 100,
            random_uids: false,
            shape: Shape::Usual,
        };
        Options {
            tree,
            latency: Latency::default(),
            threads: 64,
            ttl: Duration::from_secs(1),
            page_cache: true,
            behaviour: Arc::new(|_| Behaviour::Ordinary),
        }
    }
}

/// A mounted archive. It is unmounted when this value is dropped.
pub struct VirtualArchive {
    mount_point: PathBuf,
    counts: Arc<Counts>,
    session: Option<BackgroundSession>,
}

impl VirtualArchive {
    pub fn mount(mount_point: &Path, options: Options) -> io::Result<Self> {
        mounts::detach_orphans();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName(mounts::source()), MountOption::RO, MountOption::NoAtime];
        config.n_threads = Some(options.threads);
        config.clone_fd = true;
        let counts = Arc::new(Counts::default());
        let files = filesystem::VirtualFiles::new(options, Arc::clone(&counts));
        let session = Session::new(files, mount_point, &config)?.spawn()?;
        Ok(VirtualArchive { mount_point: mount_point.to_path_buf(), counts, session: Some(session) })
    }

    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns whether the archive was unmounted from outside.
    pub fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }
}

impl Drop for VirtualArchive {
    /// Unmounts lazily: files that a program still holds open must neither keep the directory
    /// mounted nor block this thread.
    fn drop(&mut self) {
        if !self.is_over() {
            mounts::detach(&self.mount_point);
        }
        drop(self.session.take());
    }
}
