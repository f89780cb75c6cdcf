//! Progress for a program: one JSON object per line, every second and when a phase begins.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{Eta, Notice, Observer, Phase, Snapshot};

const INTERVAL: Duration = Duration::from_secs(1);

pub struct JsonLines<W> {
    out: W,
    next: Duration,
    phase: Option<Phase>,
}

impl<W: Write + Send> JsonLines<W> {
    pub fn new(out: W) -> Self {
        JsonLines { out, next: Duration::ZERO, phase: None }
    }

    fn write(&mut self, event: &str, snapshot: &Snapshot) {
        let readings = &snapshot.readings;
        let (least, most) = match snapshot.eta {
            Eta::Unknown => (None, None),
            Eta::Between(least, most) => (Some(least.as_secs()), Some(most.as_secs())),
            Eta::About(left) => (Some(left.as_secs()), Some(left.as_secs())),
        };
        let line = json!({
            "event": event,
            "phase": readings.phase.name(),
            "seconds": snapshot.elapsed.as_secs_f64(),
            "files_found": readings.found,
            "files_found_is_total": readings.found_is_total,
            "files_done": readings.done,
            "files_put_by": readings.put_by,
            "files_per_second": snapshot.rate_now.round(),
            "files_per_second_mean": snapshot.rate_mean.round(),
            "stopping": readings.stopping,
            "bytes_covered": readings.bytes,
            "rejected": readings.rejected,
            "stubs_not_read": readings.pending,
            "recalls_done": readings.recalled,
            "recalls_total": readings.to_recall,
            "seconds_left_at_least": least,
            "seconds_left_at_most": most,
            "directory": readings.directory.to_string_lossy(),
            "rows_checked": readings.checked,
            "closing_done": readings.closed,
            "closing_total": readings.to_close,
        });
        // Errors are ignored: a closed pipe does not stop a run.
        let _ = writeln!(self.out, "{line}");
    }
}

impl<W: Write + Send> Observer for JsonLines<W> {
    fn update(&mut self, snapshot: &Snapshot) {
        let begins = self.phase != Some(snapshot.readings.phase);
        if begins || snapshot.elapsed >= self.next {
            self.phase = Some(snapshot.readings.phase);
            self.next = snapshot.elapsed + INTERVAL;
            self.write("progress", snapshot);
        }
    }

    fn tell(&mut self, elapsed: Duration, notice: &Notice) {
        let (event, waited) = match notice {
            Notice::Waits { .. } => ("pause", None),
            Notice::GoesOn { waited } => ("resume", Some(waited.as_secs_f64())),
        };
        let seconds = elapsed.as_secs_f64();
        let line = json!({"event": event, "seconds": seconds, "message": notice.to_string(), "waited": waited});
        let _ = writeln!(self.out, "{line}");
    }

    fn finish(&mut self, snapshot: &Snapshot) {
        self.write("end", snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_of_a_pause_as_it_is_of_progress() {
        let mut out = Vec::new();
        let mut lines = JsonLines::new(&mut out);
        let seconds = Duration::from_secs;
        lines.tell(seconds(3), &Notice::Waits { why: "the replica db2:3306 does not replicate".into() });
        lines.tell(seconds(23), &Notice::GoesOn { waited: seconds(20) });
        let told: Vec<serde_json::Value> =
            out.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0]["event"], &told[0]["seconds"]), (&json!("pause"), &json!(3.0)));
        assert_eq!(told[0]["message"], "writing waits: the replica db2:3306 does not replicate");
        assert_eq!((&told[1]["event"], &told[1]["waited"]), (&json!("resume"), &json!(20.0)));
    }
}
