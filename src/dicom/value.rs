//! Single values: dates, times, ages, numbers and person names, as the index writes them.
//!
//! A value that means nothing (a 31st of February, a number that is none) is `None`, so that the column stays NULL.
//! The database never sees text that it would have to judge.

use jiff::civil::{Date, DateTime, Time};

/// The first of several values (PS3.5 6.4), without insignificant blanks.
pub fn first(text: &str) -> &str {
    trim(until(text, b'\\'))
}

/// The text before a delimiter, which is ASCII, or all of it. Most texts are shorter than a search is worth setting up.
fn until(text: &str, delimiter: u8) -> &str {
    text.bytes().position(|byte| byte == delimiter).map_or(text, |end| &text[..end])
}

/// The part of a text between two delimiters.
fn part(text: &str, delimiter: u8, n: usize) -> &str {
    let mut rest = text;
    for _ in 0..n {
        rest = rest.get(until(rest, delimiter).len() + 1..).unwrap_or_default();
    }
    until(rest, delimiter)
}

/// Without insignificant blanks; some writers pad with NUL.
fn trim(text: &str) -> &str {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(from) = text.as_bytes().iter().position(|byte| !blank(byte)) else { return "" };
    let to = text.as_bytes().iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    &text[from..to]
}

/// DA: `YYYYMMDD`, and the `YYYY.MM.DD` of before 1993 (PS3.5 6.2). Years that a database's DATE cannot hold are
/// no dates.
pub fn date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    match bytes {
        [_, _, _, _, b'.' | b'-', _, _, b'.' | b'-', _, _] => {
            ymd(number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..])?)
        }
        [_, _, _, _, _, _, _, _] => ymd(number(&bytes[..4])?, number(&bytes[4..6])?, number(&bytes[6..])?),
        _ => None,
    }
}

fn ymd(year: u32, month: u32, day: u32) -> Option<Date> {
    (1000..=9999).contains(&year).then_some(())?;
    Date::new(year as i16, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// TM: `HHMMSS.FFFFFF` or a part of it, and the `HH:MM:SS` of before 1993. Fractions are dropped: databases differ
/// in how they round them.
pub fn time(text: &str) -> Option<Time> {
    let whole = text.split('.').next()?;
    let digits: Vec<u8> = whole.bytes().filter(|byte| *byte != b':').collect();
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), number);
    if !matches!(digits.len(), 2 | 4 | 6) {
        return None;
    }
    // Second 60 is a leap second (PS3.5 6.2), which no TIME column holds.
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    let second = if second == 60 { 59 } else { second };
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, 0).ok()
}

/// DT: a date at least; what is missing of the time is zero, and the offset from UTC is not applied.
pub fn date_time(text: &str) -> Option<DateTime> {
    let local = text.find(['+', '-']).map_or(text, |offset| &text[..offset]);
    let (day, clock) = local.split_at_checked(8)?;
    let clock = if clock.is_empty() { Time::midnight() } else { time(clock)? };
    Some(date(day)?.to_datetime(clock))
}

/// IS. Writers that add a fraction of zeros mean the integer.
pub fn integer(text: &str) -> Option<i32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().any(|byte| byte != b'0') {
        return None;
    }
    whole.trim().parse().ok()
}

/// DS, as far as a FLOAT column holds it.
pub fn decimal(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (value as f32).is_finite().then_some(value)
}

/// AS, `nnnD`, `nnnW`, `nnnM` or `nnnY`, in years.
pub fn years(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: f64 = text[..unit].parse().ok().filter(|count| *count < 1e6)?;
    match &text[unit..] {
        "Y" | "y" | "" => Some(count),
        "M" | "m" => Some(count / 12.0),
        "W" | "w" => Some(count * 7.0 / 365.25),
        "D" | "d" => Some(count / 365.25),
        _ => None,
    }
}

