//! Formats numbers, durations and paths for people.

use std::path::Path;
use std::time::Duration;

use super::{Eta, Phase, Readings, Snapshot};

/// Formats a number: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a size: `1.2 TB`, in powers of 1000 as storage is sold.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Formats a duration: `2 d 3 h`, `3 h 20 min`, `4 min 10 s`, `12 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

pub fn rate(per_second: f64) -> String {
    count(per_second.round() as u64)
}

/// Formats a path so that it cannot control the terminal: control characters are escaped.
pub fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    } else {
        text.into_owned()
    }
}

/// Formats the remaining time, or the hint that the run is stopping.
pub fn left(snapshot: &Snapshot) -> String {
    if snapshot.readings.stopping {
        return "stopping after the current writes; interrupt again to exit at once".into();
    }
    match snapshot.eta {
        Eta::Unknown => "time left not known yet".into(),
        Eta::About(left) => format!("about {} left", duration(left)),
        Eta::Between(least, most) if duration(least) == duration(most) => format!("at least {} left", duration(least)),
        Eta::Between(least, most) => format!("{} to {} left", duration(least), duration(most)),
    }
}

/// Formats the progress: `12,345 of 200,000 files`, `12,345 of 80,000 files, still counting`.
pub fn position(snapshot: &Snapshot) -> String {
    let readings = &snapshot.readings;
    match readings.phase {
        Phase::Checking => {
            let all = readings.to_check.max(readings.checked);
            match readings.to_check {
                0 => format!("{} rows of the index", count(readings.checked)),
                _ => format!("{} of about {} rows of the index", count(readings.checked), count(all)),
            }
        }
        Phase::Recalling => {
            format!("{} of {} stubs within the budget", count(readings.recalled), count(readings.to_recall))
        }
        Phase::Listing => format!("{} files so far", count(readings.found)),
        Phase::Comparing => format!("{} of {} files read", count(readings.done), count(readings.found)),
        Phase::Settling => format!("{} to look at again", count(readings.to_check)),
        Phase::Closing => format!("{} of {} studies and series", count(readings.closed), count(readings.to_close)),
        Phase::Indexing | Phase::LookingAgain => {
            let counting = if readings.found_is_total { "" } else { ", still counting" };
            let put_by = match readings.put_by {
                0 => String::new(),
                files => format!(", {} more read", count(files)),
            };
            format!("{} of {} files{counting}{put_by}", count(readings.done), count(readings.found))
        }
    }
}

/// Formats the files left out: `3 rejected`, `3 rejected, 1,200 stubs not read`.
pub fn left_out(readings: &Readings) -> String {
    let rejected = format!("{} rejected", count(readings.rejected));
    match readings.pending {
        0 => rejected,
        pending => format!("{rejected}, {} stubs not read", count(pending)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1000, 1_250_000_000_000].map(bytes), ["0 B", "999 B", "1.0 kB", "1.2 TB"]);
        let shown = [12, 250, 12_000, 180_000].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(shown, ["12 s", "4 min 10 s", "3 h 20 min", "2 d 2 h"]);
    }

    #[test]
    fn a_file_name_cannot_steer_the_terminal() {
        assert_eq!(path(Path::new("/a/\x1b[2Jb\n")), "/a/\\u{1b}[2Jb\\n");
        assert_eq!(path(Path::new("/a/ü")), "/a/ü");
    }
}
