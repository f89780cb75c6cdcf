//! Determines when the PACS received a file, as far as this is still known. The result has
//! consequences: the PACS purges and moves studies by `study.received`.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use jiff::civil::{self, Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::entries::Noted;
use crate::dicom::attributes::position;
use crate::dicom::instance::Value;
use crate::dicom::{Instance, Table};

/// A source of the time of receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The date in the path of the directory, at the time of the mtime if that is on the same day,
    /// else at midnight.
    Path,
    /// The mtime, unless it is before the study or in the future.
    Mtime,
    StudyDate,
}

impl Origin {
    pub const DEFAULT: [Origin; 3] = [Origin::Path, Origin::Mtime, Origin::StudyDate];
}

/// How far a plausible mtime may be in the future. The clocks of storage units differ by minutes.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Days after its study from which an mtime counts as late: no scanner sends an image so long after
/// the study.
const LATE: i32 = 30;

/// Minimum number of files from which to detect a copy.
const ENOUGH: u64 = 10;

pub struct Receipt {
    pub order: Vec<Origin>,
    pub zone: TimeZone,
    /// The number of implausible mtimes.
    pub implausible: AtomicU64,
    modified: Mutex<Modified>,
}

/// The mtimes that were used, by root and day: the number of files, and how many of these are from
/// long after their study.
type Modified = BTreeMap<(usize, Date), (u64, u64)>;

impl Receipt {
    pub fn new(mut order: Vec<Origin>, zone: TimeZone) -> Self {
        // Sources that were not named come last, so that there is always a result.
        let rest: Vec<Origin> = Origin::DEFAULT.into_iter().filter(|origin| !order.contains(origin)).collect();
        order.extend(rest);
        Receipt { order, zone, implausible: AtomicU64::new(0), modified: Mutex::default() }
    }

    /// Returns the current day by the clock of the PACS.
    pub fn today(&self) -> Date {
        self.zone.to_datetime(Timestamp::now()).date()
    }

    /// Returns whether a file is so young, when it is opened, that the PACS may still be writing
    /// it.
    pub fn is_younger(&self, modified: Option<Timestamp>, than: SignedDuration) -> bool {
        let age = modified.map(|at| Timestamp::now().duration_since(at));
        age.is_some_and(|age| !than.is_zero() && age < than && age > -AHEAD)
    }

    pub fn of(
        &self,
        instance: &Instance,
        root: usize,
        day: Option<Date>,
        modified: Option<Timestamp>,
        noted: Noted,
    ) -> DateTime {
        let study = study_date(instance);
        let local = modified.map(|at| self.zone.to_datetime(at));
        let is_to_come = modified.is_some_and(|at| at.duration_since(Timestamp::now()) > AHEAD);
        let is_plausible = |at: &DateTime| !is_to_come && study.is_none_or(|study| at.date() >= study.date());
        for origin in &self.order {
            let at = match origin {
                Origin::Path => day.map(|day| match local {
                    Some(at) if at.date() == day => at,
                    _ => day.to_datetime(Time::midnight()),
                }),
                Origin::Mtime => {
                    let plausible = local.filter(is_plausible);
                    match plausible {
                        _ if noted == Noted::Nothing => {}
                        Some(at) => self.note(root, at.date(), study),
                        None => drop(self.implausible.fetch_add(1, Relaxed)),
                    }
                    plausible
                }
                Origin::StudyDate => study,
            };
            if let Some(at) = at {
                return at;
            }
        }
        // An mtime that is not in the future is better than no time: a row without a time hides the
        // study.
        local.filter(|_| !is_to_come).unwrap_or(civil::date(1970, 1, 1).to_datetime(Time::midnight()))
    }

    fn note(&self, root: usize, day: Date, study: Option<DateTime>) {
        let is_late = study.is_some_and(|study| (day - study.date()).get_days() >= LATE);
        let mut modified = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, late) = modified.entry((root, day)).or_default();
        *files += 1;
        *late += u64::from(is_late);
    }

    /// Returns the roots below which most files were modified within two days, long after their
    /// studies: the archive is a copy that has not kept the mtimes.
    pub fn copied_roots(&self) -> Vec<usize> {
        let modified = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        let mut roots: Vec<usize> = modified.keys().map(|(root, _)| *root).collect();
        roots.dedup();
        let is_copy = |root: &usize| {
            let days = || modified.range((*root, Date::MIN)..=(*root, Date::MAX));
            let total: u64 = days().map(|(_, (files, _))| files).sum();
            let late_within_two_days = days().map(|((_, day), (_, late))| {
                let next = day.tomorrow().ok().and_then(|next| modified.get(&(*root, next)));
                late + next.map_or(0, |(_, late)| *late)
            });
            total >= ENOUGH && late_within_two_days.max().unwrap_or(0) * 2 > total
        };
        roots.into_iter().filter(is_copy).collect()
    }
}

/// Returns Study Date (0008,0020) with Study Time (0008,0030), if there is one, else at midnight.
fn study_date(instance: &Instance) -> Option<DateTime> {
    let text = |column| match instance.get(column) {
        Value::Text(text) => Some(text),
        _ => None,
    };
    let day: Date = text(const { position(Table::Study, "studydate") })?.parse().ok()?;
    let time = text(const { position(Table::Study, "studytime") }).and_then(|time| time.parse().ok());
    Some(day.to_datetime(time.unwrap_or(Time::midnight())))
}
