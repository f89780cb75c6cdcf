//! A read-only file system that shows the files of a directory and fails with EIO where a test
//! requests it, as a disk with bad blocks does. Needs Linux with FUSE, and root or `fusermount3`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fuser::{
    BackgroundSession, Config, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request, Session,
};

use super::virtual_archive::mounts;

/// The kernel caches neither names nor attributes.
const TTL: Duration = Duration::ZERO;

/// The call that fails on a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Reading the metadata.
    Stat,
    /// Opening the file, or listing the directory.
    Open,
    /// Reading bytes from this offset onward.
    Read(u64),
}

/// A mounted file system. It is unmounted when it is dropped.
pub struct FailingDisk {
    mount_point: PathBuf,
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
}

impl FailingDisk {
    /// Mounts a file system that shows the files below `source` at `mount_point`.
    pub fn mount(source: &Path, mount_point: &Path) -> io::Result<Self> {
        mounts::detach_orphans();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName(mounts::source()), MountOption::RO];
        let state = State {
            source: source.to_owned(),
            paths: HashMap::new(),
            failures: HashMap::new(),
            errors: BTreeMap::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let session = Session::new(Handler(Arc::clone(&state)), mount_point, &config)?.spawn()?;
        Ok(FailingDisk { mount_point: mount_point.to_path_buf(), state, session: Some(session) })
    }

    /// From now on, fails calls on exactly these files, which are given by their paths below the
    /// mount point.
    pub fn fail(&self, failures: HashMap<PathBuf, Failure>) {
        let mut state = self.state.lock().unwrap();
        state.failures = failures;
        state.errors.clear();
    }

    /// Returns the files on which calls have failed, with the failed calls.
    pub fn errors(&self) -> BTreeMap<PathBuf, Failure> {
        self.state.lock().unwrap().errors.clone()
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        mounts::detach(&self.mount_point);
        drop(self.session.take());
    }
}

struct State {
    source: PathBuf,
    /// The path, below the source, of each inode that the kernel has looked up.
    paths: HashMap<u64, PathBuf>,
    failures: HashMap<PathBuf, Failure>,
    errors: BTreeMap<PathBuf, Failure>,
}

impl State {
    fn path(&self, inode: INodeNo) -> io::Result<PathBuf> {
        if inode == INodeNo::ROOT {
            return Ok(PathBuf::new());
        }
        self.paths.get(&inode.0).cloned().ok_or(io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// Returns an error if the call must fail.
    fn check(&mut self, path: &Path, call: impl Fn(Failure) -> bool) -> io::Result<()> {
        match self.failures.get(path).copied().filter(|failure| call(*failure)) {
            Some(failure) => {
                self.errors.insert(path.to_owned(), failure);
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            None => Ok(()),
        }
    }

    fn stat(&mut self, path: &Path) -> io::Result<FileAttr> {
        self.check(path, |failure| failure == Failure::Stat)?;
        let metadata = fs::symlink_metadata(self.source.join(path))?;
        let is_root = path.as_os_str().is_empty();
        let inode = if is_root { INodeNo::ROOT } else { INodeNo(metadata.ino()) };
        Ok(FileAttr {
            ino: inode,
            size: metadata.len(),
            blocks: metadata.blocks(),
            atime: metadata.accessed()?,
            mtime: metadata.modified()?,
            ctime: metadata.modified()?,
            crtime: metadata.modified()?,
            kind: if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile },
            perm: (metadata.mode() & 0o7777) as u16,
            nlink: metadata.nlink() as u32,
            uid: metadata.uid(),
            gid: metadata.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn lookup(&mut self, parent: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let path = self.path(parent)?.join(name);
        let attributes = self.stat(&path)?;
        self.paths.insert(attributes.ino.0, path);
        Ok(attributes)
    }

    fn open(&mut self, inode: INodeNo) -> io::Result<()> {
        let path = self.path(inode)?;
        self.check(&path, |failure| failure == Failure::Open)
    }

    /// Reads up to the first unreadable byte.
    fn read(&mut self, inode: INodeNo, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        let path = self.path(inode)?;
        self.check(&path, |failure| matches!(failure, Failure::Read(from) if from <= offset))?;
        let readable = match self.failures.get(&path) {
            Some(Failure::Read(from)) => from - offset,
            _ => u64::MAX,
        };
        let mut bytes = vec![0; readable.min(u64::from(size)) as usize];
        let count = File::open(self.source.join(path))?.read_at(&mut bytes, offset)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn list(&mut self, inode: INodeNo) -> io::Result<Vec<(OsString, u64, FileType)>> {
        let path = self.path(inode)?;
        self.check(&path, |failure| failure == Failure::Open)?;
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() { FileType::Directory } else { FileType::RegularFile };
            Ok((entry.file_name(), entry.metadata()?.ino(), kind))
        };
        let mut entries: Vec<_> = fs::read_dir(self.source.join(path))?.map(entry).collect::<io::Result<_>>()?;
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }
}

struct Handler(Arc<Mutex<State>>);

impl Handler {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Filesystem for Handler {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.state().lookup(parent, name) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let mut state = self.state();
        match state.path(inode).and_then(|path| state.stat(&path)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.state().open(inode) {
            // Without the page cache, each read call of a program reaches this file system.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().read(inode, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.state().list(inode) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error.into()),
        };
        for (place, (name, number, kind)) in (1..).zip(entries).skip(offset as usize) {
            if reply.add(INodeNo(number), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
