//! Progress for a log: one line when a phase begins, then one per interval.

use std::io::Write;
use std::time::Duration;

use super::{Notice, Observer, Phase, Snapshot, text};

/// Two days of work make some ten thousand lines.
const INTERVAL: Duration = Duration::from_secs(10);
/// The first lines come more often, because a user may be watching.
const FIRST: Duration = Duration::from_secs(1);

pub struct Lines<W> {
    out: W,
    next: Duration,
    phase: Option<Phase>,
}

impl<W: Write + Send> Lines<W> {
    pub fn new(out: W) -> Self {
        Lines { out, next: Duration::ZERO, phase: None }
    }

    fn write(&mut self, snapshot: &Snapshot) {
        // Errors are ignored: a log that cannot be written does not stop a run.
        let _ = writeln!(self.out, "{}", line(snapshot));
    }
}

impl<W: Write + Send> Observer for Lines<W> {
    fn update(&mut self, snapshot: &Snapshot) {
        let begins = self.phase != Some(snapshot.readings.phase);
        if begins || snapshot.elapsed >= self.next {
            self.phase = Some(snapshot.readings.phase);
            self.next = snapshot.elapsed + if snapshot.elapsed < INTERVAL { FIRST } else { INTERVAL };
            self.write(snapshot);
        }
    }

    fn tell(&mut self, elapsed: Duration, notice: &Notice) {
        let _ = writeln!(self.out, "{}: {notice}", text::duration(elapsed));
    }

    fn finish(&mut self, snapshot: &Snapshot) {
        let mut whole = snapshot.clone();
        // The last line of a run reports the indexing phase. An audit ends in its current phase.
        if !matches!(whole.readings.phase, Phase::Listing | Phase::Comparing | Phase::Settling) {
            whole.readings.phase = Phase::Indexing;
        }
        let _ = writeln!(self.out, "{}", line(&whole));
    }
}

fn line(snapshot: &Snapshot) -> String {
    let readings = &snapshot.readings;
    let (time, phase) = (text::duration(snapshot.elapsed), readings.phase.name());
    let position = text::position(snapshot);
    if matches!(readings.phase, Phase::Checking | Phase::Closing) {
        return format!("{time}: {phase}, {position}");
    }
    let left =
        if readings.found_is_total && readings.done >= readings.found { "done".into() } else { text::left(snapshot) };
    let place = if readings.directory.as_os_str().is_empty() {
        String::new()
    } else {
        format!(", in {}", text::path(&readings.directory))
    };
    format!(
        "{time}: {phase}, {position}, {}/s now, {}/s mean, {} covered, {}, {left}{place}",
        text::rate(snapshot.rate_now),
        text::rate(snapshot.rate_mean),
        text::bytes(readings.bytes),
        text::left_out(readings),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Eta, Readings};

    #[test]
    fn a_log_gets_a_line_at_an_interval_and_one_for_each_phase() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        let mut snapshot = Snapshot {
            readings: Readings {
                phase: Phase::Indexing,
                checked: 0,
                to_check: 0,
                found: 200_000,
                found_is_total: false,
                directories_listed: 1,
                directories_waiting: 1,
                done: 1_234,
                put_by: 0,
                pending: 0,
                recalled: 0,
                to_recall: 0,
                stopping: false,
                bytes: 5_000_000,
                rejected: 3,
                directory: "/dicom/2021-11-12-FRI".into(),
                closed: 0,
                to_close: 10,
            },
            elapsed: Duration::ZERO,
            rate_now: 10.0,
            rate_mean: 20.0,
            eta: Eta::Unknown,
        };
        for tenths in 0..=300 {
            snapshot.elapsed = Duration::from_millis(100 * tenths);
            lines.update(&snapshot);
        }
        snapshot.readings.phase = Phase::Closing;
        lines.update(&snapshot);
        lines.finish(&snapshot);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1 + 10 + 2 + 2, "{text}");
        assert_eq!(
            text.lines().next().unwrap(),
            "0 s: indexing, 1,234 of 200,000 files, still counting, 10/s now, 20/s mean, 5.0 MB covered, 3 rejected, \
             time left not known yet, in /dicom/2021-11-12-FRI"
        );
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(last[1], "30 s: closing, 0 of 10 studies and series");
        assert!(last[0].starts_with("30 s: indexing, 1,234 of 200,000 files"), "{text}");
    }
}
