//! Mounts a virtual archive of any size, which is not stored on disk, until Ctrl-C, SIGTERM or an
//! unmount; then prints the request counts as JSON. SIGUSR1 prints them while the archive is
//! mounted.
//!
//!     cargo run --release --example virtual-archive -- DIRECTORY --files 10000000 \
//!         [--latency 2ms] [--offline 0.1]
//!
//! A million files in one directory: `--files 1000000 --per-day 1000000`. A million directories:
//! `--per-directory 1`.

#![allow(clippy::disallowed_methods)]

#[path = "../tests/support/instance.rs"]
mod instance;
#[path = "../tests/support/virtual_archive/mod.rs"]
mod virtual_archive;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jiff::SignedDuration;
use virtual_archive::tree::{Shape, Tree, mix};
use virtual_archive::{Behaviour, Latency, Options, VirtualArchive};

#[derive(Parser)]
struct Arguments {
    /// An empty directory
    directory: PathBuf,
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    files: u64,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    per_series: u64,
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    per_day: u64,
    /// Files in each directory below that of the day, instead of all in the day's own
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    per_directory: Option<u64>,
    /// UIDs of the form 2.25.*, in no order, instead of those of scanners
    #[arg(long)]
    random_uids: bool,
    #[arg(long, value_enum, default_value_t)]
    shape: Shape,

    /// Latency of each lookup, getattr, open, read and readdir; each can be set individually
    #[arg(long, default_value = "0s")]
    latency: SignedDuration,
    #[arg(long)]
    lookup: Option<SignedDuration>,
    #[arg(long)]
    getattr: Option<SignedDuration>,
    #[arg(long)]
    open: Option<SignedDuration>,
    #[arg(long)]
    read: Option<SignedDuration>,
    #[arg(long)]
    readdir: Option<SignedDuration>,
    /// Maximum number of requests served at a time
    #[arg(long, default_value_t = 64)]
    threads: usize,
    /// How long the kernel caches names and attributes; with 0s it asks each time
    #[arg(long, default_value = "1s")]
    ttl: SignedDuration,
    /// Bypass the page cache, so that reads are as large as programs request
    #[arg(long)]
    direct_io: bool,

    /// Share of files, from 0 to 1, whose data is stored elsewhere
    #[arg(long, default_value_t = 0.0)]
    offline: f64,
    /// Share of files that are slow to read
    #[arg(long, default_value_t = 0.0)]
    slow: f64,
    /// Share of files that vanish before they are opened
    #[arg(long, default_value_t = 0.0)]
    vanished: f64,
    /// Share of files that cannot be read
    #[arg(long, default_value_t = 0.0)]
    broken: f64,
    /// How long a read of a slow or offline file takes
    #[arg(long, default_value = "10s")]
    delay: SignedDuration,
}

impl Arguments {
    fn options(&self) -> Options {
        let latency = |own: Option<SignedDuration>| own.unwrap_or(self.latency).unsigned_abs();
        Options {
            tree: Tree {
                files: self.files,
                per_day: self.per_day,
                per_directory: self.per_directory,
                per_series: self.per_series,
                random_uids: self.random_uids,
                shape: self.shape,
            },
            latency: Latency {
                lookup: latency(self.lookup),
                getattr: latency(self.getattr),
                open: latency(self.open),
                read: latency(self.read),
                readdir: latency(self.readdir),
            },
            threads: self.threads,
            ttl: self.ttl.unsigned_abs(),
            page_cache: !self.direct_io,
            behaviour: self.behaviour(),
        }
    }

    /// Shares of the files, spread over all of them, and the same in every run.
    fn behaviour(&self) -> Arc<dyn Fn(u64) -> Behaviour + Send + Sync> {
        let delay = self.delay.unsigned_abs();
        let shares = [
            (self.offline, Behaviour::Offline(delay)),
            (self.slow, Behaviour::Slow(delay)),
            (self.vanished, Behaviour::Vanished),
            (self.broken, Behaviour::Broken),
        ];
        Arc::new(move |file| {
            let mut place = mix(file) as f64 / u64::MAX as f64;
            for (share, behaviour) in shares {
                if place < share {
                    return behaviour;
                }
                place -= share;
            }
            Behaviour::Ordinary
        })
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let signals = blocked_signals();
    let archive = VirtualArchive::mount(&arguments.directory, arguments.options())?;
    eprintln!("{} files in {}", arguments.files, arguments.directory.display());
    while !archive.is_over() {
        match next_signal(&signals, Duration::from_millis(200)) {
            Some(libc::SIGUSR1) => println!("{}", archive.counts().to_json()),
            Some(_) => break,
            None => {}
        }
    }
    println!("{}", archive.counts().to_json());
    Ok(())
}

/// Blocks the signals before threads start, so that all threads inherit the mask: signals wait for
/// [`next_signal`].
fn blocked_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set before it is read, and all pointers outlive the calls.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGUSR1] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        set.assume_init()
    }
}

fn next_signal(signals: &libc::sigset_t, wait: Duration) -> Option<libc::c_int> {
    let wait = libc::timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos() as _ };
    // SAFETY: both pointers outlive the call, which writes no information about the sender.
    let signal = unsafe { libc::sigtimedwait(signals, std::ptr::null_mut(), &wait) };
    (signal > 0).then_some(signal)
}
