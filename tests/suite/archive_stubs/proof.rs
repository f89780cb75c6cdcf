//! Proof that detecting stubs reads no data: by the file system's own counters, and by the kernel,
//! which is configured to deny every read.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::not_run;
use crate::support::virtual_archive::{Behaviour, Options, VirtualArchive};
use crate::support::{Site, walk};

#[test]
fn telling_offline_files_opens_and_reads_none() {
    let site = Site::new();
    let mut options = Options::new(500);
    options.tree.per_day = 100;
    options.behaviour = Arc::new(|_| Behaviour::Offline(Duration::ZERO));
    let archive = match VirtualArchive::mount(&site.archive(), options) {
        Ok(archive) => archive,
        Err(error) => return not_run("a virtual archive", error),
    };
    let count = || {
        let counts = archive.counts();
        [&counts.open, &counts.read, &counts.recall].map(|counter| counter.load(Relaxed))
    };
    let said = site.reindex(&site.sqlite(), &[]).exits(1);
    assert_eq!((said.figure("stubs not read"), count()), (500, [0, 0, 0]));
    site.reindex(&site.sqlite(), &["--dry-run", "--force"]).exits(1);
    assert_eq!(count(), [0, 0, 0]);
    // Verifies that the counters work: a read is counted.
    super::read_all(&walk(&site.archive())[0]);
    let [opened, _, recalled] = count();
    assert!(opened == 1 && recalled > 0);
}

#[cfg(target_os = "linux")]
mod denied {
    use std::fs::File;
    use std::io::{self, Read};
    use std::mem::size_of;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
    use std::thread::{self, JoinHandle};

    use super::super::{large, move_away, not_run};
    use crate::support::Site;

    /// Linux 6.14: the event before the content of a file is accessed.
    const FAN_PRE_ACCESS: u64 = 0x0010_0000;

    /// Denies and counts every access to the content of these files until it is dropped.
    struct Tripwire {
        denied: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    }

    impl Tripwire {
        fn on(files: &[std::path::PathBuf]) -> io::Result<Self> {
            // SAFETY: the call takes numbers and returns a file descriptor that nothing else owns.
            let group = unsafe {
                let flags = libc::FAN_CLASS_PRE_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
                let group = libc::fanotify_init(flags, (libc::O_RDONLY | libc::O_LARGEFILE) as u32);
                if group < 0 {
                    return Err(io::Error::last_os_error());
                }
                OwnedFd::from_raw_fd(group)
            };
            files.iter().try_for_each(|file| mark(&group, file))?;
            let (denied, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let (counted, stopped) = (denied.clone(), stop.clone());
            let thread = thread::spawn(move || {
                let mut group = File::from(group);
                while !stopped.load(Relaxed) {
                    deny(&mut group, &counted);
                    thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            Ok(Tripwire { denied, stop, thread: Some(thread) })
        }
    }

    fn mark(group: &OwnedFd, file: &Path) -> io::Result<()> {
        let path = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is NUL-terminated and outlives the call.
        let marked = unsafe {
            libc::fanotify_mark(group.as_raw_fd(), libc::FAN_MARK_ADD, FAN_PRE_ACCESS, libc::AT_FDCWD, path.as_ptr())
        };
        if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Denies the pending accesses.
    fn deny(group: &mut File, counted: &AtomicU64) {
        let mut events = [0; 4096];
        let Ok(length) = group.read(&mut events) else { return };
        let mut rest = &events[..length];
        while rest.len() >= size_of::<libc::fanotify_event_metadata>() {
            let event_length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            let descriptor = i32::from_ne_bytes(rest[16..20].try_into().unwrap());
            if descriptor >= 0 {
                // SAFETY: the descriptor came with the event, and the reader of the event must
                // close it.
                let file = unsafe { OwnedFd::from_raw_fd(descriptor) };
                let answer = [file.as_raw_fd().to_ne_bytes(), libc::FAN_DENY.to_ne_bytes()].concat();
                counted.fetch_add(1, Relaxed);
                io::Write::write_all(group, &answer).unwrap();
            }
            rest = &rest[event_length..];
        }
    }

    impl Drop for Tripwire {
        fn drop(&mut self) {
            self.stop.store(true, Relaxed);
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }

    #[test]
    fn telling_files_without_blocks_reads_none_though_the_kernel_would_deny_it() {
        let site = Site::new();
        let path = |n: usize| site.archive().join(format!("1.2.{n}"));
        let files: Vec<_> = (0..50).map(path).collect();
        for (n, file) in files.iter().enumerate() {
            site.write(&format!("1.2.{n}"), &large(&format!("1.2.{n}")));
            move_away(file);
        }
        site.write("1.2.50", &large("1.2.50"));
        let wire = match Tripwire::on(&files) {
            Ok(wire) => wire,
            Err(error) => return not_run("reads that the kernel denies (root, Linux 6.14, ext4, xfs or btrfs)", error),
        };
        let said = site.reindex(&site.sqlite(), &[]).exits(1);
        assert_eq!((said.figure("stubs not read"), said.figure("inserted")), (50, 1));
        assert_eq!(wire.denied.load(Relaxed), 0);
        // Verifies that the tripwire works: a read is denied and counted.
        assert!(File::open(&files[7]).unwrap().read(&mut [0; 132]).is_err());
        assert_eq!(wire.denied.load(Relaxed), 1);
        println!("50 files told without a read; the one that was read on purpose was denied");
    }
}