/// Appends `YYYY-MM-DD`.
pub fn push_date(text: &mut String, date: Date) {
    push_two_digits(text, date.year() / 100);
    push_two_digits(text, date.year() % 100);
    for part in [date.month(), date.day()] {
        text.push('-');
        push_two_digits(text, part.into());
    }
}

/// Appends `HH:MM:SS`.
pub fn push_time(text: &mut String, time: Time) {
    push_two_digits(text, time.hour().into());
    for part in [time.minute(), time.second()] {
        text.push(':');
        push_two_digits(text, part.into());
    }
}

/// Appends `YYYY-MM-DD HH:MM:SS`, as databases write it.
pub fn push_date_time(text: &mut String, at: DateTime) {
    push_date(text, at.date());
    text.push(' ');
    push_time(text, at.time());
}

/// Without the machinery that formats any text: a header has a dozen dates and times.
fn push_two_digits(text: &mut String, number: i16) {
    text.extend([number / 10, number % 10].map(|digit| char::from(b'0' + digit as u8)));
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// A group of a person name: alphabetic, ideographic, phonetic (PS3.5 6.2.1).
pub fn name_group(name: &str, group: usize) -> &str {
    trim(part(name, b'=', group)).trim_end_matches('^')
}

/// A component of the alphabetic group: family, given, middle, prefix, suffix.
pub fn name_component(name: &str, component: usize) -> &str {
    part(name_group(name, 0), b'^', component).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<T: ToString>(value: Option<T>) -> String {
        value.map_or("NULL".into(), |value| value.to_string())
    }

    #[test]
    fn dates_are_calendar_dates_or_nothing() {
        let cases = [
            ("20240229", "2024-02-29"),
            ("1993.04.05", "1993-04-05"),
            ("20051399", "NULL"),
            ("20240230", "NULL"),
            ("00000000", "NULL"),
            ("19700000", "NULL"),
            ("00011111", "NULL"),
            ("202402", "NULL"),
            ("", "NULL"),
            ("2024022x", "NULL"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(date(text)), expected, "{text}");
        }
    }

    #[test]
    fn times_are_times_of_day_or_nothing() {
        let cases = [
            ("101530", "10:15:30"),
            ("101530.123456", "10:15:30"),
            ("1020", "10:20:00"),
            ("10", "10:00:00"),
            ("10:15:30", "10:15:30"),
            ("235960", "23:59:59"),
            ("240000", "NULL"),
            ("1", "NULL"),
            ("", "NULL"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(time(text)), expected, "{text}");
        }
        assert_eq!(shown(date_time("20240102030405.5+0100")), "2024-01-02T03:04:05");
        assert_eq!(shown(date_time("20240102")), "2024-01-02T00:00:00");
        assert_eq!(shown(date_time("2024")), "NULL");
    }

    #[test]
    fn numbers_are_the_first_value_that_makes_sense() {
        assert_eq!(integer(first(" 12 ")), Some(12));
        assert_eq!(integer(first("+7\\8")), Some(7));
        assert_eq!(integer("3.00"), Some(3));
        assert_eq!(integer("3.5"), None);
        assert_eq!(integer("99999999999"), None);
        assert_eq!(decimal(first("70.5\\71")), Some(70.5));
        assert_eq!(decimal("1e300"), None);
        assert_eq!(years("061Y"), Some(61.0));
        assert_eq!(years("012M"), Some(1.0));
        assert_eq!(years("Y"), None);
        assert_eq!(years(&"9".repeat(40)), None);
    }

    #[test]
    fn names_are_split_into_groups_and_components() {
        let name = "Yamada^Tarou^^Dr=山田^太郎=やまだ^たろう";
        assert_eq!([0, 1, 2, 3, 4].map(|n| name_component(name, n)), ["Yamada", "Tarou", "", "Dr", ""]);
        assert_eq!([1, 2].map(|n| name_group(name, n)), ["山田^太郎", "やまだ^たろう"]);
        assert_eq!(name_component("=山田", 0), "");
        assert_eq!(name_component("Single", 0), "Single");
    }
}
