//! An in-memory file system that on request forgets everything that was not synced, as a disk does
//! when its machine loses power.
//!
//! As on journaling file systems, syncing a file stores its content and the names under which the
//! file and its directories were created. A rename or removal is stored by syncing the directory.
//! Needs Linux with FUSE, and root or `fusermount3`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow, WriteFlags,
};

use super::virtual_archive::mounts;

/// The kernel caches neither names nor attributes.
const TTL: Duration = Duration::ZERO;

/// A mounted file system. It is unmounted when it is dropped.
pub struct VolatileDisk {
    mount_point: PathBuf,
    content: Arc<Mutex<Content>>,
    session: Option<BackgroundSession>,
}

impl VolatileDisk {
    pub fn mount(mount_point: &Path) -> io::Result<Self> {
        mounts::detach_orphans();
        std::fs::create_dir_all(mount_point)?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName(mounts::source())];
        let content = Arc::new(Mutex::new(Content::new()));
        let session = Session::new(Handler(Arc::clone(&content)), mount_point, &config)?.spawn()?;
        Ok(VolatileDisk { mount_point: mount_point.to_path_buf(), content, session: Some(session) })
    }

    /// Forgets everything that was not synced. Returns the number of bytes that files lost.
    pub fn lose_unsynced(&self) -> u64 {
        let mut content = self.content.lock().unwrap();
        let mut lost = 0;
        for inode in content.inodes.values_mut() {
            let synced = inode.synced.clone();
            lost += inode.bytes.len().saturating_sub(synced.len()) as u64;
            lost += inode.bytes.iter().zip(&synced).filter(|(now, then)| now != then).count() as u64;
            inode.bytes = synced;
            inode.entries = inode.synced_entries.clone();
        }
        lost
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        mounts::detach(&self.mount_point);
        drop(self.session.take());
    }
}

/// A file, or a directory with its entries.
struct Inode {
    kind: FileType,
    mode: u16,
    parent: u64,
    /// Whether the name comes from a rename, which only a sync of the directory stores.
    is_renamed: bool,
    modified: SystemTime,
    bytes: Vec<u8>,
    synced: Vec<u8>,
    entries: BTreeMap<OsString, u64>,
    synced_entries: BTreeMap<OsString, u64>,
}

struct Content {
    /// Inodes without a name are kept, because a name whose removal was not synced may come back.
    inodes: HashMap<u64, Inode>,
    next: u64,
}

type Answer<T> = Result<T, Errno>;

impl Content {
    fn new() -> Self {
        let mut content = Content { inodes: HashMap::new(), next: 1 };
        content.add(FileType::Directory, 0o777, 1);
        content
    }

    fn add(&mut self, kind: FileType, mode: u32, parent: u64) -> u64 {
        let inode = Inode {
            kind,
            mode: (mode & 0o7777) as u16,
            parent,
            is_renamed: false,
            modified: SystemTime::now(),
            bytes: Vec::new(),
            synced: Vec::new(),
            entries: BTreeMap::new(),
            synced_entries: BTreeMap::new(),
        };
        self.inodes.insert(self.next, inode);
        self.next += 1;
        self.next - 1
    }

