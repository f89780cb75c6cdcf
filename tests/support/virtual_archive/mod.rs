//! An archive of any size that lies on no disk: a file system whose files are made as they are read, each from its
//! number alone. It takes the time that it is told to take, and counts what it is asked for.
//!
//! Needs Linux with FUSE, and root or `fusermount3`.

// Each of those who share it needs a part of it.
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

/// How a file answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Ordinary,
    /// Its data lie elsewhere (`st_blocks` is 0). A read brings them back, which takes a while and is counted.
    Offline(Duration),
    /// Each read takes so long.
    Slow(Duration),
    /// Gone when it is opened: ENOENT.
    Vanished,
    /// Cannot be read: EIO.
    Broken,
}

/// How long each request takes, whoever else waits meanwhile. A listing takes one `readdir` for every buffer of the
/// kernel's, some hundred names.
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
    /// As many requests are served at a time; further ones wait.
    pub threads: usize,
    /// So long does the kernel believe what it was told of a name or a file. With zero it asks each time: for every
    /// directory on the way as well.
    pub ttl: Duration,
    /// Whether the kernel keeps what was read, and reads ahead as it does on a disk; else it asks for what programs
    /// ask for.
    pub page_cache: bool,
    /// By the number of the file.
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

/// A mounted archive. It is unmounted when this is dropped.
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

    /// Whether somebody has unmounted it.
    pub fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }
}

impl Drop for VirtualArchive {
    /// What a program still holds open must neither keep the directory mounted nor this thread waiting.
    fn drop(&mut self) {
        if !self.is_over() {
            mounts::detach(&self.mount_point);
        }
        drop(self.session.take());
    }
}
