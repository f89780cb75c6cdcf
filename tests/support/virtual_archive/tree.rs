//! Computes the location of each file: a directory or file is identified by its number, and no
//! entry is kept in memory.
//!
//! ```text
//! 2010-01-01-FRI/UID                          a directory a day
//! 2010-01-01-FRI/DIRECTORY-UID/UID            and, with `per_directory`, directories below it
//! ```

use std::ops::Range;

use jiff::Span;
use jiff::civil::{Date, date};

/// Ten million files, two thousand per day, end in 2023: no file is dated in the future.
const FIRST_DAY: Date = date(2010, 1, 1);

const FILE_ROOT: &str = "1.3.6.1.4.1.32473.6";
const DIRECTORY_ROOT: &str = "1.3.6.1.4.1.32473.8";

/// Added to the numbers in UIDs, so that all have ten digits.
const TEN_DIGITS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Root,
    Day(u64),
    /// A directory below that of a day.
    Directory(u64),
    File(u64),
}

#[derive(Clone, Copy, Debug)]
pub struct Tree {
    pub files: u64,
    pub per_day: u64,
    /// The number of files in each directory below a day; with `None`, the directory of the day
    /// contains the files.
    pub per_directory: Option<u64>,
    pub per_series: u64,
    /// UIDs of the form 2.25.*, in no order, instead of those of scanners.
    pub random_uids: bool,
    pub shape: Shape,
}

/// How files are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Patients with several studies of several series each.
    #[default]
    Usual,
    /// Each file is a study and a patient of its own
    Studies,
    /// Each file is a study with a name of its own, and all have the same Patient ID
    Names,
    /// All series are of one study
    OneStudy,
    /// All files are copies of one instance
    Copies,
    /// No file is a DICOM file
    Rejected,
}

/// The level of a UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Study = 1,
    Series,
    Instance,
}

const SERIES_PER_STUDY: u64 = 3;
const STUDIES_PER_PATIENT: u64 = 2;

impl Node {
    /// Returns the inode number; the root has 1.
    pub fn inode(self) -> u64 {
        match self {
            Node::Root => 1,
            Node::Day(n) => (n + 1) << 2 | 1,
            Node::Directory(n) => (n + 1) << 2 | 2,
            Node::File(n) => (n + 1) << 2 | 3,
        }
    }

    pub fn of_inode(inode: u64) -> Option<Node> {
        let n = (inode >> 2).checked_sub(1);
        match (inode & 3, n) {
            (1, None) => Some(Node::Root),
            (1, Some(n)) => Some(Node::Day(n)),
            (2, Some(n)) => Some(Node::Directory(n)),
            (3, Some(n)) => Some(Node::File(n)),
            _ => None,
        }
    }
}

impl Tree {
    pub fn parent(&self, node: Node) -> Node {
        match (node, self.per_directory) {
            (Node::Root | Node::Day(_), _) => Node::Root,
            (Node::Directory(n), _) => Node::Day(n / self.directories_per_day()),
            (Node::File(n), None) => Node::Day(self.day(n)),
            (Node::File(n), Some(per_directory)) => {
                Node::Directory(self.day(n) * self.directories_per_day() + n % self.per_day / per_directory)
            }
        }
    }

    /// Returns the entries of a directory: a contiguous range of numbers, and the kind of node that
    /// they identify.
    pub fn children(&self, node: Node) -> (Range<u64>, fn(u64) -> Node) {
        let days = self.files.div_ceil(self.per_day);
        let files_of = |day: u64| day * self.per_day..((day + 1) * self.per_day).min(self.files);
        match (node, self.per_directory) {
            (Node::Root, _) => (0..days, Node::Day),
            (Node::Day(day), None) => (files_of(day), Node::File),
            (Node::Day(day), Some(per_directory)) => {
                let (first, files) = (day * self.directories_per_day(), files_of(day));
                (first..first + (files.end - files.start).div_ceil(per_directory), Node::Directory)
            }
            (Node::Directory(n), per_directory) => {
                let (per_directory, of_day) = (per_directory.unwrap_or(1), self.directories_per_day());
                let files = files_of(n / of_day);
                let first = files.start + n % of_day * per_directory;
                (first..(first + per_directory).min(files.end), Node::File)
            }
            (Node::File(_), _) => (0..0, Node::File),
        }
    }

    pub fn child(&self, parent: Node, name: &str) -> Option<Node> {
        let (numbers, kind) = self.children(parent);
        let n = match kind(0) {
            Node::Day(_) => {
                (Date::strptime("%Y-%m-%d", name.get(..10)?).ok()? - FIRST_DAY).get_days().try_into().ok()?
            }
            Node::Directory(_) => ten_digits(name)?,
            _ if self.random_uids => random_number(name)?,
            _ => ten_digits(name)?,
        };
        // The number is parsed from only a part of the name, so the whole name is compared.
        (numbers.contains(&n) && self.name(kind(n)) == name).then_some(kind(n))
    }

    pub fn name(&self, node: Node) -> String {
        match node {
            Node::Root => String::new(),
            Node::Day(day) => date_of(day).strftime("%Y-%m-%d-%a").to_string().to_uppercase(),
            Node::Directory(n) => format!("{DIRECTORY_ROOT}.{}", TEN_DIGITS + n),
            Node::File(n) => self.uid(Level::Instance, n),
        }
    }

    pub fn day(&self, file: u64) -> u64 {
        file / self.per_day
    }

