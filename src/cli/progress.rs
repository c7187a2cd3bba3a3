//! Progress bars on stderr, drawn only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::{intake, run};

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Bytes of an import.
pub(super) struct ImportBar(ProgressBar);

impl ImportBar {
    pub(super) fn new() -> ImportBar {
        ImportBar(bar(
            "{msg:24} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        ))
    }
}

impl intake::Progress for ImportBar {
    fn total(&mut self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn file(&mut self, name: &str) {
        self.0.set_message(name.to_owned());
    }

    fn bytes(&mut self, done: u64) {
        self.0.set_position(done);
    }

    fn done(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Institutions of a run.
pub(super) struct RunBar(ProgressBar);

impl RunBar {
    pub(super) fn new() -> RunBar {
        RunBar(bar(
            "reconciling {bar:40} {pos}/{len} institutions {per_sec} {eta}",
        ))
    }
}

impl run::Progress for RunBar {
    fn total(&mut self, institutions: u64) {
        self.0.set_length(institutions);
    }

    fn done(&mut self, institutions: u64) {
        self.0.inc(institutions);
    }

    fn end(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Days of the demo.
pub(super) struct DayBar(ProgressBar);

impl DayBar {
    pub(super) fn new(days: usize) -> DayBar {
        let bar = bar("{msg} {bar:40} {pos}/{len} days {eta}");
        bar.set_length(days as u64);
        DayBar(bar)
    }

    pub(super) fn day(&self, day: crate::base::Day) {
        self.0.set_message(day.to_string());
    }

    pub(super) fn done(&self) {
        self.0.inc(1);
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
