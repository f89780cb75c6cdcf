//! Dates and times, as the index stores them.
//!
//! The forms of DICOM and of ACR-NEMA are read, and other forms with only one meaning, which count
//! as repaired. Any other text, including an impossible date, is `None`, so that the database never
//! interprets a text.

use jiff::civil::{Date, DateTime, Time};

use super::value::Parsed;

/// Parses DA: `YYYYMMDD`, and the form before 1993, `YYYY.MM.DD` (PS3.5 6.2). Years that a DATE
/// column cannot store are invalid. Dates with other separators, and dates with a time behind them,
/// are repaired.
pub fn date(text: &str) -> Option<Parsed<Date>> {
    let (date, rest) = leading_date(text)?;
    if rest.is_empty() {
        return Some(date);
    }
    clock_behind(rest)?;
    Some(Parsed::repaired(date.value))
}

/// Parses TM: `HHMMSS.FFFFFF` or its first two, four or six digits, and the form before 1993,
/// `HH:MM:SS`. Fractions are dropped, because databases round them differently. Times with dots,
/// single digits between colons, a decimal comma, an offset from UTC, or a date in front are
/// repaired.
pub fn time(text: &str) -> Option<Parsed<Time>> {
    clock(text).or_else(|| {
        let time = match text.split_once('+') {
            Some((local, _)) if offset(&text[local.len()..]).is_some() => clock(local)?,
            _ => clock_behind(behind_date(text)?)?,
        };
        Some(Parsed::repaired(time.value))
    })
}

/// Returns the text behind a date that precedes a time. Digits without a separator may also be a
/// time whose writer omitted the dot of the fraction. Fourteen digits have only one meaning if they
/// begin with a year of this or the last century.
fn behind_date(text: &str) -> Option<&str> {
    let (date, rest) = leading_date(text)?;
    let has_one_meaning = match digits(text).0.len() {
        ..=8 => true,
        14 => date.value.year() >= 1900,
        _ => false,
    };
    has_one_meaning.then_some(rest)
}

/// Parses DT, which has at least a date. Missing parts of the time are zero, and the offset from
/// UTC is not applied.
pub fn date_time(text: &str) -> Option<Parsed<DateTime>> {
    let (date, rest) = leading_date(text)?;
    let LocalClock { clock: local, is_repaired } = local(rest)?;
    let time = if local.is_empty() { Parsed::regular(Time::midnight()) } else { clock(local)? };
    // DT has no colons.
    let is_repaired = is_repaired || date.is_repaired || time.is_repaired || local.contains(':');
    Some(Parsed { value: date.value.to_datetime(time.value), is_repaired })
}

/// Returns the date that a text begins with, and the rest of the text.
fn leading_date(text: &str) -> Option<(Parsed<Date>, &str)> {
    let (first, rest) = digits(text);
    if first.len() >= 8 {
        let (day, rest) = text.split_at(8);
        return Some((Parsed::regular(ymd(&day[..4], &day[4..6], &day[6..])?), rest));
    }
    let separator = rest.chars().next().filter(|c| matches!(c, '.' | '-' | '/'))?;
    let (second, rest) = digits(rest.strip_prefix(separator)?);
    let (third, rest) = digits(rest.strip_prefix(separator)?);
    let value = match (first.len(), second.len(), third.len()) {
        (4, 1..=2, 1..=2) => ymd(first, second, third)?,
        (1..=2, 1..=2, 4) => year_last(first, second, third)?,
        _ => return None,
    };
    let is_regular = separator == '.' && (first.len(), second.len(), third.len()) == (4, 2, 2);
    Some((Parsed { value, is_repaired: !is_regular }, rest))
}

