//! Shared by the benchmarks: rounds of contenders, the cost of a process, and the tables to print.

// Each crate that includes this module uses a part of it.
#![allow(dead_code)]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pacs_index::dicom::window::WINDOW;

pub const REPETITIONS: usize = 5;

/// A contender in a comparison.
pub struct Contender<'a, T> {
    pub name: String,
    pub run: Box<dyn FnMut() -> T + 'a>,
}

impl<'a, T> Contender<'a, T> {
    pub fn new(name: &str, run: impl FnMut() -> T + 'a) -> Self {
        Contender { name: name.to_owned(), run: Box::new(run) }
    }
}

/// Runs each contender once to warm up, and then in rounds, A B C, A B C, so that other load on the
/// machine affects all alike. Returns the results of each contender, round by round.
pub fn rounds<T>(contenders: &mut [Contender<'_, T>]) -> Vec<Vec<T>> {
    for contender in contenders.iter_mut() {
        (contender.run)();
    }
    let mut given: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..REPETITIONS {
        for (contender, given) in contenders.iter_mut().zip(&mut given) {
            given.push((contender.run)());
        }
    }
    given
}

/// Measurements of one quantity, in ascending order.
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn new(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Samples(figures)
    }

    /// The ratios of two contenders, each within one round: a slowdown of a whole round does not
    /// affect them.
    pub fn ratios(of: &[f64], to: &[f64]) -> Self {
        Self::new(of.iter().zip(to).map(|(of, to)| of / to))
    }

    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

/// The cost of running something.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Peak memory of a program, in bytes. Never less than [`own_memory`], because Linux counts
    /// from before the exec.
    pub peak_memory: Option<u64>,
}

impl Cost {
    /// The total cost of two runs in sequence.
    pub fn then(self, next: Cost) -> Cost {
        let peak_memory = self.peak_memory.max(next.peak_memory);
        Cost { wall: self.wall + next.wall, cpu: self.cpu + next.cpu, peak_memory }
    }

    /// Measures work in this process.
    pub fn of(work: impl FnOnce()) -> Cost {
        let (before, started) = (own_usage(), Instant::now());
        work();
        let (wall, after) = (started.elapsed(), own_usage());
        Cost { wall, cpu: cpu(&after) - cpu(&before), peak_memory: None }
    }

    /// Measures a program from start to end; also returns its exit code.
    // wait4 reaps the process.
    #[allow(clippy::zombie_processes)]
    pub fn of_program(command: &mut Command) -> (Cost, Option<i32>) {
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (mut status, mut usage) = (0, MaybeUninit::zeroed());
        // SAFETY: both variables live across the call, and nothing else waits for the child. A
        // zeroed rusage is valid.
        let usage = unsafe {
            let waited = libc::wait4(child.id() as libc::pid_t, &mut status, 0, usage.as_mut_ptr());
            assert!(waited > 0, "{command:?}: {}", io::Error::last_os_error());
            usage.assume_init()
        };
        let exit = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        (Cost { wall: started.elapsed(), cpu: cpu(&usage), peak_memory: Some(usage.ru_maxrss as u64 * 1024) }, exit)
    }
}

fn own_usage() -> libc::rusage {
    let mut usage = MaybeUninit::zeroed();
    // SAFETY: the variable lives across the call, and a zeroed rusage is valid.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    }
}

fn cpu(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Returns the peak memory of this process, in bytes.
pub fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
    peak.unwrap_or(0) * 1024
}

/// The minimum that any header reader must do: open, fstat, one read, close.
pub fn floor(path: &Path) -> io::Result<usize> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    black_box(file.metadata()?);
    let mut bytes = [0; WINDOW];
    let read = file.read_at(&mut bytes, 0);
    black_box(&bytes);
    read
}

/// Describes the machine of the measurement.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("\t: of a model not told");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores, {}; load average {load} at the start", model.trim_start_matches(['\t', ' ', ':']))
}

/// Prints a table in plain text: the first column is left-aligned, figures are right-aligned.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|title| title.to_string()).collect();
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in [&head].into_iter().chain(rows) {
        let figures = row.iter().zip(&widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        println!("  {:<width$}{}", row[0], figures.collect::<String>(), width = widths[0]);
    }
    println!();
}
