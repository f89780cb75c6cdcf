//! The bar in a terminal: three lines, redrawn at most ten times a second, gone at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Observer, Phase, Snapshot, text};

const REDRAWS_PER_SECOND: u8 = 10;

const TEMPLATE: &str = "{prefix:>8} [{wide_bar:.cyan/dim}] {percent:>3} %\n         {msg}";

pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_secs(1));
        Bar { bar }
    }
}

impl Observer for Bar {
    fn update(&mut self, snapshot: &Snapshot) {
        let readings = &snapshot.readings;
        let (done, all) = match readings.phase {
            Phase::Indexing => (readings.done, readings.found),
            Phase::Closing => (readings.closed, readings.to_close),
        };
        self.bar.set_prefix(readings.phase.name());
        self.bar.set_length(all.max(1));
        self.bar.set_position(done);
        self.bar.set_message(message(snapshot));
    }

    fn finish(&mut self, _: &Snapshot) {
        self.bar.finish_and_clear();
    }
}

fn message(snapshot: &Snapshot) -> String {
    let position = text::position(snapshot);
    if snapshot.readings.phase == Phase::Closing {
        return position;
    }
    let indent = "\n         ";
    format!(
        "{position}, {}{indent}{}/s now, {}/s mean, {} of archive covered, {} rejected{indent}{}",
        text::eta(snapshot.eta),
        text::rate(snapshot.rate_now),
        text::rate(snapshot.rate_mean),
        text::bytes(snapshot.readings.bytes),
        text::count(snapshot.readings.rejected),
        text::path(&snapshot.readings.directory),
    )
}
