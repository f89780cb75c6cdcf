//! Progress: workers bump counters, one sampler reads them ten times a second, an observer shows them.
//!
//! [`Observer`] is the seam: a bar for a terminal, lines for a log, JSON lines for a program, nothing. The only door
//! to indicatif.

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

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Asking the index which rows it has.
    Checking,
    /// Walking, reading and writing, all at once.
    #[default]
    Indexing,
    /// At directories that changed meanwhile.
    LookingAgain,
    /// Bringing stubs back from slow storage.
    Recalling,
    /// Deriving what can only be known at the end.
    Closing,
    /// Of an audit: listing the files, reading them, and waiting before it looks again.
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

/// What the counters say at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    pub phase: Phase,
    /// Rows of the index that were looked at, and about how many there are.
    pub checked: u64,
    pub to_check: u64,
    /// Files found so far, and whether that is all of them.
    pub found: u64,
    pub found_is_total: bool,
    /// Directories listed, and known but not listed yet.
    pub directories_listed: u64,
    pub directories_waiting: u64,
    /// Files accounted for.
    pub done: u64,
    /// Files that were read and wait to be written in key order.
    pub put_by: u64,
    /// The run was told to end, and finishes what is being written.
    pub stopping: bool,
    pub bytes: u64,
    pub rejected: u64,
    /// Stubs that were not read.
    pub pending: u64,
    /// Of the recalling phase: stubs asked for, and those within the budget.
    pub recalled: u64,
    pub to_recall: u64,
    pub directory: PathBuf,
    /// Of the closing phase: rows done, and all of them.
    pub closed: u64,
    pub to_close: u64,
}

/// How long it will take still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eta {
    Unknown,
    /// While files are still being counted: at least, and at the present density of directories.
    Between(Duration, Duration),
    About(Duration),
}

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub readings: Readings,
    pub elapsed: Duration,
    /// Files a second, over the last seconds and over the whole run.
    pub rate_now: f64,
    pub rate_mean: f64,
    pub eta: Eta,
}

pub trait Observer: Send {
    /// Called ten times a second, and when a phase begins.
    fn update(&mut self, snapshot: &Snapshot);
    /// Called when something happens beside the progress, with the time since the run began.
    fn tell(&mut self, elapsed: Duration, notice: &Notice);
    /// Called once, at the end of the run, with what was reached.
    fn finish(&mut self, snapshot: &Snapshot);
}

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A bar in a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar; lines where the terminal cannot show one.
    Bar,
    Lines,
    Json,
}

/// The observer that shows progress on standard error; `None` shows nothing.
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
