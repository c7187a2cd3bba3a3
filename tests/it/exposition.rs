//! Prometheus's text format (0.0.4), read strictly: anything a scraper could stumble over is a failure.

use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and sorted labels.
#[derive(Debug, Default)]
pub(crate) struct Exposition(BTreeMap<(String, BTreeMap<String, String>), i64>);

impl Exposition {
    /// Every family has its help, its type and then its samples, once; no series comes twice; counters end
    /// in `_total` and are never negative.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut found = Exposition::default();
        let mut families = BTreeSet::new();
        let (mut helped, mut family) = (None, None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(
                    is_name(name) && !help.contains('\\') && !help.is_empty(),
                    "{line}"
                );
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                (helped, family) = (Some(name), None);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, sort) = rest.split_once(' ').expect("a type");
                assert_eq!(helped, Some(name), "help comes right before its type");
                assert!(["counter", "gauge"].contains(&sort), "{line}");
                assert_eq!(sort == "counter", name.ends_with("_total"), "{line}");
                family = Some((name, sort));
            } else {
                let (name, sort) = family.unwrap_or_else(|| panic!("{line} has no type"));
                let rest = line.strip_prefix(name).expect("a sample of its family");
                let (labels, value) = labels(rest);
                let value: i64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(sort == "gauge" || value >= 0, "{line}");
                let before = found.0.insert((name.to_owned(), labels), value);
                assert_eq!(before, None, "{line} comes twice");
            }
        }
        found
    }

    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<i64> {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.0.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// How many series a family has.
    pub(crate) fn series(&self, name: &str) -> usize {
        self.0.keys().filter(|(n, _)| n == name).count()
    }

    /// Every value of every label.
    pub(crate) fn words(&self) -> BTreeSet<&str> {
        let labels = self.0.keys().flat_map(|(_, labels)| labels.values());
        labels.map(String::as_str).collect()
    }
}

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(rest)
}

/// Labels, and what comes after the one blank behind them.
fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (
            labels,
            text.strip_prefix(' ').expect("a blank before the value"),
        );
    };
    loop {
        let (name, quoted) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{text}");
        let (mut value, mut chars) = (String::new(), quoted.char_indices());
        let end = loop {
            match chars.next().expect("a quote that ends") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("{text}: \\{c}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = &quoted[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix("} ").expect("the labels' end")),
        }
    }
}
