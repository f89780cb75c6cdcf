//! The dates in the paths of the archive.
//!
//! PacsOne files instances by the day of receipt under `YYYY-MM-DD-WEEKDAY` (flat and combination
//! layouts) or `YYYY/MM/DD` (hierarchical layout). A `YYYYMMDD` directory below a Patient ID is
//! named by the study date, which is unrelated to the day of receipt.

use std::ffi::OsStr;
use std::path::{Component, Path};

use jiff::civil::Date;

const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// The day of receipt in the path of a directory, in the name of its root or below it. The PACS did
/// not name the directories above a root.
pub fn received_on(root: &Path, directory: &Path) -> Option<Date> {
    match dated(root, directory)? {
        Dated::Day(date) => Some(date),
        Dated::Since(_) => None,
    }
}

/// The last day that a directory may contain, so that the walk can visit the newest directory
/// first: `2021/11` is as new as the last day of that month.
pub fn newest_day(root: &Path, directory: &Path) -> Option<Date> {
    match dated(root, directory)? {
        Dated::Day(date) | Dated::Since(date) => Some(date),
    }
}

enum Dated {
    Day(Date),
    /// The last day of a year or month in the hierarchical layout.
    Since(Date),
}

fn dated(root: &Path, directory: &Path) -> Option<Dated> {
    let name = |component| match component {
        Component::Normal(name) => OsStr::to_str(name),
        _ => None,
    };
    let levels = directory.strip_prefix(root).ok()?.components().count();
    let mut names = directory.components().rev().map(|component| name(component).unwrap_or_default());
    let (mut day, mut month, mut year) =
        (names.next()?, names.next().unwrap_or_default(), names.next().unwrap_or_default());
    if let Some(date) = month_or_year(day, month) {
        return Some(Dated::Since(date));
    }
    // The innermost date counts.
    for _ in 0..=levels {
        if let Some(date) = flat_day(day).or_else(|| hierarchical_day(year, month, day)) {
            return Some(Dated::Day(date));
        }
        (day, month, year) = (month, year, names.next().unwrap_or_default());
    }
    None
}

/// The number of leading names that form a day of receipt: one, or three for a year, a month and a
/// day.
pub fn leading_date(names: &[&str]) -> usize {
    match names {
        [day, ..] if flat_day(day).is_some() => 1,
        [year, month, day, ..] if day.len() == 2 && hierarchical_day(year, month, day).is_some() => 3,
        _ => 0,
    }
}

/// The directory above the day, the month or the year of receipt that a directory is named after;
/// otherwise the directory.
pub fn above_date(directory: &Path) -> &Path {
    let names: Vec<&str> = directory.iter().rev().take(3).map(|name| name.to_str().unwrap_or_default()).collect();
    let is_date = |count: &usize| {
        let named = names[..*count].iter().rev().copied();
        let padded: Vec<&str> = named.chain(std::iter::repeat_n("01", 3 - count)).collect();
        leading_date(&padded) == 3 || *count == 1 && leading_date(&padded) == 1
    };
    let count = (1..=names.len()).rev().find(is_date).unwrap_or(0);
    directory.ancestors().nth(count).unwrap_or(directory)
}

/// Parses `2021-11-12-FRI` or `2021-11-12-FRIDAY`.
fn flat_day(name: &str) -> Option<Date> {
    let (day, weekday) = name.split_at_checked(11)?;
    let known = WEEKDAYS.iter().any(|short| weekday.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(short)));
    let date = day.strip_suffix('-').filter(|_| known)?;
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    ymd(year, month, day)
}

fn hierarchical_day(year: &str, month: &str, day: &str) -> Option<Date> {
    (year.len() == 4 && month.len() == 2 && day.len() == 2).then(|| ymd(year, month, day))?
}

fn month_or_year(name: &str, parent: &str) -> Option<Date> {
    match (name.len(), parent.len()) {
        (2, 4) => ymd(parent, name, "01").map(Date::last_of_month),
        (4, _) => ymd(name, "12", "31"),
        _ => None,
    }
}

fn ymd(year: &str, month: &str, day: &str) -> Option<Date> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i16>().ok())?;
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    // DICOM is younger than 1980, and a Patient ID of four digits is often a smaller number.
    (1980..=2200).contains(&year).then_some(())?;
    Date::new(year, month as i8, day as i8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_above_the_directories_of_a_date() {
        for directory in ["/dicom/2021-11-12-FRI", "/dicom/2021/11/12", "/dicom/2021/11", "/dicom/2021", "/dicom"] {
            assert_eq!(above_date(Path::new(directory)), Path::new("/dicom"), "{directory}");
        }
        for directory in ["/dicom/4711", "/", "/dicom/2021/x", "/dicom/11/12"] {
            assert_eq!(above_date(Path::new(directory)), Path::new(directory));
        }
    }

    #[test]
    fn the_day_of_receipt_is_found_in_the_layouts_that_carry_it() {
        let cases = [
            ("/dicom", "/dicom/2021-11-12-FRI", "2021-11-12"),
            ("/dicom", "/dicom/2021-11-12-FRI/1.2.3", "2021-11-12"),
            ("/dicom", "/dicom/2021-11-12-Friday", "2021-11-12"),
            ("/dicom", "/dicom/2021/11/12", "2021-11-12"),
            ("/dicom", "/dicom/2021/11/12/1.2.3", "2021-11-12"),
            ("/dicom/2021/11/12", "/dicom/2021/11/12/1.2.3", "2021-11-12"),
            ("/backup", "/backup/2020-01-01-WED/2021-11-12-FRI", "2021-11-12"),
            ("/restored/2024/05/01/dicom", "/restored/2024/05/01/dicom/1.2.3", "-"),
            ("/dicom", "/dicom/2021/11", "-"),
            ("/dicom", "/dicom/2021-11-12", "-"),
            ("/dicom", "/dicom/2021-13-12-FRI", "-"),
            ("/dicom", "/dicom/4711/20211112", "-"),
            ("/dicom", "/dicom/1.2.840.1", "-"),
            ("/", "/", "-"),
        ];
        for (root, path, expected) in cases {
            let found = received_on(Path::new(root), Path::new(path)).map_or("-".into(), |date| date.to_string());
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_year_is_as_new_as_its_last_day() {
        let newest =
            |path: &str| newest_day(Path::new("/dicom"), Path::new(path)).map_or("-".into(), |date| date.to_string());
        assert_eq!(newest("/dicom/2021"), "2021-12-31");
        assert_eq!(newest("/dicom/2021/02"), "2021-02-28");
        assert_eq!(newest("/dicom/2021/02/03"), "2021-02-03");
        assert_eq!(newest("/dicom/stowrs"), "-");
    }
}
