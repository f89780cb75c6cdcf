//! Single values: ages, numbers and person names, as the index stores them.
//!
//! An invalid value is `None`, so that its column is NULL. A value that breaks the rules of DICOM
//! but has only one meaning is read and marked as repaired.

use std::borrow::Cow;

/// A value that was read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    pub value: T,
    /// Whether the text differs from the form that DICOM prescribes.
    pub is_repaired: bool,
}

impl<T> Parsed<T> {
    pub fn regular(value: T) -> Self {
        Parsed { value, is_repaired: false }
    }

    pub fn repaired(value: T) -> Self {
        Parsed { value, is_repaired: true }
    }
}

/// Returns the first of several values (PS3.5 6.4), without insignificant blanks.
pub fn first(text: &str) -> &str {
    trim(until(text, b'\\'))
}

/// Returns whether a text has a further value that is not blank.
pub fn has_second(text: &str) -> bool {
    let further = &text[until(text, b'\\').len()..];
    further.bytes().any(|byte| !matches!(byte, b'\\' | b' ' | 0))
}

/// Returns the text before an ASCII delimiter, or all of it. Most texts are too short to justify
/// setting up an optimized search.
fn until(text: &str, delimiter: u8) -> &str {
    text.bytes().position(|byte| byte == delimiter).map_or(text, |end| &text[..end])
}

/// Returns part `n` of a text, counted from 0, between two delimiters.
fn part(text: &str, delimiter: u8, n: usize) -> &str {
    let mut rest = text;
    for _ in 0..n {
        rest = rest.get(until(rest, delimiter).len() + 1..).unwrap_or_default();
    }
    until(rest, delimiter)
}

/// Removes insignificant blanks. Some writers pad with NUL.
fn trim(text: &str) -> &str {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(from) = text.as_bytes().iter().position(|byte| !blank(byte)) else { return "" };
    let to = text.as_bytes().iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    &text[from..to]
}

/// Parses IS. A fraction that consists of zeros is ignored.
pub fn integer(text: &str) -> Option<Parsed<i32>> {
    let text = text.trim();
    if let Ok(value) = text.parse() {
        return Some(Parsed::regular(value));
    }
    let (text, _) = with_point(text)?;
    let (whole, fraction) = text.split_once('.')?;
    let value = whole.parse().ok().filter(|_| fraction.bytes().all(|byte| byte == b'0'))?;
    Some(Parsed::repaired(value))
}

/// Parses DS, within the range of a FLOAT column.
pub fn decimal(text: &str) -> Option<Parsed<f64>> {
    let (text, is_repaired) = with_point(text.trim())?;
    let value: f64 = text.parse().ok()?;
    (value as f32).is_finite().then_some(Parsed { value, is_repaired })
}

/// Replaces a decimal comma by a point. Returns also whether there was a comma. `None` if the comma
/// may separate thousands.
fn with_point(text: &str) -> Option<(Cow<'_, str>, bool)> {
    let Some((whole, fraction)) = text.split_once(',') else { return Some((Cow::Borrowed(text), false)) };
    let digits = whole.trim_start_matches(['+', '-']);
    let has_thousands = (1..=3).contains(&digits.len())
        && !digits.starts_with('0')
        && fraction.bytes().take_while(u8::is_ascii_digit).count() == 3;
    let is_plain = !text.contains('.') && !fraction.contains(',');
    (is_plain && !has_thousands).then(|| (Cow::Owned(format!("{whole}.{fraction}")), true))
}

/// Parses AS (`nnnD`, `nnnW`, `nnnM` or `nnnY`), and returns the age in years.
pub fn years(text: &str) -> Option<Parsed<f64>> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: f64 = text[..unit].parse().ok().filter(|count| *count < 1e6)?;
    let value = match &text[unit..] {
        "Y" | "y" | "" => count,
        "M" | "m" => count / 12.0,
        "W" | "w" => count * 7.0 / 365.25,
        "D" | "d" => count / 365.25,
        _ => return None,
    };
    Some(Parsed { value, is_repaired: unit != 3 || !text.ends_with(|c: char| c.is_ascii_uppercase()) })
}

/// Returns a group of a person name: 0 is alphabetic, 1 ideographic, 2 phonetic (PS3.5 6.2.1).
pub fn name_group(name: &str, group: usize) -> &str {
    trim(part(name, b'=', group)).trim_end_matches('^')
}

/// Returns a component of the alphabetic group, counted from 0: family, given, middle, prefix,
/// suffix.
pub fn name_component(name: &str, component: usize) -> &str {
    part(name_group(name, 0), b'^', component).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_first_value_that_makes_sense() {
        let regular = |value| Some(Parsed::regular(value));
        assert_eq!(integer(first(" 12 ")), Some(Parsed::regular(12)));
        assert_eq!(integer(first("+7\\8")), Some(Parsed::regular(7)));
        assert_eq!(integer("3.00"), Some(Parsed::repaired(3)));
        assert_eq!(integer("3.5"), None);
        assert_eq!(integer("99999999999"), None);
        assert_eq!(decimal(first("70.5\\71")), regular(70.5));
        assert_eq!(decimal("1e300"), None);
        assert_eq!(years("061Y"), regular(61.0));
        assert_eq!(years("012M"), regular(1.0));
        assert_eq!(years("61y"), Some(Parsed::repaired(61.0)));
        assert_eq!(years("Y"), None);
        assert_eq!(years(&"9".repeat(40)), None);
    }

    #[test]
    fn a_decimal_comma_is_read_unless_it_may_separate_thousands() {
        for (text, value) in [("1,5", 1.5), ("-12,25", -12.25), ("0,125", 0.125), ("1234,567", 1234.567), (",5", 0.5)] {
            assert_eq!(decimal(text), Some(Parsed::repaired(value)), "{text}");
        }
        for text in ["1,500", "999,999", "1,2,3", "1.000,5", "1,000.5", ",", "1,x"] {
            assert_eq!(decimal(text), None, "{text}");
        }
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