    fn inode(&mut self, number: u64) -> Answer<&mut Inode> {
        self.inodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    fn child(&mut self, parent: u64, name: &OsStr) -> Answer<u64> {
        self.inode(parent)?.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn create(&mut self, parent: u64, name: &OsStr, kind: FileType, mode: u32) -> Answer<u64> {
        if self.child(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.add(kind, mode, parent);
        self.inode(parent)?.entries.insert(name.to_owned(), number);
        Ok(number)
    }

    fn remove(&mut self, parent: u64, name: &OsStr) -> Answer<()> {
        let number = self.child(parent, name)?;
        if !self.inode(number)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.inode(parent)?.entries.remove(name);
        Ok(())
    }

    fn rename(
        &mut self,
        (parent, name): (u64, &OsStr),
        (target, new_name): (u64, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        let number = self.child(parent, name)?;
        if !flags.is_empty() && self.child(target, new_name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.inode(parent)?.entries.remove(name);
        self.inode(target)?.entries.insert(new_name.to_owned(), number);
        let inode = self.inode(number)?;
        (inode.parent, inode.is_renamed) = (target, true);
        Ok(())
    }

    fn write(&mut self, number: u64, offset: usize, data: &[u8]) -> Answer<()> {
        let inode = self.inode(number)?;
        let end = offset + data.len();
        if inode.bytes.len() < end {
            inode.bytes.resize(end, 0);
        }
        inode.bytes[offset..end].copy_from_slice(data);
        inode.modified = SystemTime::now();
        Ok(())
    }

    /// Stores a file, and the names under which the file and its directories were created.
    fn sync(&mut self, number: u64) -> Answer<()> {
        let inode = self.inode(number)?;
        inode.synced = inode.bytes.clone();
        let mut number = number;
        while number != 1 {
            let (parent, is_renamed) = (self.inode(number)?.parent, self.inode(number)?.is_renamed);
            let directory = self.inode(parent)?;
            let names: Vec<_> = directory.entries.iter().filter(|(_, child)| **child == number).collect();
            let names: Vec<_> = names.into_iter().map(|(name, child)| (name.clone(), *child)).collect();
            if !is_renamed {
                directory.synced_entries.extend(names);
            }
            number = parent;
        }
        Ok(())
    }

    fn sync_directory(&mut self, number: u64) -> Answer<()> {
        let directory = self.inode(number)?;
        directory.synced_entries = directory.entries.clone();
        let children: Vec<u64> = directory.entries.values().copied().collect();
        for child in children {
            self.inode(child)?.is_renamed = false;
        }
        self.sync(number)
    }

    fn attributes(&mut self, number: u64) -> Answer<FileAttr> {
        let inode = self.inode(number)?;
        let (time, size) = (inode.modified, inode.bytes.len() as u64);
        // SAFETY: both calls only return a number.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: inode.kind,
            perm: inode.mode,
            nlink: 1,
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

struct Handler(Arc<Mutex<Content>>);

impl Handler {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn entry(&self, answer: Answer<u64>, reply: ReplyEntry) {
        match answer.and_then(|number| self.content().attributes(number)) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }
}

fn done(answer: Answer<()>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Handler {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let answer = self.content().child(parent.0, name);
        self.entry(answer, reply);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let answer = self.content().attributes(inode.0);
        match answer {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut content = self.content();
        let answer = content.inode(inode.0).map(|inode| {
            if let Some(mode) = mode {
                inode.mode = (mode & 0o7777) as u16;
            }
            if let Some(size) = size {
                inode.bytes.resize(size as usize, 0);
            }
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => inode.modified = time,
                _ => inode.modified = SystemTime::now(),
            }
        });
        match answer.and_then(|()| content.attributes(inode.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let answer = self.content().create(parent.0, name, FileType::Directory, mode);
        self.entry(answer, reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let mut content = self.content();
        let number = content.create(parent.0, name, FileType::RegularFile, mode);
        match number.and_then(|number| content.attributes(number)) {
            Ok(attributes) => {
                reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.content().remove(parent.0, name), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.content().remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(self.content().rename((parent.0, name), (target.0, new_name), flags), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
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
        match self.content().inode(inode.0) {
            Ok(inode) => {
                let start = (offset as usize).min(inode.bytes.len());
                reply.data(&inode.bytes[start..(start + size as usize).min(inode.bytes.len())]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.content().write(inode.0, offset as usize, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.content().sync(inode.0), reply);
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.content().sync_directory(inode.0), reply);
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut content = self.content();
        let Ok(directory) = content.inode(inode.0) else { return reply.error(Errno::ENOENT) };
        let dots = [(OsString::from("."), inode.0), (OsString::from(".."), directory.parent)];
        let entries: Vec<_> = dots.into_iter().chain(directory.entries.clone()).collect();
        for (place, (name, number)) in (1..).zip(entries).skip(offset as usize) {
            let kind = content.inodes[&number].kind;
            if reply.add(INodeNo(number), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}