    pub fn series(&self, file: u64) -> u64 {
        match self.shape {
            Shape::Studies | Shape::Names => file,
            Shape::Usual | Shape::OneStudy | Shape::Copies | Shape::Rejected => file / self.per_series,
        }
    }

    pub fn study(&self, file: u64) -> u64 {
        match self.shape {
            Shape::Studies | Shape::Names => file,
            Shape::OneStudy => 0,
            Shape::Usual | Shape::Copies | Shape::Rejected => self.series(file) / SERIES_PER_STUDY,
        }
    }

    /// Returns the number in the patient's name.
    pub fn patient(&self, file: u64) -> u64 {
        match self.shape {
            Shape::Studies | Shape::Names => file,
            _ => self.study(file) / STUDIES_PER_PATIENT,
        }
    }

    /// Returns the number in the Patient ID.
    pub fn patient_id(&self, file: u64) -> u64 {
        if self.shape == Shape::Names { 0 } else { self.patient(file) }
    }

    /// Returns the number of the file whose content this file has.
    pub fn content(&self, file: u64) -> u64 {
        if self.shape == Shape::Copies { 0 } else { file }
    }

    /// Returns the number of the series within its study, and of the file within its series, both
    /// from 1.
    pub fn place(&self, file: u64) -> (u64, u64) {
        (self.series(file) % SERIES_PER_STUDY + 1, file % self.per_series + 1)
    }

    /// A study that continues past midnight keeps its date.
    pub fn study_date(&self, file: u64) -> Date {
        match self.shape {
            Shape::Studies | Shape::Names => date_of(self.day(file)),
            _ => date_of(self.day(self.study(file) * SERIES_PER_STUDY * self.per_series)),
        }
    }

    /// Returns the UID of a study, series or instance, by the number of one of its files. All UIDs
    /// of a level have the same length.
    pub fn uid(&self, level: Level, file: u64) -> String {
        let (study, series) = (self.study(file), self.series(file));
        match (self.random_uids, level) {
            (false, Level::Study) => format!("{FILE_ROOT}.{}", TEN_DIGITS + study),
            (false, Level::Series) => format!("{}.{}", self.uid(Level::Study, file), TEN_DIGITS + series),
            (false, Level::Instance) => format!("{}.{}", self.uid(Level::Series, file), TEN_DIGITS + file),
            (true, Level::Study) => random_uid(level, study),
            (true, Level::Series) => random_uid(level, series),
            (true, Level::Instance) => random_uid(level, file),
        }
    }

    /// Returns the mtime in seconds since 1970. Images arrive from 8 a.m. to 8 p.m.
    pub fn modified(&self, node: Node) -> i64 {
        let (day, part) = match node {
            Node::Root => (0, 0),
            Node::Day(day) => (day, self.per_day),
            Node::Directory(n) => (n / self.directories_per_day(), self.per_day),
            Node::File(n) => (self.day(n), n % self.per_day),
        };
        let midnight = (date_of(day) - date(1970, 1, 1)).get_days();
        i64::from(midnight) * 86_400 + 8 * 3_600 + (part * 43_200 / self.per_day) as i64
    }

    fn directories_per_day(&self) -> u64 {
        self.per_day.div_ceil(self.per_directory.unwrap_or(self.per_day))
    }
}

fn date_of(day: u64) -> Date {
    let days = Span::new().try_days(i64::try_from(day).unwrap_or(i64::MAX));
    days.and_then(|days| FIRST_DAY.checked_add(days)).unwrap_or(Date::MAX)
}

/// Returns the number at the end of a scanner's UID.
fn ten_digits(name: &str) -> Option<u64> {
    name.rsplit('.').next()?.parse::<u64>().ok()?.checked_sub(TEN_DIGITS)
}

/// The upper digits contain the mixed number, from which it is recovered; the lower digits are
/// pseudo-random.
const SMALLEST: u128 = 10u128.pow(38);
const UPPER: u128 = 10u128.pow(18);

fn random_uid(level: Level, n: u64) -> String {
    let number = mix(n << 2 | level as u64);
    format!("2.25.{}", SMALLEST + u128::from(number) * UPPER + u128::from(mix(!number)) % UPPER)
}

fn random_number(uid: &str) -> Option<u64> {
    let number: u128 = uid.strip_prefix("2.25.")?.parse().ok()?;
    let mixed = u64::try_from(number.checked_sub(SMALLEST)? / UPPER).ok()?;
    Some(unmix(mixed) >> 2)
}

/// A Feistel network: a pseudo-random, invertible mapping that gives each number a different
/// result.
pub fn mix(n: u64) -> u64 {
    let (left, right) = (0..ROUNDS).fold(halves(n), |(left, right), round| (right, left ^ scramble(right, round)));
    u64::from(left) << 32 | u64::from(right)
}

fn unmix(n: u64) -> u64 {
    let (left, right) = (0..ROUNDS).rev().fold(halves(n), |(left, right), round| (right ^ scramble(left, round), left));
    u64::from(left) << 32 | u64::from(right)
}

const ROUNDS: u32 = 4;

fn halves(n: u64) -> (u32, u32) {
    ((n >> 32) as u32, n as u32)
}

fn scramble(half: u32, round: u32) -> u32 {
    let product = u64::from(half ^ round.wrapping_mul(0x9E37_79B9)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (product >> 29) as u32
}
