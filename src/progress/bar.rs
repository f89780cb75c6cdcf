//! The progress bar in a terminal: three lines, redrawn at most ten times a second, cut to the
//! width of the terminal, and removed at the end.

use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Notice, Observer, Phase, Snapshot, text};

const REDRAWS_PER_SECOND: u8 = 10;

pub struct Bar {
    all: MultiProgress,
    bar: ProgressBar,
    figures: ProgressBar,
    place: ProgressBar,
}

impl Bar {
    /// Returns `None` if standard error is not a terminal, or is a terminal that cannot move its
    /// cursor.
    pub fn new() -> Option<Self> {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        if all.is_hidden() || is_without_cursor() {
            return None;
        }
        // The templates are constants that are known to parse.
        let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = |template| {
            let line = all.add(ProgressBar::new(1));
            line.set_style(style(template).progress_chars("=> "));
            line
        };
        let bar = line("{prefix} [{wide_bar:.cyan/dim}] {percent:>3} %  {msg}");
        let (figures, place) = (line("  {wide_msg}"), line("  {wide_msg}"));
        Some(Bar { all, bar, figures, place })
    }
}

/// Returns whether the type of the terminal has no cursor movement (terminfo: `dumb`, `unknown`) or
/// is not set. The library checks for the first and the last of these only.
fn is_without_cursor() -> bool {
    let is_plain = |name: std::ffi::OsString| ["", "dumb", "unknown"].iter().any(|plain| name == *plain);
    std::env::var_os("TERM").map_or(cfg!(unix), is_plain)
}

impl Observer for Bar {
    fn update(&mut self, snapshot: &Snapshot) {
        let readings = &snapshot.readings;
        let (done, all) = match readings.phase {
            Phase::Indexing | Phase::LookingAgain | Phase::Comparing => (readings.done, readings.found),
            Phase::Listing | Phase::Settling => (0, 1),
            Phase::Checking => (readings.checked, readings.to_check.max(readings.checked)),
            Phase::Recalling => (readings.recalled, readings.to_recall),
            Phase::Closing => (readings.closed, readings.to_close),
        };
        self.bar.set_prefix(readings.phase.name());
        self.bar.set_length(all.max(1));
        self.bar.set_position(done);
        self.bar.set_message(format!("after {}", text::duration(snapshot.elapsed)));
        self.figures.set_message(match readings.phase {
            Phase::Checking | Phase::Listing | Phase::Comparing | Phase::Settling => text::position(snapshot),
            _ => format!("{}, {}", text::position(snapshot), text::left(snapshot)),
        });
        self.place.set_message(match readings.phase {
            Phase::Checking | Phase::Closing | Phase::Listing | Phase::Comparing | Phase::Settling => String::new(),
            Phase::Indexing | Phase::LookingAgain | Phase::Recalling => format!(
                "{}/s now, {}/s mean, {}, {} covered, in {}",
                text::rate(snapshot.rate_now),
                text::rate(snapshot.rate_mean),
                text::left_out(readings),
                text::bytes(readings.bytes),
                text::path(&readings.directory),
            ),
        });
    }

    fn tell(&mut self, elapsed: Duration, notice: &Notice) {
        let line = format!("{}: {notice}", text::duration(elapsed));
        // The line is printed above the bar and stays there. A hidden bar prints no lines, so they
        // are written directly.
        if self.all.is_hidden() {
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            let _ = self.all.println(line);
        }
    }

    fn finish(&mut self, _: &Snapshot) {
        [&self.bar, &self.figures, &self.place].into_iter().for_each(ProgressBar::finish_and_clear);
        // Errors are ignored: the terminal may be closed.
        let _ = self.all.clear();
    }
}