/// Parses a date in which the day or the month may come first. `None` if both orders are valid and
/// give different dates.
fn year_last(first: &str, second: &str, year: &str) -> Option<Date> {
    match (ymd(year, second, first), ymd(year, first, second)) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

fn ymd(year: &str, month: &str, day: &str) -> Option<Date> {
    let year = year.parse().ok().filter(|year| (1000..=9999).contains(year))?;
    Date::new(year, month.parse().ok()?, day.parse().ok()?).ok()
}

/// Parses the time behind a date. At least an hour and a minute are required, because fewer digits
/// are ambiguous.
fn clock_behind(rest: &str) -> Option<Parsed<Time>> {
    let LocalClock { clock: local, .. } = local(rest)?;
    if local.len() >= "HHMM".len() { clock(local) } else { None }
}

/// The text behind a date, without a separator and without an offset from UTC.
struct LocalClock<'t> {
    clock: &'t str,
    is_repaired: bool,
}

fn local(rest: &str) -> Option<LocalClock<'_>> {
    let behind = rest.strip_prefix(['T', 't']).unwrap_or_else(|| rest.trim_start_matches(' '));
    let is_separated = behind.len() < rest.len();
    let end = behind.find(['+', '-', 'Z']).unwrap_or(behind.len());
    let (clock, zone) = behind.split_at(end);
    let is_repaired = if zone.is_empty() { false } else { offset(zone)? };
    let is_clock = !(is_separated && clock.is_empty());
    is_clock.then_some(LocalClock { clock, is_repaired: is_repaired || is_separated })
}

/// Parses an offset from UTC. Returns whether its form differs from the `&ZZXX` of DICOM.
fn offset(text: &str) -> Option<bool> {
    if text == "Z" {
        return Some(true);
    }
    let (hour, rest) = text.strip_prefix(['+', '-'])?.split_at_checked(2)?;
    let minute = rest.strip_prefix(':').unwrap_or(rest);
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok())?;
    let is_offset = number(hour)? <= 14 && (minute.is_empty() || (minute.len() == 2 && number(minute)? < 60));
    is_offset.then_some(rest.len() != 2)
}

/// Parses a time of day.
fn clock(text: &str) -> Option<Parsed<Time>> {
    let (first, rest) = digits(text);
    match rest.bytes().next() {
        Some(separator @ (b':' | b'.')) if first.len() <= 2 => separated_clock(first, rest, separator.into()),
        _ => {
            let part = |at: usize| first.get(at..at + 2).unwrap_or("00");
            let time = match first.len() {
                2 | 4 | 6 => hms(part(0), part(2), part(4))?,
                _ => return None,
            };
            // Only seconds have a fraction.
            let is_whole = rest.is_empty();
            let is_odd = if is_whole { false } else { fraction(rest).filter(|_| first.len() == 6)? };
            Some(Parsed { is_repaired: time.is_repaired || is_odd, ..time })
        }
    }
}

fn separated_clock(hour: &str, rest: &str, separator: char) -> Option<Parsed<Time>> {
    let (minute, rest) = digits(rest.strip_prefix(separator)?);
    // An hour and a minute separated by a dot may be a number.
    let (second, rest) = match rest.strip_prefix(separator) {
        Some(rest) => digits(rest),
        None if separator == ':' && rest.is_empty() => ("00", ""),
        None => return None,
    };
    let is_odd = if rest.is_empty() { false } else { fraction(rest)? };
    let parts = [hour, minute, second];
    if !parts.iter().all(|part| matches!(part.len(), 1..=2)) {
        return None;
    }
    let time = hms(hour, minute, second)?;
    let is_regular = separator == ':' && parts.iter().all(|part| part.len() == 2) && !is_odd;
    Some(Parsed { is_repaired: time.is_repaired || !is_regular, ..time })
}

/// Parses a fraction of a second. Returns whether its form differs from that of DICOM.
fn fraction(text: &str) -> Option<bool> {
    let decimals = text.strip_prefix(['.', ','])?;
    let is_regular = text.starts_with('.') && !decimals.is_empty();
    decimals.bytes().all(|byte| byte.is_ascii_digit()).then_some(!is_regular)
}

