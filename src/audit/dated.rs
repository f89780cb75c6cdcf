//! File names that contain the date of a report in a strftime(3) format, and the search for such
//! files in a directory.

use std::path::{Path, PathBuf};

use jiff::civil::{DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::{Timestamp, Zoned};

/// A file name with conversion specifications, such as `audit-%Y-%m-%d.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedName {
    pattern: String,
}

impl DatedName {
    /// Returns `None` for a name without any specification.
    pub fn parse(name: &str) -> Option<Self> {
        name.contains('%').then(|| DatedName { pattern: name.to_owned() })
    }

    /// Returns the file name for a time. The error names an unknown specification.
    pub fn at(&self, time: &Zoned) -> Result<String, jiff::Error> {
        strtime::format(&self.pattern, time)
    }

    /// Returns the time in a name that this pattern produced. `None` for any other name, and if the
    /// pattern has no date.
    pub fn time_of(&self, name: &str) -> Option<DateTime> {
        let mut parts = strtime::parse(&self.pattern, name).ok()?;
        // Parsing accepts more spellings than formatting writes.
        let is_same = parts.to_string(&self.pattern).is_ok_and(|written| written == name);
        is_same.then(|| date_time(&mut parts)).flatten()
    }

    /// Returns the files in a directory whose names this pattern produced, newest first.
    pub fn files_in(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut dated = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let time = entry.file_name().to_str().and_then(|name| self.time_of(name));
            // `file_type` does not follow symlinks, so symlinks are excluded.
            if let Some(time) = time.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) {
                dated.push((time, entry.path()));
            }
        }
        dated.sort();
        Ok(dated.into_iter().rev().map(|(_, path)| path).collect())
    }
}

/// Returns the date and time of parsed parts. A month without a day counts from its first day, a
/// year without a month from January.
fn date_time(parts: &mut BrokenDownTime) -> Option<DateTime> {
    if let Some(seconds) = parts.timestamp() {
        return Some(Timestamp::to_zoned(seconds, jiff::tz::TimeZone::UTC).datetime());
    }
    parts.year()?;
    if parts.month().is_none() && parts.day_of_year().is_none() {
        parts.set_month(Some(1)).ok()?;
    }
    if parts.day().is_none() && parts.day_of_year().is_none() {
        parts.set_day(Some(1)).ok()?;
    }
    Some(parts.to_date().ok()?.to_datetime(parts.to_time().unwrap_or(Time::midnight())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_dated_only_if_the_pattern_has_written_it() {
        let dated = |pattern: &str, name: &str| DatedName::parse(pattern).unwrap().time_of(name).map(|t| t.to_string());
        for (pattern, name, time) in [
            ("a-%F.j", "a-2026-01-02.j", Some("2026-01-02T00:00:00")),
            ("a-%Y%m%d-%H%M%S", "a-20260102-030405", Some("2026-01-02T03:04:05")),
            ("%d.%m.%y", "02.01.26", Some("2026-01-02T00:00:00")),
            ("%Y-%m", "2026-02", Some("2026-02-01T00:00:00")),
            ("%Y", "2026", Some("2026-01-01T00:00:00")),
            ("%Y-%j", "2026-032", Some("2026-02-01T00:00:00")),
            ("%b %e %Y", "Jan  2 2026", Some("2026-01-02T00:00:00")),
            ("100%%-%F", "100%-2026-01-02", Some("2026-01-02T00:00:00")),
            ("a-%F.j", "a-2026-1-2.j", None),
            ("a-%F.j", "a-2026-02-30.j", None),
            ("a-%F.j", "a-2026-01-02.j.bak", None),
            ("a-%F.j", "b-a-2026-01-02.j", None),
            ("a-%F.j", "a-%F.j", None),
            ("a-%F.j", "A-2026-01-02.J", None),
            ("a-%H.j", "a-03.j", None),
            ("a-%a.j", "a-Mon.j", None),
            ("100%%", "100%", None),
        ] {
            assert_eq!(dated(pattern, name).as_deref(), time, "{pattern}: {name}");
        }
    }

    #[test]
    fn an_unknown_specification_is_an_error() {
        let now = Zoned::now();
        assert!(DatedName::parse("a-%K.j").is_some_and(|name| name.at(&now).is_err()));
        assert!(DatedName::parse("a-%").is_some_and(|name| name.at(&now).is_err()));
        assert_eq!(DatedName::parse("plain"), None);
    }
}
