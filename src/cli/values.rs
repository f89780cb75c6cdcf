//! Parsers of option values, with error messages that give an example.

use jiff::SignedDuration;
use jiff::civil::Date;

/// Parses a duration of zero or more.
pub fn duration(text: &str) -> Result<SignedDuration, &'static str> {
    let duration = text.parse().ok().filter(|duration: &SignedDuration| !duration.is_negative());
    duration.ok_or("write a number and a unit, for example 30s, 15m or 2h")
}

/// Parses a date.
pub fn date(text: &str) -> Result<Date, &'static str> {
    text.parse().map_err(|_| "write year, month and day, for example 2021-11-12")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_number_and_a_unit() {
        assert_eq!(
            ["0s", "90s", "15m", "2h 30m"].map(|text| duration(text).map(|d| d.as_secs())),
            [Ok(0), Ok(90), Ok(900), Ok(9000)]
        );
        for text in ["", "15", "-5s", "5 parsecs", "soon"] {
            assert!(duration(text).unwrap_err().contains("15m"), "{text}");
        }
    }

    #[test]
    fn a_date_needs_year_month_and_day() {
        assert!(date("2021-11-12").is_ok());
        for text in ["2021-13-01", "yesterday", "12.11.2021", ""] {
            assert!(date(text).unwrap_err().contains("2021-11-12"), "{text}");
        }
    }
}
