//! Prometheus's text format, version 0.0.4: families of whole numbers.
//!
//! Invariants: a family is written once, with its help and type before its samples; a counter ends in
//! `_total`; what is in a label is escaped.
//! Absent on purpose: floats, histograms, timestamps; a client library, whose registry would hold what is
//! read from the books at each scrape.

use std::fmt::{Display, Write as _};

/// What a family's numbers are.
#[derive(Clone, Copy)]
enum Sort {
    Counter,
    Gauge,
}

/// Families as text.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

/// One family, whose samples follow.
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Exposition {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, Sort::Counter)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, Sort::Gauge)
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, help: &'static str, sort: Sort) -> Family<'_> {
        let sort = match sort {
            Sort::Counter => "counter",
            Sort::Gauge => "gauge",
        };
        // Writing into a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {sort}");
        Family {
            text: &mut self.text,
            name,
        }
    }
}

impl Family<'_> {
    pub(super) fn value(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    pub(super) fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_break_out_of_its_quotes() {
        let mut text = Exposition::default();
        text.gauge("x", "Some x.")
            .sample(&[("bank", "a\"b\\c\nd"), ("state", "late")], 3);
        text.counter("y_total", "Some y.").value(0);
        assert_eq!(
            text.into_text(),
            "# HELP x Some x.\n# TYPE x gauge\nx{bank=\"a\\\"b\\\\c\\nd\",state=\"late\"} 3\n\
             # HELP y_total Some y.\n# TYPE y_total counter\ny_total 0\n"
        );
    }
}