/// Creates a time. A leap second (PS3.5 6.2) is stored as the second before, because TIME columns
/// do not store leap seconds.
fn hms(hour: &str, minute: &str, second: &str) -> Option<Parsed<Time>> {
    let is_leap = second == "60";
    let second = if is_leap { 59 } else { second.parse().ok()? };
    let value = Time::new(hour.parse().ok()?, minute.parse().ok()?, second, 0).ok()?;
    Some(Parsed { value, is_repaired: is_leap })
}

/// Returns the digits that a text begins with, and the rest of the text.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
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

/// Appends a number without general text formatting, which is slower: a header has a dozen dates
/// and times.
fn push_two_digits(text: &mut String, number: i16) {
    text.extend([number / 10, number % 10].map(|digit| char::from(b'0' + digit as u8)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a value as text, with `*` if it was repaired.
    fn shown<T: ToString>(parsed: Option<Parsed<T>>) -> String {
        parsed.map_or("NULL".into(), |Parsed { value, is_repaired }| {
            value.to_string() + if is_repaired { "*" } else { "" }
        })
    }

    #[test]
    fn a_date_is_read_if_it_has_one_meaning() {
        let cases = [
            ("20240229", "2024-02-29"),
            ("1993.04.05", "1993-04-05"),
            ("1993-04-05", "1993-04-05*"),
            ("1993/4/5", "1993-04-05*"),
            ("19930405T1030", "1993-04-05*"),
            ("31.12.1993", "1993-12-31*"),
            ("20051399", "NULL"),
            ("20240230", "NULL"),
            ("00000000", "NULL"),
            ("19700000", "NULL"),
            ("00011111", "NULL"),
            ("202402", "NULL"),
            ("", "NULL"),
            ("2024022x", "NULL"),
            ("2024022910", "NULL"),
            ("20240229T", "NULL"),
            ("12/01/2019", "NULL"),
            ("1993..0405", "NULL"),
            ("２０２４０２２９", "NULL"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(date(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_read_if_it_has_one_meaning() {
        let cases = [
            ("101530", "10:15:30"),
            ("101530.123456", "10:15:30"),
            ("1020", "10:20:00"),
            ("10", "10:00:00"),
            ("10:15:30", "10:15:30"),
            ("10.15.30", "10:15:30*"),
            ("9:05", "09:05:00*"),
            ("235960", "23:59:59*"),
            ("240000", "NULL"),
            ("24:00", "NULL"),
            ("1", "NULL"),
            ("10.5", "NULL"),
            ("10:15:", "NULL"),
            (":15:30", "NULL"),
            ("101530+99", "NULL"),
            ("25.12.1999", "NULL"),
            ("20240102101530", "10:15:30*"),
            ("20240102101530.5", "10:15:30*"),
            ("20240102 1015", "10:15:00*"),
            ("20240102T101530", "10:15:30*"),
            ("2024-01-02 10:15:30", "10:15:30*"),
            // A dot may be missing behind six digits.
            ("101211011234", "NULL"),
            ("202401021015", "NULL"),
            ("202401021015+0100", "NULL"),
            ("20240102101", "NULL"),
            ("10121101123456", "NULL"),
            ("10121101123456.5", "NULL"),
            ("18991231101530", "NULL"),
            ("2024010210:15:30", "NULL"),
            ("1012110112:34", "NULL"),
            ("", "NULL"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(time(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_date_with_a_time_is_local_whatever_its_offset() {
        let cases = [
            ("20240102030405.5+0100", "2024-01-02T03:04:05"),
            ("20240102-0500", "2024-01-02T00:00:00"),
            ("20240102", "2024-01-02T00:00:00"),
            ("2024010203", "2024-01-02T03:00:00"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05*"),
            ("20240102030405-", "NULL"),
            ("20240102T", "NULL"),
            ("2024", "NULL"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(date_time(text)), expected, "{text}");
        }
    }
}
