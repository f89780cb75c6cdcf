//! Progress: workers increment counters, one sampler reads the counters ten times a second, and an
//! observer shows them.
//!
//! [`Observer`] is the interface. Its implementations show a bar in a terminal, lines for a log,
//! JSON lines for a program, or nothing. This module is the only user of indicatif.

mod bar;
mod json;
mod lines;
pub mod notice;
pub mod sampler;
pub mod text;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

pub use notice::Notice;
pub use sampler::Sampler;

/// The phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Loading from the index which rows it has.
    Checking,
    /// Walking, reading and writing, in parallel.
    #[default]
    Indexing,
    /// Rescanning directories that changed during the run.
    LookingAgain,
    /// Recalling stubs from slow storage.
    Recalling,
    /// Deriving the values that depend on all rows being written.
    Closing,
    /// Phases of an audit: listing the files, reading them, and waiting before the recheck.
    Listing,
    Comparing,
    Settling,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Checking => "checking",
            Phase::Indexing => "indexing",
            Phase::LookingAgain => "looking again",
            Phase::Recalling => "recalling",
            Phase::Closing => "closing",
            Phase::Listing => "listing",
            Phase::Comparing => "comparing",
            Phase::Settling => "settling",
        }
    }
}

/// The values of the counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    pub phase: Phase,
    /// Index rows that were checked, and the approximate total.
    pub checked: u64,
    pub to_check: u64,
    /// Files found so far, and whether this is the total.
    pub found: u64,
    pub found_is_total: bool,
    /// Directories listed, and directories known but not listed yet.
    pub directories_listed: u64,
    pub directories_waiting: u64,
    /// Files that are counted with an outcome.
    pub done: u64,
    /// Files that were read and are buffered, to be written in key order.
    pub put_by: u64,
    /// Whether the run was interrupted and finishes the current writes.
    pub stopping: bool,
    pub bytes: u64,
    pub rejected: u64,
    /// Stubs that were not read.
    pub pending: u64,
    /// In the recalling phase: stubs requested so far, and stubs within the budget.
    pub recalled: u64,
    pub to_recall: u64,
    pub directory: PathBuf,
    /// In the closing phase: rows settled, and the total.
    pub closed: u64,
    pub to_close: u64,
}

/// The estimated time that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eta {
    Unknown,
    /// A range while files are still being counted: the minimum, and the estimate at the present
    /// number of files per directory.
    Between(Duration, Duration),
    About(Duration),
}

/// The data of one progress display.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub readings: Readings,
    pub elapsed: Duration,
    /// Files per second, over the last seconds and over the whole run.
    pub rate_now: f64,
    pub rate_mean: f64,
    pub eta: Eta,
}

pub trait Observer: Send {
    /// Called ten times a second, and when a phase begins.
    fn update(&mut self, snapshot: &Snapshot);
    /// Called for each event outside of the progress, with the time since the run began.
    fn tell(&mut self, elapsed: Duration, notice: &Notice);
    /// Called once, at the end of the run, with the final state.
    fn finish(&mut self, snapshot: &Snapshot);
}

/// The forms of `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A bar in a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar, or lines if the terminal cannot show one.
    Bar,
    Lines,
    Json,
}

/// Returns the observer that shows progress on standard error. `None` shows nothing.
pub fn observer(form: Option<Form>) -> Box<dyn Observer> {
    let lines = || Box::new(lines::Lines::new(std::io::stderr()));
    match form {
        None => Box::new(Silent),
        Some(Form::Json) => Box::new(json::JsonLines::new(std::io::stderr())),
        Some(Form::Lines) => lines(),
        Some(Form::Auto) if !std::io::stderr().is_terminal() => lines(),
        Some(Form::Auto | Form::Bar) => match bar::Bar::new() {
            Some(bar) => Box::new(bar),
            None => lines(),
        },
    }
}

struct Silent;

impl Observer for Silent {
    fn update(&mut self, _: &Snapshot) {}
    fn tell(&mut self, _: Duration, _: &Notice) {}
    fn finish(&mut self, _: &Snapshot) {}
}
