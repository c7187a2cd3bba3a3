//! Bundles in memory: read from a fixture, taken apart, shuffled, changed, and written again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::harness::Dir;

/// Files of a bundle by stem: header and rows, none of which has a quoted field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bundle(pub(crate) BTreeMap<String, (String, Vec<String>)>);

/// The column that dates a row; files without one are there from the first day.
const DATES: [(&str, &str); 7] = [
    ("orders", "ordered_on"),
    ("payments", "paid_on"),
    ("lessons", "consumed_on"),
    ("refunds", "refunded_on"),
    ("releases", "approved_on"),
    ("bank_statements", "date"),
    ("bank_entries", "booked_on"),
];

impl Bundle {
    /// Reads a folder's files, without its truth.
    pub(crate) fn read(folder: &Path) -> Bundle {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).expect("the fixture is there") {
            let path = entry.expect("a file").path();
            let stem = path.file_stem().expect("a name").to_string_lossy();
            if path.extension().is_none_or(|e| e != "csv") || stem.starts_with("truth") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a fixture is text");
            files.insert(stem.into_owned(), split(&text));
        }
        Bundle(files)
    }

    /// Makes a bundle of literal files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Bundle {
        Bundle(
            files
                .iter()
                .map(|(stem, text)| ((*stem).to_owned(), split(text)))
                .collect(),
        )
    }

    /// Writes the bundle as a folder.
    pub(crate) fn write(&self, dir: &Dir, name: &str) -> PathBuf {
        for (stem, text) in self.texts() {
            dir.write(&format!("{name}/{stem}.csv"), text);
        }
        dir.path().join(name)
    }

    /// Writes the bundle as a zip.
    pub(crate) fn zip(&self, dir: &Dir, name: &str) -> PathBuf {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (stem, text) in self.texts() {
            zip.start_file(
                format!("{stem}.csv"),
                zip::write::SimpleFileOptions::default(),
            )
            .expect("an entry");
            zip.write_all(text.as_bytes()).expect("its bytes");
        }
        dir.write(name, zip.finish().expect("a zip").into_inner())
    }

    fn texts(&self) -> impl Iterator<Item = (&String, String)> {
        self.0.iter().map(|(stem, (header, rows))| {
            let mut text = format!("{header}\n");
            for row in rows {
                text += row;
                text.push('\n');
            }
            (stem, text)
        })
    }

    /// Only the files named.
    pub(crate) fn only(&self, stems: &[&str]) -> Bundle {
        let keep = |stem: &String| stems.contains(&stem.as_str());
        Bundle(
            self.0
                .iter()
                .filter(|(stem, _)| keep(stem))
                .map(|(stem, file)| (stem.clone(), file.clone()))
                .collect(),
        )
    }

    /// Rows that `keep` wants, by file, number and text.
    pub(crate) fn filter(&self, keep: impl Fn(&str, usize, &str) -> bool) -> Bundle {
        let mut bundle = self.clone();
        for (stem, (_, rows)) in &mut bundle.0 {
            let mut at = 0;
            rows.retain(|row| {
                at += 1;
                keep(stem, at - 1, row)
            });
        }
        bundle
    }

    /// The rows of every file in another order.
    pub(crate) fn shuffled(&self, seed: u64) -> Bundle {
        let mut bundle = self.clone();
        let mut chance = Chance(seed);
        for (_, rows) in bundle.0.values_mut() {
            chance.shuffle(rows);
        }
        bundle
    }

    /// The bundle of each day, in order; undated files come with the first.
    pub(crate) fn by_day(&self) -> Vec<(String, Bundle)> {
        let mut days: Vec<String> = self
            .0
            .iter()
            .flat_map(|(stem, (_, rows))| rows.iter().filter_map(|r| self.date(stem, r)))
            .collect();
        days.sort_unstable();
        days.dedup();
        let first = days.first().cloned().unwrap_or_default();
        days.into_iter()
            .map(|day| {
                let bundle = self.filter(|stem, _, row| match self.date(stem, row) {
                    Some(date) => date == day,
                    None => day == first,
                });
                (day, bundle)
            })
            .collect()
    }

    fn date(&self, stem: &str, row: &str) -> Option<String> {
        let column = DATES.iter().find(|(s, _)| *s == stem)?.1;
        self.cell(stem, row, column).map(str::to_owned)
    }

    /// A cell of a row.
    pub(crate) fn cell<'r>(&self, stem: &str, row: &'r str, column: &str) -> Option<&'r str> {
        let at = self.0[stem].0.split(',').position(|c| c == column)?;
        row.split(',').nth(at)
    }

    /// The row whose first column is `id`, with one cell changed: a bundle of that row alone.
    pub(crate) fn revised(&self, stem: &str, id: &str, column: &str, value: &str) -> Bundle {
        let (header, rows) = &self.0[stem];
        let at = header
            .split(',')
            .position(|c| c == column)
            .expect("a column of the file");
        let row = rows
            .iter()
            .find(|r| r.split(',').next() == Some(id))
            .expect("a row of the file");
        let mut cells: Vec<&str> = row.split(',').collect();
        cells[at] = value;
        Bundle(BTreeMap::from([(
            stem.to_owned(),
            (header.clone(), vec![cells.join(",")]),
        )]))
    }

    /// Rows of all files.
    pub(crate) fn rows(&self) -> usize {
        self.0.values().map(|(_, rows)| rows.len()).sum()
    }
}

fn split(text: &str) -> (String, Vec<String>) {
    let mut lines = text.lines().map(str::to_owned);
    let header = lines.next().unwrap_or_default();
    (header, lines.filter(|l| !l.is_empty()).collect())
}

/// A small generator: the same seed gives the same order.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from(z % u64::try_from(n.max(1)).expect("a length")).expect("a length")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
