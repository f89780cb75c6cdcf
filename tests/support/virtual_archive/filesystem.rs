//! Answers the requests of the kernel, each after its configured latency, from all threads of the
//! session.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};

use super::counts::Counts;
use super::template::Templates;
use super::tree::{Node, Tree};
use super::{Behaviour, Options};

pub struct VirtualFiles {
    options: Options,
    templates: Templates,
    counts: Arc<Counts>,
    /// The user who mounts owns the files: only an owner may open files without updating their
    /// atime.
    owner: (u32, u32),
}

impl VirtualFiles {
    pub fn new(options: Options, counts: Arc<Counts>) -> Self {
        // SAFETY: both calls only return a number.
        let owner = unsafe { (libc::geteuid(), libc::getegid()) };
        VirtualFiles { templates: Templates::new(options.tree), options, counts, owner }
    }

    fn tree(&self) -> &Tree {
        &self.options.tree
    }

    fn behaviour(&self, node: Node) -> Behaviour {
        match node {
            Node::File(n) => (self.options.behaviour)(n),
            _ => Behaviour::Ordinary,
        }
    }

    fn attributes(&self, node: Node) -> FileAttr {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.tree().modified(node).unsigned_abs());
        let (kind, perm, size) = match node {
            Node::File(n) => (FileType::RegularFile, 0o444, self.templates.size(n)),
            _ => (FileType::Directory, 0o555, 4096),
        };
        // A storage system that has moved the data of a file elsewhere shows its size, but no
        // blocks.
        let blocks = if matches!(self.behaviour(node), Behaviour::Offline(_)) { 0 } else { size.div_ceil(512) };
        FileAttr {
            ino: INodeNo(node.inode()),
            size,
            blocks,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time);
    }
}

impl Filesystem for VirtualFiles {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |what: &str| io::Error::other(format!("this kernel does not {what}"));
        // Otherwise the kernel looks up one name of a directory at a time, so that latencies add
        // up, and runs at most sixteen reads through the page cache at the same time.
        config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS).map_err(|_| refused("look up names in parallel"))?;
        config.set_max_background(u16::MAX).map_err(|_| refused("read ahead in parallel"))?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        Counts::add(&self.counts.lookup, 1);
        wait(self.options.latency.lookup);
        let parent = Node::of_inode(parent.0);
        match parent.and_then(|parent| self.tree().child(parent, name.to_str()?)) {
            Some(node) => reply.entry(&self.options.ttl, &self.attributes(node), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        Counts::add(&self.counts.getattr, 1);
        wait(self.options.latency.getattr);
        match Node::of_inode(inode.0) {
            Some(node) => reply.attr(&self.options.ttl, &self.attributes(node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        Counts::add(&self.counts.open, 1);
        wait(self.options.latency.open);
        match Node::of_inode(inode.0).map(|node| self.behaviour(node)) {
            None | Some(Behaviour::Vanished) => reply.error(Errno::ENOENT),
            _ if self.options.page_cache => reply.opened(FileHandle(0), FopenFlags::empty()),
            _ => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
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
        Counts::add(&self.counts.read, 1);
        wait(self.options.latency.read);
        let Some(Node::File(file)) = Node::of_inode(inode.0) else { return reply.error(Errno::EISDIR) };
        match self.behaviour(Node::File(file)) {
            Behaviour::Broken => return reply.error(Errno::EIO),
            Behaviour::Slow(time) => wait(time),
            Behaviour::Offline(time) => {
                Counts::add(&self.counts.recall, 1);
                wait(time);
            }
            Behaviour::Ordinary | Behaviour::Vanished => {}
        }
        let bytes = self.templates.read(file, offset, size as usize);
        Counts::add(&self.counts.bytes_read, bytes.len());
        reply.data(&bytes);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        Counts::add(&self.counts.release, 1);
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        Counts::add(&self.counts.opendir, 1);
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        Counts::add(&self.counts.readdir, 1);
        wait(self.options.latency.readdir);
        let Some(directory) = Node::of_inode(inode.0) else { return reply.error(Errno::ENOENT) };
        let parent = self.tree().parent(directory);
        let dots = [(directory, "."), (parent, "..")];
        let dots = dots.into_iter().map(|(node, name)| (node, name.to_owned()));
        let (numbers, kind) = self.tree().children(directory);
        // A call continues where the last one ended, at the same cost in a directory of any size.
        let first = numbers.start + offset.saturating_sub(dots.len() as u64);
        let children = (first..numbers.end).map(kind).map(|node| (node, self.tree().name(node)));
        let entries = dots.skip(usize::try_from(offset).unwrap_or(usize::MAX)).chain(children);
        for (place, (node, name)) in (offset + 1..).zip(entries) {
            let kind = if matches!(node, Node::File(_)) { FileType::RegularFile } else { FileType::Directory };
            if reply.add(INodeNo(node.inode()), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    /// Nothing is ever written. After ENOSYS, the kernel does not send this request again.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}
